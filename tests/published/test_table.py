"""Tests of semaug.published.table."""

import json
from dataclasses import replace

import pytest

from semaug.published.costs import count_cost
from semaug.published.table import as_plain_data, fill_table, find_table, notes_on, table_names
from semaug.recipes import RECIPES, find_recipe
from semaug.runs.run import Run
from semaug.runs.work import count_work
from semaug.transfer import TEST_SETS


@pytest.fixture
def make_runs(tmp_path):
    def make(recipe):
        return [Run(recipe, find_recipe(recipe), seed, root=tmp_path) for seed in range(3)]

    return make


def finish(run, error, **more):
    run.folder.mkdir(parents=True)
    summary = {"error_mean_last_10": error, "recipe": run.recipe.as_plain_data(), **more}
    (run.folder / "summary.json").write_text(json.dumps(summary))


def test_places_of_a_table_come_in_its_order():
    entries = find_table("isda-2")
    assert len(entries) == 9 * 5
    assert entries[0].row == "ResNet-32"
    assert {entry.published.metric for entry in entries} == {"error_percent", "params_millions"}


def test_rows_are_found_by_a_part_of_their_label():
    rows = {entry.row for entry in find_table("isda-2", ["resnet-110", "Shake"])}
    assert rows == {
        "ResNet-110", "SE-ResNet-110", "Shake-Shake (26, 2x32d)", "Shake-Shake (26, 2x112d)",
    }  # fmt: skip


def test_a_whole_label_is_that_row_alone():
    assert {entry.row for entry in find_table("ait-5", ["rp"])} == {"rp"}
    assert {entry.row for entry in find_table("ait-5", ["pg"])} == {"rpg", "rpgc"}
    assert find_table("ait-1", ["cifar10, resnet-32"]) == find_table(
        "ait-1", ["CIFAR-10, Resnet32"]
    )
    with pytest.raises(ValueError, match="choose from CIFAR-10, MobileNetV2; CIFAR-10, Resnet32; "):
        find_table("ait-1", ["VGG"])


def test_figures_have_a_row_for_each_recipe_of_theirs():
    rows = {entry.row: entry.recipe for entry in find_table("isda-8-small")}
    assert list(rows) == list({entry.row: None for entry in find_table("isda-8")})
    assert rows["Basic"] == "cifar10_5k_resnet20"
    assert rows["Constant λ0"] == "cifar10_5k_resnet20_isda_constant"
    strengths = [find_recipe(entry.recipe).loss.strength for entry in find_table("isda-fig11")]
    assert strengths == [None, 0.1, 0.25, 0.5, 0.75, 1.0, 5.0, 10.0]
    draws = {(entry.row, entry.column): entry.recipe for entry in find_table("isda-fig10")}
    assert len(draws) == 2 * (1 + 2 * 5 + 2)
    learned = find_recipe(draws["M = 5", "CIFAR-100 + AutoAugment, learned"]).loss
    assert (learned.num_samples, learned.covariance) == (5, "learned")
    for name in ("isda-fig10-small", "isda-fig11-small", "isda-8-small"):
        recipes = [find_recipe(entry.recipe) for entry in find_table(name)]
        assert {recipe.subset.train_per_class for recipe in recipes} == {500}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["isda-22"], "table: unknown table 'isda-22'; did you mean 'isda-2'?"),
        (["isda-2", ["ResNet-33"]], "table: unknown row 'ResNet-33'; did you mean 'ResNet-32'?"),
    ],
)
def test_unknown_names_are_named(arguments, message):
    with pytest.raises(ValueError, match="table: unknown") as error:
        find_table(*arguments)
    assert str(error.value) == message


def test_finished_runs_are_what_was_measured(make_runs):
    cell, other = fill_table(find_table("isda-2", ["ResNet-32"])[3:], make_runs)
    assert (cell.entry.recipe, other.entry.recipe) == (
        "cifar100_resnet32",
        "cifar100_resnet32_isda",
    )
    assert cell.measured() == "not run"
    cell.runs[1].folder.mkdir(parents=True)
    (cell.runs[1].folder / "recipe.json").write_text("{}")  # begun, and perhaps diverged
    assert cell.measured() == "not finished"
    finish(cell.runs[0], 31.0)
    assert cell.measured() == "31.00 (1)"
    finish(cell.runs[2], 33.0)
    assert cell.measured() == "32.00 ± 1.41 (2)"
    assert [run.seed for run, _ in cell.finished()] == [0, 2]
    assert other.measured() == "not run"


def test_a_run_of_another_recipe_is_not_shown(make_runs):
    cell = fill_table(find_table("isda-2", ["ResNet-32"])[3:], make_runs)[0]
    other = replace(cell.runs[0].recipe, lr=0.3).as_plain_data()
    finish(cell.runs[0], 12.3, recipe=other)
    assert cell.measured() == "another recipe"
    early = cell.runs[1].recipe.as_plain_data()
    del early["ema_decay"]  # a field that came later, at its default
    finish(cell.runs[1], 31.0, recipe=early)
    assert cell.measured() == "31.00 (1)"


def test_accuracies_are_what_is_left_of_errors(make_runs):
    entry = find_table("ait-1", ["CIFAR-10, Resnet32"])[0]
    assert entry.recipe == "cifar10_resnet32_single"
    (cell,) = fill_table([entry], make_runs)
    finish(cell.runs[0], 7.5)
    assert cell.measured() == "92.50 (1)"


def test_what_has_no_recipe_or_is_not_measured_is_told(make_runs):
    told = {
        cell.measured()
        for name in ("isda-1", "isda-4", "isda-11")
        for cell in fill_table(find_table(name), make_runs)
        if count_cost(cell.entry.published) is None
    }
    assert told == {"not run", "not measured", "no recipe"}


def test_all_tables_can_be_filled(make_runs):
    recipes = set()
    for name in table_names():
        recipes |= {cell.entry.recipe for cell in fill_table(find_table(name), make_runs)}
    assert len(recipes) > 100
    assert recipes - {None} <= set(RECIPES)


def test_numbers_of_ait_are_those_of_its_recipes():
    numbers = {name: find_table(name) for name in ("ait-1", "ait-2", "ait-3", "ait-4", "ait-5")}
    assert all(entry.recipe for entries in numbers.values() for entry in entries)
    assert all(entry.accuracy for entries in numbers.values() for entry in entries)
    last = numbers["ait-2"][-1]
    assert (last.recipe, last.quantity) == (
        "cifar100_mobilenetv2_wide_resnet28_10_multi_ait", "error_mean_last_10_2",
    )  # fmt: skip
    decay = find_recipe(last.recipe).method.peer_weight_decay
    assert (find_recipe(last.recipe).weight_decay, decay) == (1e-4, (5e-4,))
    assert {entry.quantity for entry in numbers["ait-4"]} == {
        "error_mean_last_10", "top5_error_mean_last_10",
    }  # fmt: skip
    entry = numbers["ait-5"][-1]
    assert (entry.row, entry.recipe) == ("rg,rc", "cifar100_resnet32_rg_rc_ait")
    assert (entry.test_set, numbers["ait-1"][0].test_set) == ("random_color", None)
    cropped = [entry.recipe for entry in numbers["ait-5"] if entry.row == "rp"]
    assert set(cropped) == {"cifar100_resnet32_single", "cifar100_resnet32_ait"}


def test_second_networks_are_read_from_the_summary(make_runs):
    (entry,) = [x for x in find_table("ait-2", ["Resnet32, Resnet32"]) if x.column == "DML, Net2"]
    (cell,) = fill_table([entry], make_runs)
    finish(cell.runs[0], 40.0, error_mean_last_10_2=30.0)
    assert cell.measured() == "70.00 (1)"


def test_other_test_sets_are_read_from_what_transfer_wrote(make_runs, monkeypatch):
    (entry, *_) = find_table("ait-5", ["rg"])
    (cell,) = fill_table([entry], make_runs)
    finish(cell.runs[1], 40.0)
    assert cell.measured() == "not measured"
    accuracies = {"original": 61.25, "grayscale": 50.0}
    monkeypatch.setattr(
        "semaug.transfer.transfer_accuracies",
        lambda folder: accuracies if folder == cell.runs[1].folder else None,
    )
    assert cell.measured() == "61.25 (1)"


def test_fair_baselines_take_the_work_of_ait():
    for row in {entry.row for entry in find_table("ait-1-fair")}:
        recipes = {
            entry.column.partition(" (")[0]: find_recipe(entry.recipe)
            for entry in find_table("ait-1-fair", [row])
        }
        single, ait = recipes["one view"], recipes["AIT"]
        work = {name: count_work(recipe, 50_000) for name, recipe in recipes.items()}
        assert work["AIT"] == work["AIT's pairs, λ = 0"] == work["AIT + ISDA"]
        longer = work["one view, twice the epochs"]
        assert longer.forward_passes == work["AIT"].forward_passes
        assert longer.optimizer_steps == pytest.approx(work["AIT"].optimizer_steps, rel=1e-3)
        assert work["one view"].images_seen == work["AIT"].images_seen
        assert single.batch_size == ait.batch_size * ait.method.num_views
        assert recipes["AIT's pairs, λ = 0"] == replace(
            ait, method=replace(ait.method, ai_weight=0.0)
        )


def test_layers_metrics_and_weights_stand_where_they_belong():
    layers = [entry for entry in find_table("ait-fig3") if "," not in entry.column]
    assert len(layers) == 3 * 3
    for entry in layers:
        method = find_recipe(entry.recipe).method
        assert (entry.row, entry.column) == (method.ai_layer.replace("_", " "), method.ai_metric)
        assert method.ai_weight == 1
    weights = find_table("ait-fig4")
    assert len(weights) == 2 * 6
    for entry in weights:
        recipe = find_recipe(entry.recipe)
        assert entry.row == f"λ = {recipe.method.ai_weight:g}"
        assert entry.column == {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}[recipe.data]


def test_small_test_sets_are_those_of_the_paper():
    columns = {entry.test_set for entry in find_table("ait-5-small")}
    assert columns == {entry.test_set for entry in find_table("ait-5")} == set(TEST_SETS)


def test_differences_are_taken_seed_by_seed(make_runs):
    cells = {cell.entry.row: cell for cell in fill_table(find_table("isda-8-small"), make_runs)}
    baseline, isda = cells["Basic"], cells["ISDA"]
    assert baseline.difference() is isda.difference() is None
    for run, error in zip(baseline.runs, (30.0, 31.0, 35.0), strict=True):
        finish(run, error)
    finish(isda.runs[0], 29.5, seconds=7.0, device="a CPU", commit="abc")
    finish(isda.runs[2], 33.5)
    difference = isda.difference()
    assert (difference.mean, difference.pairs) == (-1.0, 2)
    assert baseline.difference() is None

    written = as_plain_data("isda-8-small", cells.values())
    *_, last = json.loads(json.dumps(written))["cells"]
    assert (last["row"], last["mean"], last["values"]) == ("ISDA", 31.5, {"0": 29.5, "2": 33.5})
    assert last["minus_baseline"]["mean"] == -1.0
    assert (last["seconds"], last["devices"], last["commits"]) == ([7.0], ["a CPU"], ["abc"])
    assert written["cells"][1]["mean"] is None


def test_unequal_work_and_settings_are_told(make_runs):
    cells = {
        (cell.entry.row, cell.entry.column): cell
        for cell in fill_table(find_table("ait-5-small", ["rh"]), make_runs)
    }
    single, ait = cells["rh", "original, Baseline"], cells["rh", "original, AIT"]
    assert notes_on(list(cells.values())) == []
    work = {"optimizer_steps": 10, "images_seen": 100, "forward_passes": 100}
    finish(single.runs[0], 40.0, device="a CPU", **work)
    finish(ait.runs[0], 38.0, device="a GPU", **work | {"optimizer_steps": 20})
    untested = notes_on(list(cells.values()))
    assert len(untested) == 1
    assert untested[0].startswith("trained, but not tested on this set, which --run or semaug")
    assert untested[0].endswith("does: rh, original, Baseline, and 7 more")

    table = fill_table(find_table("ait-1-small"), make_runs)
    (pairs,) = (cell for cell in table if cell.entry.row.startswith("AIT's pairs"))
    (long,) = (cell for cell in table if cell.entry.row.startswith("one view, twice"))
    finish(pairs.runs[0], 40.0, device="a CPU", **work)
    finish(long.runs[0], 38.0, device="a GPU", **work | {"forward_passes": 50})
    assert notes_on(table) == [
        "1.00 x the steps and 0.50 x the passes of its baseline: one view, twice the epochs "
        "(compute-matched), ResNet-20, 5,000 images",
        "another device than its baseline: one view, twice the epochs (compute-matched), "
        "ResNet-20, 5,000 images",
    ]
    written = {cell["row"]: cell for cell in as_plain_data("ait-1-small", table)["cells"]}
    assert written[long.entry.row]["times_work_of_baseline"] == {"steps": 1.0, "passes": 0.5}
    assert written[pairs.entry.row]["times_work_of_baseline"] is None


def test_every_baseline_stands_in_its_table():
    for name in table_names():
        entries = find_table(name)
        assert {entry.baseline for entry in entries} - {None} <= {x.recipe for x in entries}, name

"""Tests of semaug.published.table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from semaug.errors import UserError
from semaug.metrics import MeanIoUSpec
from semaug.published.costs import count_cost
from semaug.published.places import Entry
from semaug.published.table import as_plain_data, fill_table, find_table, notes_on, table_names
from semaug.recipe.overrides import override
from semaug.recipe.plain import recipe_to_plain_data
from semaug.recipes import make_run
from semaug.runs.run import FORMAT
from semaug.transfer import TEST_SETS

ERROR = {"name": "error", "unit": "%", "better": "lower", "report": "mean_last_10"}


@pytest.fixture
def make_runs(tmp_path):
    return lambda recipe: [make_run(recipe, {}, seed, False, tmp_path) for seed in range(3)]


def finish(run, value, predictor="", recipe=None, main=ERROR, **more):
    """Write the summary of a run that came to a value of its main metric."""
    run.folder.mkdir(parents=True)
    reports = {"mean_last_10": -1.0, "last": -2.0, "best": -3.0, main["report"]: value}
    summary = {
        "format": FORMAT,
        "metric": main,
        "results": {predictor: {main["name"]: reports}},
        "recipe": recipe_to_plain_data(recipe or run.recipe),
        **{"name": run.name, "seed": run.seed, "overrides": {}, "quick": False, "code": {}},
        **{"epochs": 100, "test_on": "test"},
        **{"seconds": 7.0, "device": "a CPU", "commit": "abc", **more},
    }
    (run.folder / "summary.json").write_text(json.dumps(summary))


# Places.


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
    with pytest.raises(UserError, match="choose from CIFAR-10, MobileNetV2; CIFAR-10, Resnet32; "):
        find_table("ait-1", ["VGG"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["isda-22"], "table: unknown table 'isda-22'; did you mean 'isda-2'?"),
        (["isda-2", ["ResNet-33"]], "table: unknown row 'ResNet-33'; did you mean 'ResNet-32'?"),
    ],
)
def test_unknown_names_are_named(arguments, message):
    with pytest.raises(UserError) as error:
        find_table(*arguments)
    assert str(error.value) == message


def test_every_baseline_stands_in_its_table():
    for name in table_names():
        entries = find_table(name)
        assert {entry.baseline for entry in entries} - {None} <= {x.recipe for x in entries}, name


def test_small_test_sets_are_those_of_the_paper():
    columns = {entry.test_set for entry in find_table("ait-5-small")}
    assert columns == {entry.test_set for entry in find_table("ait-5")} == set(TEST_SETS)


# What was measured.


def test_finished_runs_are_what_was_measured(make_runs):
    cell, other = fill_table(find_table("isda-2", ["ResNet-32"])[3:], make_runs)
    assert cell.entry.recipe == "cifar100_resnet32"
    assert other.entry.recipe == "cifar100_resnet32_isda"
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
    finish(cell.runs[0], 12.3, recipe=override(cell.runs[0].recipe, {"lr": "0.3"}))
    assert cell.measured() == "another recipe"
    decided = override(cell.runs[1].recipe, {"precision": "bf16", "channels_last": "true"})
    finish(cell.runs[1], 31.0, recipe=decided)  # by the device
    assert cell.measured() == "31.00 (1)"


def test_a_run_from_before_an_option_came_is_of_the_recipe(make_runs):
    cell = fill_table(find_table("isda-2", ["ResNet-32"])[4:], make_runs)[0]
    finish(cell.runs[0], 12.3)
    path = cell.runs[0].folder / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["recipe"]["loss"].pop("uncertainty_weight") is None
    path.write_text(json.dumps(summary))
    assert cell.measured() == "12.30 (1)"


def test_accuracies_are_what_is_left_of_errors(make_runs):
    (cell, *_) = fill_table(find_table("ait-1", ["CIFAR-10, Resnet32"])[:1], make_runs)
    finish(cell.runs[0], 7.5)
    assert cell.measured() == "92.50 (1)"


def test_a_metric_that_grows_with_quality_is_shown_as_it_is(make_runs):
    """Differences to the baseline keep their sign: more is better."""
    recipe = "digits_resnet8,metrics=miou"
    entry = Entry("row", "column", f"{recipe},lr=0.5", "miou", baseline=recipe)
    (cell,) = fill_table([entry], make_runs)
    miou = {"name": "miou", "unit": "%", "better": "higher", "report": "last"}
    for runs, value in ((cell.runs, 70.0), (cell.baseline_runs, 60.0)):
        assert runs[0].recipe.metrics == (MeanIoUSpec(),)
        finish(runs[0], value, main=miou)
    assert cell.measured() == "70.00 (1)"
    assert cell.difference().mean == 10.0
    (written,) = as_plain_data("mine", [cell])["cells"]
    assert (written["metric"], written["unit"], written["better"]) == ("miou", "%", "higher")


def test_second_networks_are_predictors_of_the_summary(make_runs):
    (entry,) = [x for x in find_table("ait-2", ["Resnet32, Resnet32"]) if x.column == "DML, Net2"]
    (cell,) = fill_table([entry], make_runs)
    finish(cell.runs[0], 30.0, predictor="network 2")
    assert cell.measured() == "70.00 (1)"
    finish(cell.runs[1], 20.0)  # which does not tell of a second one
    assert cell.measured() == "70.00 (1)"


def test_other_test_sets_are_read_from_what_transfer_wrote(make_runs, monkeypatch):
    (entry, *_) = find_table("ait-5", ["rg"])
    (cell,) = fill_table([entry], make_runs)
    finish(cell.runs[1], 40.0)
    assert cell.measured() == "not measured"
    accuracies = {"original": 61.25, "grayscale": 50.0}
    monkeypatch.setattr(
        "semaug.published.table.transfer_accuracies",
        lambda folder: accuracies if folder == cell.runs[1].folder else None,
    )
    assert cell.measured() == "61.25 (1)"


def test_what_has_no_recipe_or_is_not_measured_is_told(make_runs):
    told = {
        cell.measured()
        for name in ("isda-1", "isda-4", "isda-11")
        for cell in fill_table(find_table(name), make_runs)
        if count_cost(cell.entry.published) is None
    }
    assert told == {"not run", "not measured", "no recipe"}


def test_costs_are_counted(make_runs):
    cell = fill_table(find_table("isda-2", ["ResNet-32"]), make_runs)[0]
    assert (cell.entry.column, cell.measured()) == ("Params", "0.5")
    (written,) = as_plain_data("isda-2", [cell])["cells"]
    assert (written["measured"], written["metric"], written["better"]) == ("0.5", None, None)


# Differences.


def test_differences_are_taken_seed_by_seed(make_runs):
    cells = {cell.entry.row: cell for cell in fill_table(find_table("isda-8-small"), make_runs)}
    baseline, isda = cells["Basic"], cells["ISDA"]
    assert baseline.difference() is isda.difference() is None
    for run, error in zip(baseline.runs, (30.0, 31.0, 35.0), strict=True):
        finish(run, error)
    finish(isda.runs[0], 29.5)
    finish(isda.runs[2], 33.5, seconds=8.0, device="a GPU")
    difference = isda.difference()
    assert (difference.mean, difference.pairs) == (-1.0, 2)
    assert baseline.difference() is None

    written = as_plain_data("isda-8-small", cells.values())
    *_, last = json.loads(json.dumps(written))["cells"]
    assert (last["row"], last["mean"], last["values"]) == ("ISDA", 31.5, {"0": 29.5, "2": 33.5})
    assert (last["metric"], last["better"]) == ("error", "lower")
    assert last["minus_baseline"]["mean"] == -1.0
    assert (last["seconds"], last["commits"]) == ([7.0, 8.0], ["abc"])
    assert last["devices"] == ["a CPU", "a GPU"]
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


def test_a_table_may_be_filled_with_fewer_seeds(make_runs):
    (cell,) = fill_table(find_table("isda-8-small", ["ISDA"]), make_runs)
    fewer = replace(cell, runs=cell.runs[:1], baseline_runs=())
    finish(cell.runs[0], 30.0)
    assert fewer.measured() == "30.00 (1)"
    assert fewer.difference() is None
    assert Path(cell.runs[0].folder).parent.name == "cifar10_5k_resnet20_isda"

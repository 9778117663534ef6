"""Tests of semaug.published.figures."""

from dataclasses import replace

import pytest

from semaug.losses import ISDA, Explicit, NoUnlabeledLoss, SemanticConsistency
from semaug.published.figures import FIGURES
from semaug.published.table import find_table, table_names
from semaug.recipe.plan import StreamPlan, make_plan, passes_per_image, streams_of
from semaug.recipes import find_recipe, make_run
from semaug.runs.work import count_work


def losses_of(name):
    return {(entry.row, entry.column): find_recipe(entry.recipe).loss for entry in FIGURES[name]}


def work_of(recipe):
    (stream,) = streams_of(recipe).values()
    plan = make_plan(recipe, {"labeled": StreamPlan(50_000, recipe.batch_size)})
    assert passes_per_image(recipe, stream) in (1, 2)
    return count_work(recipe, plan)


def test_every_recipe_of_a_table_is_called_as_the_folder_of_its_runs(tmp_path):
    """So a table finds what a person trained."""
    entries = [entry for name in table_names() for entry in find_table(name)]
    names = {name for entry in entries for name in (entry.recipe, entry.baseline) if name}
    assert len(names) > 250
    for name in names:
        assert make_run(name, {}, 0, False, tmp_path).label == name


def test_ablations_are_those_of_table_8():
    rows = {entry.row: entry for entry in FIGURES["isda-8-small"]}
    assert list(rows) == list(dict.fromkeys(entry.row for entry in find_table("isda-8")))
    assert rows["Basic"].recipe == "cifar10_5k_resnet20"
    isda = ISDA(strength=0.5)
    assert [find_recipe(entry.recipe).loss for entry in rows.values()][1:] == [
        replace(isda, covariance="identity"),
        replace(isda, covariance="diagonal"),
        replace(isda, covariance="shared"),
        replace(isda, ramp="constant"),
        isda,
    ]


def test_losses_of_table_5_stand_with_and_without_dropout():
    entries = FIGURES["isda-5-small"]
    columns = {column: {e.row: e for e in entries if e.column == column} for column in
               dict.fromkeys(entry.column for entry in entries)}  # fmt: skip
    plain, dropped = columns.values()
    assert list(plain) == list(dropped)
    assert len(plain) == 1 + 7 + 1 + 1
    for row, entry in plain.items():
        recipes = [find_recipe(one.recipe) for one in (entry, dropped[row])]
        assert recipes[0].loss == recipes[1].loss
        assert [one.network.block_drop_rate for one in recipes] == [None, 0.3]
        assert dropped[row].baseline == (None if row == "Basic" else dropped["Basic"].recipe)
    published = {entry.row for entry in find_table("isda-5") if entry.published}
    assert published >= plain.keys() - {"Center Loss, rule of its paper"}


def test_strengths_are_those_of_figure_11():
    for name in ("isda-fig11", "isda-fig11-small"):
        _, *isda = losses_of(name).values()
        strengths = (0.1, 0.25, 0.5, 0.75, 1.0, 5.0, 10.0)
        assert isda == [ISDA(strength=strength) for strength in strengths]


def test_draws_are_those_of_figure_10():
    losses = losses_of("isda-fig10")
    assert len(losses) == 2 * (1 + 2 * 5 + 2)
    for column in ("CIFAR-100 + Cutout", "CIFAR-100 + AutoAugment"):
        for draws in (1, 2, 5, 10, 20):
            loss = Explicit(strength=0.5, num_samples=draws)
            assert losses[f"M = {draws}", column] == loss
            learned = replace(loss, covariance="learned")
            assert losses[f"M = {draws}", f"{column}, learned"] == learned
        isda = ISDA(strength=0.5, covariance="learned")
        assert losses["M = ∞ (ISDA)", f"{column}, learned"] == isda


SEMI_SMALL = ("isda-6-small", "isda-fig11-semi-small")


def test_small_tables_are_of_the_small_protocol():
    for name, entries in FIGURES.items():
        for entry in entries if name.endswith("-small") and name not in SEMI_SMALL else ():
            recipe = find_recipe(entry.recipe)
            assert recipe.subset.train_per_class == 500
            assert recipe.epochs in (100, 200)
    for name in SEMI_SMALL:
        for entry in FIGURES[name]:
            recipe = find_recipe(entry.recipe)
            assert (recipe.subset.train_per_class, recipe.subset.labeled_per_class) == (1000, 100)
            assert recipe.network.model == "cnn13_16_cifar"


def test_ablations_of_semi_supervised_isda_follow_what_the_paper_prints():
    whole = find_table("isda-6")
    printed = [entry for entry in whole if entry.published]
    assert len(printed) == 44
    assert list(whole[:44]) == printed
    rows = {entry.row: entry for entry in whole[44:]}
    names = {row: entry.recipe.removeprefix("cifar10_4000_") for row, entry in rows.items()}
    assert names["Labels alone"] == "supervised"
    assert names["ISDA without a host (η2 = 0)"] == "vat_isda,eta2=0"
    assert names["Mean Teacher + ISDA, target of the host"] == "mean_teacher_isda,target=host"
    assert names["VAT + EntMin"] == "vat,entropy_weight=1"
    (own,) = [row for row in names if row.startswith("VAT + ISDA on labeled images alone")]
    isda = find_recipe(rows[own].recipe)
    assert (isda.loss, isda.method.unlabeled_loss) == (ISDA(strength=0.5), NoUnlabeledLoss())
    assert rows[own].baseline == "cifar10_4000_vat"
    zero = find_recipe(rows["Mean Teacher + ISDA, λ0 = 0"].recipe)
    assert (zero.loss.strength, zero.method.unlabeled_loss.eta1) == (0, 1)
    printed_rows = {entry.row for entry in printed}
    assert not printed_rows & rows.keys()
    assert {entry.row for entry in FIGURES["isda-6-small"]} == rows.keys() | printed_rows


def test_strengths_of_semi_supervised_isda_are_those_of_fig_11():
    entries = FIGURES["isda-fig11-semi"]
    recipes = [find_recipe(entry.recipe) for entry in entries]
    assert [one.loss.strength for one in recipes[1:]] == [0.1, 0.25, 0.5, 0.75, 1, 5, 10]
    assert all(one.method.unlabeled_loss == SemanticConsistency() for one in recipes[1:])
    assert {entry.baseline for entry in entries} == {None, "cifar10_4000_vat"}


@pytest.mark.parametrize("name", ["ait-1-fair", "ait-1-small"])
def test_fair_baselines_take_the_work_of_ait(name):
    def fold(entry):
        return entry.row if name == "ait-1-fair" else entry.column

    for group in {fold(entry) for entry in FIGURES[name]}:
        recipes = {
            (entry.column if name == "ait-1-fair" else entry.row): find_recipe(entry.recipe)
            for entry in FIGURES[name]
            if fold(entry) == group
        }
        single, ait = recipes["one view"], recipes["AIT"]
        work = {row.partition(" (")[0]: work_of(recipe) for row, recipe in recipes.items()}
        pairs = recipes["AIT's pairs, λ = 0 (step-matched)"]
        assert work["AIT"] == work_of(pairs) == work["AIT + ISDA"]
        longer = work["one view, twice the epochs"]
        assert longer.forward_passes == work["AIT"].forward_passes
        assert longer.optimizer_steps == pytest.approx(work["AIT"].optimizer_steps, rel=1e-3)
        assert work["one view"].images_seen == work["AIT"].images_seen
        assert single.batch_size == ait.batch_size * ait.method.views
        assert pairs == replace(ait, method=replace(ait.method, ai_weight=0.0))


def test_layers_metrics_and_weights_stand_where_they_belong():
    layers = [entry for entry in FIGURES["ait-fig3"] if "," not in entry.column]
    assert len(layers) == 3 * 3
    for entry in layers:
        method = find_recipe(entry.recipe).method
        assert (entry.row, entry.column) == (method.ai_layer.replace("_", " "), method.ai_metric)
        assert method.ai_weight == 1
    weights = FIGURES["ait-fig4"]
    assert len(weights) == 2 * 6
    for entry in weights:
        assert entry.row == f"λ = {find_recipe(entry.recipe).method.ai_weight:g}"
        assert (entry.baseline is None) == (entry.row == "λ = 0")


def test_augmentation_transfer_in_small_has_a_baseline_where_there_is_one_view():
    entries = FIGURES["ait-5-small"]
    assert len(entries) == 4 * (8 * 2 + 3)
    for entry in entries:
        two = "," in entry.row
        assert (entry.baseline is None) == (two or entry.column.endswith("Baseline"))
        assert (len(find_recipe(entry.recipe).method.view_augments) == 2) if two else True

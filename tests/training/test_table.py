"""Tests of semaug.training.table."""

import json

import pytest

from semaug.recipes import RECIPES, find_recipe
from semaug.results import find_published
from semaug.training.costs import count_cost
from semaug.training.run import Run
from semaug.training.table import Entry, fill_table, find_table, table_names


@pytest.fixture
def make_runs(tmp_path):
    def make(recipe):
        return [Run(recipe, find_recipe(recipe), seed, root=tmp_path) for seed in range(3)]

    return make


def finish(run, error):
    run.folder.mkdir(parents=True)
    (run.folder / "summary.json").write_text(json.dumps({"error_mean_last_10": error}))


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
    finish(cell.runs[0], 31.0)
    assert cell.measured() == "31.00 (1)"
    finish(cell.runs[2], 33.0)
    assert cell.measured() == "32.00 ± 1.41 (2)"
    assert [run.seed for run, _ in cell.finished()] == [0, 2]
    assert other.measured() == "not run"


def test_accuracies_are_what_is_left_of_errors(make_runs):
    (number,) = find_published("ait", 1, row="CIFAR-10, Resnet32", column="Baseline")
    entry = Entry(number.row, number.column, "cifar10_resnet32", number)
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

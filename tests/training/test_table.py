"""Tests of semaug.training.table."""

import json

import pytest

from semaug.recipes import RECIPES, find_recipe
from semaug.results import load_published
from semaug.training.run import Run
from semaug.training.table import fill_table, find_table

TABLES = sorted({f"{number.paper}-{number.table}" for number in load_published()})


@pytest.fixture
def make_runs(tmp_path):
    def make(recipe):
        return [Run(recipe, find_recipe(recipe), seed, root=tmp_path) for seed in range(3)]

    return make


def finish(run, error):
    run.folder.mkdir(parents=True)
    (run.folder / "summary.json").write_text(json.dumps({"error_mean_last_10": error}))


def test_errors_of_a_table_come_in_its_order():
    numbers = find_table("isda-2")
    assert len(numbers) == 36
    assert numbers[0].row == "ResNet-32"
    assert all("error" in number.metric for number in numbers)


def test_rows_are_found_by_a_part_of_their_label():
    rows = {number.row for number in find_table("isda-2", ["resnet-110", "Shake"])}
    assert rows == {
        "ResNet-110", "SE-ResNet-110", "Shake-Shake (26, 2x32d)", "Shake-Shake (26, 2x112d)",
    }  # fmt: skip


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
    cell, other = fill_table(find_table("isda-2", ["ResNet-32"])[2:], make_runs)
    assert (cell.recipe, other.recipe) == ("cifar100_resnet32", "cifar100_resnet32_isda")
    assert cell.measured() == "not run"
    finish(cell.runs[0], 31.0)
    assert cell.measured() == "31.00 (1)"
    finish(cell.runs[2], 33.0)
    assert cell.measured() == "32.00 ± 1.41 (2)"
    assert [run.seed for run, _ in cell.finished()] == [0, 2]
    assert other.measured() == "not run"


def test_what_has_no_recipe_or_is_not_measured_is_told(make_runs):
    told = {
        cell.measured()
        for name in ("isda-1", "isda-4", "ait-1")
        for cell in fill_table(find_table(name), make_runs)
    }
    assert told == {"not run", "not measured", "no recipe"}


def test_all_tables_can_be_filled(make_runs):
    recipes = set()
    for name in TABLES:
        try:
            numbers = find_table(name)
        except ValueError:
            assert not any("error" in n.metric for n in load_published() if name in str(n.table))
            continue
        recipes |= {cell.recipe for cell in fill_table(numbers, make_runs)}
    assert len(recipes) > 60
    assert recipes - {None} <= set(RECIPES)

"""Tests of semaug.report.classes."""

from semaug.report import collect
from semaug.report.classes import ClassValue, values_by_class
from semaug.runs.read import Measure

MIOU = Measure("miou", "%", "higher")


def classes_of(folder):
    return values_by_class(collect([folder]).groups[0])


def test_runs_that_tell_no_classes_have_none(two_recipes):
    assert classes_of(two_recipes) is None


def test_values_are_means_and_changes_are_those_of_common_seeds(write_run, tmp_path):
    for seed, error in ((0, 10.0), (1, 14.0)):
        write_run("a", seed, by_class={"cat": error})
    for seed, error in ((1, 11.0), (2, 20.0)):
        write_run("b_isda", seed, by_class={"cat": error, "dog": 3.0})
    write_run("c_isda", 7, by_class={"dog": 1.0})
    classes = classes_of(tmp_path)
    assert [recipe.label for recipe in classes.recipes] == ["a", "b_isda", "c_isda"]
    assert classes.rows == (
        ClassValue("cat", (12.0, 15.5, None), (None, -3.0, None)),
        ClassValue("dog", (None, 3.0, 1.0), (None, None, None)),
    )
    assert classes.compares


def test_recipes_that_tell_no_classes_are_no_baseline(write_run, tmp_path):
    write_run("a")
    write_run("b_isda", by_class={"cat": 5.0})
    write_run("c_isda", by_class={"cat": 6.0})
    classes = classes_of(tmp_path)
    assert [recipe.label for recipe in classes.recipes] == ["b_isda", "c_isda"]
    assert classes.rows[0].changes == (None, 1.0)


def test_classes_are_ordered_by_the_mean_gain(write_run, tmp_path):
    for root, measure, order in (
        ("errors", None, ["y", "x", "z", "new"]),
        ("overlaps", MIOU, ["x", "y", "z", "new"]),
    ):
        options = {"root": root} | ({"measure": measure} if measure else {})
        write_run("a", by_class={"x": 5.0, "y": 9.0, "z": 1.0}, **options)
        write_run("b_isda", by_class={"x": 6.0, "y": 7.0, "new": 2.0}, **options)
        write_run("c_isda", by_class={"x": 2.0, "y": 8.0}, **options)
        assert [row.name for row in classes_of(tmp_path / root).ends()] == order


def test_without_changes_the_first_recipe_orders_them_the_best_first(write_run, tmp_path):
    write_run("a", 0, by_class={"x": 5.0, "y": 1.0})
    write_run("b_isda", 1, by_class={"x": 0.0, "y": 4.0})
    classes = classes_of(tmp_path)
    assert not classes.compares
    assert [row.name for row in classes.ends()] == ["y", "x"]
    folder = write_run("a", root="overlaps", by_class={"x": 5.0, "y": 1.0}, measure=MIOU)
    assert [row.name for row in classes_of(folder).ends()] == ["x", "y"]


def test_classes_that_cannot_be_compared_are_at_no_end_of_many(write_run, tmp_path):
    names = [f"class{place}" for place in range(35)]
    write_run("a", by_class=dict.fromkeys(names[:32], 9.0))
    write_run("b_isda", by_class={name: float(k) for k, name in enumerate(names)})
    shown = [row.name for row in classes_of(tmp_path).ends()]
    assert shown == names[:15] + names[17:32]

"""Tests of semaug.report.data."""

import pytest

from semaug.report import collect
from semaug.report.data import Point, curve
from semaug.runs.read import Measure
from semaug.runs.statistics import paired_difference


def test_a_curve_is_mean_and_range_of_the_runs_that_got_that_far(write_run, tmp_path):
    write_run(seed=0, epochs=4)
    write_run(seed=10, epochs=4, done=2)
    runs = collect([tmp_path]).groups[0].recipes[0].runs
    assert curve(runs, "test_error") == [Point(2, 27.5, 25.0, 30.0), Point(4, 12.5, 12.5, 12.5)]
    assert curve(runs, "unknown") == []


def test_pairs_are_those_of_common_seeds_and_of_what_is_reported(write_run, tmp_path):
    last = Measure("error", "%", "lower", "last")
    for seed, scale in ((0, 0.8), (1, 0.9), (2, 0.7)):
        write_run("a", seed, measure=last)
        write_run("a_isda", seed + 1, scale=scale, measure=last)
    (pair,) = collect([tmp_path]).groups[0].pairs()
    first, second = [51 / 4, 52 / 4], [0.8 * 51 / 4, 0.9 * 52 / 4]
    assert pair.difference == pytest.approx(paired_difference(first, second))
    assert (pair.predictor, pair.unequal) == ("", {})


def test_predictors_that_both_recipes_have_are_compared(write_run, tmp_path):
    write_run("a", predictors=("", "teacher"))
    write_run("b", predictors=("", "teacher", "network 2"))
    group = collect([tmp_path]).groups[0]
    assert group.predictors == ["", "teacher", "network 2"]
    assert [pair.predictor for pair in group.pairs()] == ["", "teacher"]


def test_unfinished_runs_are_in_no_pair(write_run, tmp_path):
    write_run("a")
    write_run("a_isda", done=3)
    assert collect([tmp_path]).groups[0].pairs() == []


def test_pairs_on_other_devices_or_in_other_precision_say_so(write_run, tmp_path):
    write_run("a")
    write_run("b_isda", device="a GPU", recipe={"precision": "bf16"})
    (pair,) = collect([tmp_path]).groups[0].pairs()
    assert pair.unequal == {
        "device": (["a CPU"], ["a GPU"]),
        "precision": (["32"], ["bf16"]),
    }


@pytest.mark.parametrize(("recipes", "pairs"), [(6, 15), (7, 6)])
def test_many_recipes_are_compared_with_the_first_alone(write_run, tmp_path, recipes, pairs):
    for place in range(recipes):
        write_run(f"recipe{place}")
    assert len(collect([tmp_path]).groups[0].pairs()) == pairs


def test_only_fields_that_differ_are_listed(two_recipes):
    assert collect([two_recipes]).groups[0].differing_fields() == {
        "loss": ["cross_entropy", "isda"],
        "strength": [None, 0.5],
    }

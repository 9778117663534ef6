"""Tests of semaug.recipe.plan."""

from dataclasses import dataclass

import pytest

from semaug.errors import UserError
from semaug.methods import Stream, View
from semaug.recipe import Recipe
from semaug.recipe.plan import StreamPlan, make_plan, passes_per_image, streams_of


def recipe(**options):
    return Recipe(data="digits", network="resnet8_cifar", **options)


LABELED, UNLABELED = StreamPlan(100, 32), StreamPlan(50, 7)


def plan(labeled=LABELED, unlabeled=None, **options):
    streams = {"labeled": labeled} | ({} if unlabeled is None else {"unlabeled": unlabeled})
    return make_plan(recipe(**options), streams)


def test_an_epoch_shows_every_image_once_and_ends_with_a_shorter_batch():
    made = plan(epochs=3)
    assert (made.epochs, made.steps_per_epoch, made.total_steps) == (3, 4, 12)
    assert [made.steps_in(epoch) for epoch in range(3)] == [4, 4, 4]
    assert [made.joint_size("labeled", step) for step in range(4)] == [32, 32, 32, 4]
    assert [made.images_seen(steps) for steps in range(5)] == [0, 32, 64, 96, 100]
    assert (made.counted, made.cycles) == ("labeled", False)


def test_a_batch_may_be_larger_than_the_set():
    made = plan(StreamPlan(20, 32), epochs=3)
    assert (made.steps_per_epoch, made.joint_size("labeled", 0), made.images_seen(1)) == (1, 20, 20)


def test_other_streams_are_always_full():
    made = plan(unlabeled=UNLABELED, epochs=2)
    assert made.steps_per_epoch == 4  # the first stream counts
    assert [made.joint_size("unlabeled", step) for step in range(4)] == [7, 7, 7, 7]


def test_a_run_of_steps_cycles_through_all_streams():
    made = plan(unlabeled=UNLABELED, steps=10, evaluate_every_steps=4)
    assert (made.epochs, made.steps_per_epoch, made.total_steps, made.cycles) == (3, 4, 10, True)
    assert [made.steps_in(epoch) for epoch in range(3)] == [4, 4, 2]
    for name, size in (("labeled", 32), ("unlabeled", 7)):
        assert {made.joint_size(name, step) for step in range(4)} == {size}
    assert made.images_seen(4) == 128


@pytest.mark.parametrize(
    ("options", "every", "tests"),
    [
        ({"steps": 1000}, 50, 20),
        ({"steps": 1001}, 51, 20),
        ({"steps": 7}, 1, 7),
        ({"steps": 100, "evaluate_every_steps": 30}, 30, 4),
        ({"steps": 100, "evaluate_every_steps": 500}, 100, 1),
    ],
)
def test_a_run_of_steps_is_tested_about_twenty_times_or_as_often_as_it_says(options, every, tests):
    made = plan(**options)
    assert (made.steps_per_epoch, made.epochs) == (every, tests)
    assert sum(made.steps_in(epoch) for epoch in range(tests)) == options["steps"]
    assert all(made.is_evaluated(epoch) for epoch in range(1, tests + 1))


def test_the_last_ten_epochs_are_evaluated_and_few_before():
    made = plan(epochs=30, evaluate_every_epochs=8)
    evaluated = [epoch for epoch in range(1, 31) if made.is_evaluated(epoch)]
    assert evaluated == [8, 16, *range(21, 31)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either `epochs` or `steps`, got epochs=None and steps=None"),
        ({"epochs": 3, "steps": 4}, "either `epochs` or `steps`, got epochs=3 and steps=4"),
        ({"epochs": 3, "evaluate_every_steps": 2}, "`evaluate_every_steps` has no effect without"),
        ({"steps": 3, "evaluate_every_epochs": 2}, "`evaluate_every_epochs` has no effect without"),
        ({"steps": 0}, "expected `steps` >= 1, got 0"),
        ({"steps": 1, "evaluate_every_steps": 0}, "expected `evaluate_every_steps` >= 1, got 0"),
    ],
)
def test_lengths_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        recipe(**options)


def test_a_recipe_may_last_otherwise():
    by_epochs = recipe(epochs=30, evaluate_every_epochs=8)
    by_steps = by_epochs.lasting(steps=9, evaluate_every_steps=3)
    assert (by_steps.epochs, by_steps.steps, by_steps.evaluate_every_steps) == (None, 9, 3)
    assert by_steps.lasting(epochs=30).lasting(epochs=30) == recipe(epochs=30)
    assert by_epochs.lasting(epochs=2).evaluate_every_epochs == 8


@dataclass(frozen=True, kw_only=True)
class Both:
    """A method with two streams and three networks."""

    num_networks = 3

    def streams(self, recipe):
        two = (View(), View())
        return {"labeled": Stream(), "unlabeled": Stream("unlabeled", recipe.batch_size, two)}


def test_a_method_says_which_streams_there_are():
    assert streams_of(recipe(epochs=1)) == {"labeled": Stream()}
    asked = recipe(epochs=1, batch_size=9, method=Both())
    assert streams_of(asked)["unlabeled"].batch_size == 9
    assert streams_of(object()) == {"labeled": Stream()}  # a recipe of another kind


def test_passes_are_those_of_views_or_of_networks():
    streams = streams_of(recipe(epochs=1, method=Both()))
    assert [passes_per_image(recipe(epochs=1), stream) for stream in streams.values()] == [1, 2]
    both = recipe(epochs=1, method=Both())
    assert [passes_per_image(both, stream) for stream in streams.values()] == [3, 3]

"""Tests of semaug.engine.schedules."""

import math

import pytest

from semaug.engine.schedules import Constant, Cosine, Poly, Step
from semaug.errors import UserError
from semaug.recipe import Recipe
from semaug.recipe.overrides import override
from semaug.recipe.plan import Plan, StreamPlan, make_plan
from semaug.recipes import find_recipe
from semaug.registry import schedules

ALL = (Step, Cosine, Poly, Constant)


def rates(schedule, epochs=4, steps_per_epoch=2, lr=1.0):
    """Return the learning rate of each step."""
    streams = {"labeled": StreamPlan(steps_per_epoch, 1)}
    total = epochs * steps_per_epoch
    rate = schedule.build(Plan(epochs, steps_per_epoch, total, streams))
    return [rate(lr, step) for step in range(total)]


def test_the_schedule_of_the_papers_falls_in_epochs_80_and_120():
    recipe = find_recipe("cifar10_resnet32")
    plan = make_plan(recipe, {"labeled": StreamPlan(50_000, recipe.batch_size)})
    rate = recipe.schedule.build(plan)
    steps = [0, 79 * 391 - 1, 79 * 391, 119 * 391 - 1, 119 * 391, 160 * 391 - 1]
    expected = [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert plan.total_steps == 160 * 391
    assert [rate(recipe.optimizer.lr, step) for step in steps] == pytest.approx(expected)


def test_milestones_move_with_the_number_of_epochs():
    found = rates(Step(), epochs=20, steps_per_epoch=10, lr=0.1)
    assert [found[99], found[100], found[150]] == pytest.approx([0.1, 0.01, 0.001])


def test_cosine_falls_from_the_first_step_to_almost_zero():
    found = rates(Cosine())
    assert found[0] == 1.0
    assert found[4] == pytest.approx(0.5)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.04


def test_poly_is_a_power_of_the_steps_that_are_left():
    expected = [(1 - step / 8) ** 0.9 for step in range(8)]
    assert rates(Poly()) == pytest.approx(expected)
    assert rates(Poly(power=1.0), lr=0.8) == pytest.approx([0.1 * k for k in range(8, 0, -1)])


def test_constant_is_constant():
    assert rates(Constant(), lr=0.3) == [0.3] * 8


def test_each_schedule_of_a_name_is_tested_here():
    assert [schedules.make(name) for name in schedules.names()] == [kind() for kind in ALL]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("warmup", "steps"),
    [
        ({"warmup_epochs": 1.5}, 3),
        ({"warmup_percent": 50.0}, 4),
        ({"warmup_epochs": 0.1}, 0),
        ({"warmup_steps": 3}, 3),
        ({"warmup_steps": 4, "warmup_start": 0.25}, 4),
    ],
)
def test_warm_up_rises_to_the_schedule_step_by_step(kind, warmup, steps):
    plain, warm = rates(kind()), rates(kind(**warmup))
    shares = [min(1.0, (step + 1) / max(1, steps)) for step in range(8)]
    assert warm == pytest.approx([share * rate for share, rate in zip(shares, plain, strict=True)])


def test_a_warm_up_may_begin_at_any_share():
    assert rates(Constant(warmup_steps=5, warmup_start=0.0))[:6] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert rates(Constant(warmup_steps=1, warmup_start=0.5))[:2] == [0.5, 1]


def test_the_rate_of_a_group_is_a_share_of_the_rate_of_the_recipe():
    rate = Cosine(warmup_epochs=1).build(Plan(4, 2, 8, {"labeled": StreamPlan(2, 1)}))
    assert all(rate(0.3, step) == pytest.approx(0.3 * rate(1.0, step)) for step in range(8))


@pytest.mark.parametrize("name", ["cosine", "poly", "constant", "step"])
def test_another_schedule_by_name_keeps_the_warm_up(name):
    recipe = override(find_recipe("digits_resnet8"), {"warmup_epochs": "2", "schedule": name})
    again = override(recipe, {"schedule": "poly", "power": "2"})
    assert recipe.schedule == schedules.make(name, warmup_epochs=2.0)
    assert again.schedule == Poly(power=2.0, warmup_epochs=2.0)
    percent = override(recipe, {"warmup_epochs": "0", "warmup_percent": "5", "schedule": "poly"})
    assert percent.schedule == Poly(warmup_percent=5.0)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Step, {"lr_factor": -1.0}, "expected `lr_factor` > 0, got -1.0"),
        (Step, {"lr_factor": math.inf}, "expected `lr_factor` > 0, got inf"),
        (Step, {"milestones_percent": (75.0, 50.0)}, "`milestones_percent` rising between 0 and"),
        (Step, {"milestones_percent": (50.0, 50.0)}, "`milestones_percent` rising between 0 and"),
        (Step, {"milestones_percent": (50.0, 100.0)}, "`milestones_percent` rising between 0 and"),
        (Poly, {"power": 0.0}, "expected `power` > 0, got 0.0"),
        (Cosine, {"warmup_percent": 100.0}, "expected `warmup_percent` from 0 to below 100, got"),
        (Cosine, {"warmup_percent": -1.0}, "expected `warmup_percent` from 0 to below 100, got"),
        (
            Cosine,
            {"warmup_percent": 5.0, "warmup_epochs": 1.0},
            "expected `warmup_epochs` or `warmup_percent`, got both",
        ),
        (
            Cosine,
            {"warmup_percent": 5.0, "warmup_steps": 1},
            "expected `warmup_percent` or `warmup_steps`, got both",
        ),
        (Cosine, {"warmup_steps": -1}, "expected `warmup_steps` >= 0, got -1"),
        (Cosine, {"warmup_start": 1.5}, "expected `warmup_start` from 0 to 1, or none, got 1.5"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(UserError, match=f"recipe: .*{message}"):
        kind(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 30, "schedule": Step(warmup_epochs=30.0)}, "from 0 to below epochs=30, got"),
        ({"epochs": 30, "schedule": Step(warmup_epochs=-1.0)}, "to below epochs=30, got -1"),
        (
            {"steps": 30, "schedule": Step(warmup_epochs=1.0)},
            "of `steps`; choose warmup_perc",
        ),
    ],
)
def test_a_warm_up_is_shorter_than_the_run(options, message):
    with pytest.raises(UserError, match=f"recipe: expected `warmup_epochs` .*{message}"):
        Recipe(data="digits", network="resnet8_cifar", **options)

"""Tests of semaug.engine.schedule."""

from dataclasses import replace

import pytest

from semaug.engine.schedule import learning_rate_schedule
from semaug.recipes import find_recipe


def test_papers_schedule_drops_at_epochs_80_and_120():
    rate = learning_rate_schedule(find_recipe("cifar10_resnet32"), steps_per_epoch=391)
    steps = [0, 80 * 391 - 1, 80 * 391, 120 * 391 - 1, 120 * 391, 160 * 391 - 1]
    expected = [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert [rate(step) for step in steps] == pytest.approx(expected)


def test_milestones_move_with_the_number_of_epochs():
    recipe = replace(find_recipe("cifar10_resnet32"), epochs=20)
    rate = learning_rate_schedule(recipe, steps_per_epoch=10)
    assert [rate(99), rate(100), rate(150)] == pytest.approx([0.1, 0.01, 0.001])


def test_cosine_falls_from_the_first_step_to_almost_zero():
    recipe = replace(find_recipe("digits_resnet8"), epochs=4, lr=1.0)
    rate = learning_rate_schedule(recipe, steps_per_epoch=2)
    rates = [rate(step) for step in range(8)]
    assert rates[0] == 1.0
    assert rates[4] == pytest.approx(0.5)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.04

"""Tests of semaug.losses._strength: what the losses share of their ramps."""

import pytest
import torch

from semaug import (
    ClassCovariance,
    ExplicitAugmentationLoss,
    ISDALoss,
    MultiLabelISDALoss,
    SemanticConsistencyLoss,
)
from semaug.losses._strength import Ramp

LOSSES = {
    "ISDALoss": lambda **options: ISDALoss(4, 3, **options),
    "MultiLabelISDALoss": lambda **options: MultiLabelISDALoss(4, 3, **options),
    "ExplicitAugmentationLoss": lambda **options: ExplicitAugmentationLoss(
        4, 3, num_samples=2, **options
    ),
    "SemanticConsistencyLoss": lambda **options: SemanticConsistencyLoss(
        ClassCovariance(4, 3), **options
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_strength_and_length_of_the_ramp_may_be_set_later(name):
    loss = LOSSES[name](strength=0.5)
    assert (loss.strength, loss.ramp_steps, loss.step) == (0.5, None, 0)
    loss.strength, loss.ramp_steps = 0.8, 10
    loss.ramp.step.fill_(5)
    torch.testing.assert_close(loss.current_strength(), torch.tensor(0.4))
    for option, message in (("strength", ">= 0, got -1"), ("ramp_steps", ">= 1, got -1")):
        with pytest.raises(ValueError, match=f"{name}: expected `{option}` {message}"):
            setattr(loss, option, -1)
    with pytest.raises(AttributeError):
        loss.step = torch.ones(())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("ramp_steps", [None, 1])
def test_a_strength_that_was_asked_for_stays_as_it_was(name, ramp_steps):
    loss = LOSSES[name](strength=0.5, ramp_steps=ramp_steps)
    loss.ramp.advance()
    before = loss.current_strength()
    loss.strength = 2.0
    assert (before, loss.current_strength()) == (0.5, 2.0)


def test_the_ramp_does_not_depend_on_the_default_dtype():
    ramp = Ramp("loss", 0.5, 100_000)
    ramp.step.fill_(70_001)  # no number of half precision
    torch.set_default_dtype(torch.float16)
    try:
        current = ramp.current()
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(current, torch.tensor(0.350005))


def test_consistency_leaves_the_statistics_to_their_owner():
    isda = ISDALoss(4, 3, strength=0.5, covariance="learned")
    consistency = SemanticConsistencyLoss(isda.estimator, strength=0.5)
    assert consistency.estimator is isda.estimator
    assert set(consistency.state_dict()) == {"ramp.step"}
    assert list(consistency.parameters()) == []

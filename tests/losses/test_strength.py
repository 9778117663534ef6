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


def test_consistency_leaves_the_statistics_to_their_owner():
    isda = ISDALoss(4, 3, strength=0.5, covariance="learned")
    consistency = SemanticConsistencyLoss(isda.estimator, strength=0.5)
    assert consistency.estimator is isda.estimator
    assert set(consistency.state_dict()) == {"ramp.step"}
    assert list(consistency.parameters()) == []

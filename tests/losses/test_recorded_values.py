"""Values recorded from the authors' released code, step by step.

Each file holds a classifier and a sequence of batches; after each step, the loss, its
gradients and the statistics are compared. See tests/golden/README.md.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semaug import ISDALoss, augment_logits

GOLDEN = Path(__file__).parents[1] / "golden"


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over the norm of the expected values."""
    difference = (actual.detach().double() - expected.double()).norm()
    return (difference / expected.double().norm().clamp(min=1e-300)).item()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize(
    "name", ["full", "full_absent", "full_wide", "diagonal", "diagonal_absent"]
)
def test_losses_gradients_and_statistics_are_those_of_the_released_code(
    name, dtype, tolerance, either_path
):
    arrays = np.load(GOLDEN / f"isda_{name}.npz")
    recorded = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    kind = name.partition("_")[0]
    isda = ISDALoss(*recorded["weight"].shape, strength=0.0, covariance=kind).to(dtype)
    for step, strength in enumerate(recorded["strength"].tolist()):
        isda.strength = strength
        weight, bias, features = (
            tensor.to(dtype, copy=True).requires_grad_()
            for tensor in (recorded["weight"], recorded["bias"], recorded["features"][step])
        )
        logits = features @ weight.T + bias
        loss = isda(logits, recorded["labels"][step].long(), features, weight)
        loss.backward()
        assert torch.equal(isda.estimator.count, recorded["count"][step].long())
        actual = {
            "loss": loss,
            "logits": logits,
            "grad_features": features.grad,
            "grad_weight": weight.grad,
            "grad_bias": bias.grad,
            "mean": isda.estimator.mean,
            "covariance": isda.estimator.covariance,
        }
        for key, value in actual.items():
            assert relative_error(value, recorded[key][step]) < tolerance, (key, step)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_segmentation_is_that_of_the_released_code(dtype, tolerance, either_path):
    arrays = np.load(GOLDEN / "segmentation_diagonal.npz")
    recorded = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    isda = ISDALoss(
        *recorded["weight"].shape,
        strength=0.0,
        covariance="diagonal",
        dense="faithful",
        align_corners=True,
        ignore_index=255,
    ).to(dtype)
    for step, strength in enumerate(recorded["strength"].tolist()):
        isda.strength = strength
        weight = recorded["weight"].to(dtype, copy=True).requires_grad_()
        bias, features = recorded["bias"].to(dtype), recorded["features"][step].to(dtype)
        logits = F.conv2d(features, weight[:, :, None, None], bias)
        labels = recorded["labels"][step]
        loss = isda(logits, labels, features, weight)
        loss.backward()
        assert torch.equal(isda.estimator.count, recorded["count"][step].long())
        raised = augment_logits(
            logits, labels, weight, isda.estimator, strength=strength, ignore_index=255
        )
        actual = {
            "loss": loss,
            "logits": logits,
            "augmented_logits": raised,
            "grad_weight": weight.grad,
            "mean": isda.estimator.mean,
            "variance": isda.estimator.covariance,
        }
        for key, value in actual.items():
            assert relative_error(value, recorded[key][step]) < tolerance, (key, step)

"""Sizes come from NumPy or from a tensor: ``labels.max() + 1``, numbers of a configuration."""

import numpy as np
import pytest
import torch

from semaug import ClassCovariance, ExplicitAugmentationLoss, ISDALoss, MultiLabelISDALoss
from semaug._torch.checks import check_int
from semaug.data.loader import _check_index
from semaug.metrics import MeanIoU, TopKError

LABELS = np.array([0, 1, 2])


@pytest.mark.parametrize("number", [np.int64(3), LABELS.max() + 1, torch.tensor(3)], ids=repr)
def test_whole_numbers_of_any_kind_are_sizes(number):
    isda = ISDALoss(number, number, strength=np.float32(0.5), ramp_steps=number)
    shared = ISDALoss(number, number, strength=0.5, covariance=isda.estimator)
    assert repr(shared.estimator) == repr(ClassCovariance(3, 3))
    assert isda.ramp_steps == 3
    assert isinstance(isda.ramp_steps, int)
    estimator = ClassCovariance(4, 5, "low_rank", rank=number, max_batch_size=number)
    assert repr(estimator) == repr(ClassCovariance(4, 5, "low_rank", rank=3))
    assert ExplicitAugmentationLoss(number, 2, strength=0.5, num_samples=number).num_samples == 3
    assert MultiLabelISDALoss(number, 2, strength=0.5).estimator.num_classes == 3
    assert len(MeanIoU(number).confusion) == len(TopKError(number, number).count) == 3
    assert isinstance(check_int("f", "x", number, 0), int)


def test_they_are_checked_as_others_are():
    for number, message in ((np.int64(0), ">= 1, got 0"), (np.int64(-2), ">= 1, got -2")):
        with pytest.raises(ValueError, match=f"ISDALoss: expected `num_classes` {message}"):
            ISDALoss(number, 3, strength=0.5)
    with pytest.raises(ValueError, match=r"f: expected `rank` in 0\.\.3, got 4"):
        _check_index("f", "rank", np.int64(4), 4)


@pytest.mark.parametrize(
    "value", [np.float64(3), np.True_, True, torch.tensor(3.0), "3", None], ids=repr
)
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(TypeError, match="ISDALoss: expected `num_classes` to be an int, got "):
        ISDALoss(value, 3, strength=0.5)

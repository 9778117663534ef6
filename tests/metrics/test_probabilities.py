"""Tests of semaug.metrics.probabilities."""

import pytest
import torch

from semaug.errors import UserError
from semaug.metrics import CalibrationError, NegativeLogLikelihood
from semaug.registry import metrics
from tests.metrics.batches import NUM_CLASSES, filled
from tests.references.metrics import calibration_error_by_loops, nll_by_loops


def test_nll_is_that_of_the_loops(batch):
    nll = filled(NegativeLogLikelihood(NUM_CLASSES), batch)
    assert nll.compute() == pytest.approx(nll_by_loops(*batch), rel=1e-6)
    outputs, labels = batch
    of_three = nll_by_loops(outputs, torch.where(labels == 3, 3, -1))
    assert nll.by_class()[3] == pytest.approx(of_three, rel=1e-6)
    assert nll.by_class()[4] is None


@pytest.mark.parametrize("num_bins", [1, 4, 15])
def test_calibration_error_is_that_of_the_loops(batch, num_bins):
    error = filled(CalibrationError(NUM_CLASSES, num_bins), batch)
    assert error.compute() == pytest.approx(calibration_error_by_loops(*batch, num_bins), rel=1e-6)
    assert error.by_class() is None


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_not():
    outputs = 100 * torch.eye(3)[[0, 1, 2]]
    assert filled(CalibrationError(3), (outputs, torch.tensor([0, 1, 2]))).compute() == 0
    assert filled(CalibrationError(3), (outputs, torch.tensor([1, 2, 0]))).compute() == 100


def test_bins_are_checked():
    with pytest.raises(UserError, match="num_bins"):
        metrics.make("calibration_error", num_bins=0)

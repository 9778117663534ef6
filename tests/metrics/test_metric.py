"""Tests of what all metrics share."""

import math

import pytest
import torch

from semaug.metrics import (
    Accuracy,
    BalancedAccuracy,
    CalibrationError,
    Error,
    MeanIoU,
    NegativeLogLikelihood,
    TopKError,
)
from semaug.registry import Sizes, metrics
from tests.metrics.batches import NUM_CLASSES, filled

MAKERS = [
    Error,
    Accuracy,
    BalancedAccuracy,
    TopKError,
    MeanIoU,
    NegativeLogLikelihood,
    CalibrationError,
]


def assert_equal(metric, other):
    """Counts are exact in any order, float64 sums are not."""
    close = 1e-12 if isinstance(metric, NegativeLogLikelihood | CalibrationError) else 0
    values = [
        [math.nan if value is None else value for value in (m.compute(), *(m.by_class() or ()))]
        for m in (metric, other)
    ]
    assert values[0] == pytest.approx(values[1], rel=close, abs=0, nan_ok=True)


def split(batch, size):
    return list(zip(*(tensor.split(size) for tensor in batch), strict=True))


@pytest.mark.parametrize("make", MAKERS)
def test_many_batches_equal_one(batch, make):
    whole = filled(make(NUM_CLASSES), batch)
    parts = filled(make(NUM_CLASSES), *split(batch, 3), *split([x[:0] for x in batch], 1))
    assert_equal(parts, whole)


@pytest.mark.parametrize("make", MAKERS)
def test_two_processes_equal_one(batch, make):
    pieces = split(batch, len(batch[0]) // 2)
    ranks = [filled(make(NUM_CLASSES), piece) for piece in pieces]
    others = {name: value.clone() for name, value in ranks[1].named_buffers()}
    names = iter(others)
    ranks[0].merge(lambda own: own + others[next(names)])
    whole = filled(make(NUM_CLASSES), batch)
    assert_equal(ranks[0], whole)


@pytest.mark.parametrize("make", MAKERS)
def test_counts_begin_anew_after_a_reset(batch, make):
    metric = filled(make(NUM_CLASSES), batch)
    expected = metric.compute()
    metric.reset()
    assert math.isnan(metric.compute())
    assert set(metric.by_class() or [None]) == {None}
    assert filled(metric, batch).compute() == expected


@pytest.mark.parametrize("make", MAKERS)
def test_counts_travel_in_the_state(batch, make):
    metric, other = filled(make(NUM_CLASSES), batch), make(NUM_CLASSES)
    other.load_state_dict(metric.state_dict())
    assert other.compute() == metric.compute()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("make", MAKERS)
def test_an_update_does_not_wait_for_a_gpu(batch, make):
    metric = make(NUM_CLASSES).cuda()
    outputs, labels = (tensor.cuda() for tensor in batch)
    metric.update(outputs, labels)  # the first one may load kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        metric.update(outputs, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert metric.compute() == filled(make(NUM_CLASSES), batch).compute()


@pytest.mark.parametrize("make", MAKERS)
def test_batches_that_do_not_fit_are_refused(make):
    name, metric = make.__name__, make(NUM_CLASSES)
    labels = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=rf"{name}: expected `outputs` of shape \(N, 7\), got"):
        metric.update(torch.zeros(4, 8), labels)
    with pytest.raises(ValueError, match=rf"{name}: expected `labels` of shape \(N=3,\), got"):
        metric.update(torch.zeros(3, 7), labels)
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=4, H=2, W=2\), got \(4,\)"):
        metric.update(torch.zeros(4, 7, 2, 2), labels)
    with pytest.raises(TypeError, match=rf"{name}: expected `labels` of dtype torch.int64"):
        metric.update(torch.zeros(4, 7), labels.int())


@pytest.mark.parametrize("make", MAKERS)
def test_number_of_classes_is_checked(make):
    with pytest.raises(ValueError, match=f"{make.__name__}: expected `num_classes` >= 1, got 0"):
        make(0)
    with pytest.raises(TypeError, match=r"expected `num_classes` to be an int, got 2\.0"):
        make(2.0)


@pytest.mark.parametrize("name", metrics.names())
def test_specs_build_the_metrics_of_their_names(name):
    metric = metrics.make(name).build(Sizes(num_classes=NUM_CLASSES))
    assert metric.name == name
    assert metric.unit == ("nats" if name == "nll" else "%")
    assert metric.better == ("lower" if "error" in name or name == "nll" else "higher")
    num_bins = 15 if name == "calibration_error" else NUM_CLASSES
    assert {len(buffer) for buffer in metric.buffers()} == {num_bins}

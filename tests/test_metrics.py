"""Tests of semaug.metrics."""

import math

import pytest
import torch

from semaug.errors import UserError
from semaug.metrics import (
    Accuracy,
    BalancedAccuracy,
    BoundaryIoU,
    CalibrationError,
    ClassAccuracy,
    Error,
    MeanIoU,
    NegativeLogLikelihood,
    PixelAccuracy,
    TopKError,
)
from semaug.registry import Sizes, metrics
from tests.references.metrics import (
    calibration_error_by_loops,
    errors_by_loops,
    ious_by_loops,
    nll_by_loops,
    top_k_error_by_loops,
)

NUM_CLASSES = 7
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


@pytest.fixture(params=["images", "pixels"])
def batch(request):
    """Outputs that are right more often than not, and labels; class 4 does not occur."""
    rng = torch.Generator().manual_seed(0)
    shape = (40,) if request.param == "images" else (4, 5, 6)
    labels = torch.randint(NUM_CLASSES, shape, generator=rng)
    labels[labels == 4] = 3
    outputs = torch.randn(*shape, NUM_CLASSES, generator=rng)
    outputs += 2 * torch.nn.functional.one_hot(labels, NUM_CLASSES)
    if request.param == "pixels":
        labels[0, :2] = 255
        labels[3, 4, 1:3] = -100
    return outputs.movedim(-1, 1), labels


def filled(metric, *batches):
    for outputs, labels in batches:
        metric.update(outputs, labels)
    return metric


def split(batch, size):
    return list(zip(*(tensor.split(size) for tensor in batch), strict=True))


def test_error_is_that_of_the_loops(batch):
    error = filled(Error(NUM_CLASSES), batch)
    assert error.compute() == top_k_error_by_loops(*batch)
    assert error.by_class() == errors_by_loops(*batch)
    assert error.by_class()[4] is None


def test_accuracy_is_what_the_error_leaves(batch):
    error, accuracy = (filled(make(NUM_CLASSES), batch) for make in (Error, Accuracy))
    assert accuracy.compute() == pytest.approx(100 - error.compute())
    for right, wrong in zip(accuracy.by_class(), error.by_class(), strict=True):
        assert right is wrong is None or right == pytest.approx(100 - wrong)


def test_balanced_accuracy_is_the_mean_over_classes_with_labels(batch):
    errors = [error for error in errors_by_loops(*batch) if error is not None]
    expected = 100 - sum(errors) / len(errors)
    assert filled(BalancedAccuracy(NUM_CLASSES), batch).compute() == pytest.approx(expected)


def test_balanced_accuracy_of_always_the_same_class_is_chance():
    outputs, labels = torch.eye(2)[[0] * 10], torch.tensor([0] * 9 + [1])
    assert filled(Accuracy(2), (outputs, labels)).compute() == 90
    assert filled(BalancedAccuracy(2), (outputs, labels)).compute() == 50


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


@pytest.mark.parametrize("k", [1, 2, 5, NUM_CLASSES])
def test_labels_outside_of_the_best_are_errors(batch, k):
    error = filled(TopKError(NUM_CLASSES, k), batch)
    assert error.compute() == top_k_error_by_loops(*batch, k)
    assert error.name == f"top{k}_error"


@pytest.mark.parametrize("ignore_index", [255, None, 2])
def test_iou_is_that_of_the_loops(batch, ignore_index):
    metric = filled(MeanIoU(NUM_CLASSES, ignore_index), batch)
    expected = ious_by_loops(*batch, ignore_index)
    assert metric.by_class() == expected
    known = [value for value in expected if value is not None]
    assert metric.compute() == pytest.approx(sum(known) / len(known))


def test_iou_of_a_picture_of_two_classes():
    labels = torch.tensor([[[0, 0, 1], [0, 1, 255]]])
    predicted = torch.tensor([[[0, 1, 1], [0, 1, 2]]])
    metric = filled(MeanIoU(4), (torch.nn.functional.one_hot(predicted, 4).movedim(-1, 1), labels))
    assert metric.by_class() == [100 * 2 / 3, 100 * 2 / 3, None, None]


@pytest.mark.parametrize("width", [1, 2, 4])
def test_boundary_iou_counts_the_band_of_the_loops(width):
    generator = torch.Generator().manual_seed(width)
    outputs = torch.randn(2, 3, 9, 11, generator=generator)
    labels = torch.zeros(2, 9, 11, dtype=torch.int64)
    labels[0, 4:, 2:6], labels[1, :2], labels[0, 8, 10] = 1, 2, 255
    band = torch.full_like(labels, 255)
    for n, y, x in ((n, y, x) for n in range(2) for y in range(9) for x in range(11)):
        edges = [
            (a, b)
            for a in range(9)
            for b in range(11)
            for c, d in ((a - 1, b), (a + 1, b), (a, b - 1), (a, b + 1))
            if 0 <= c < 9 and 0 <= d < 11 and labels[n, a, b] != labels[n, c, d]
        ]
        if any(max(abs(a - y), abs(b - x)) < width for a, b in edges):
            band[n, y, x] = labels[n, y, x]
    metric = filled(BoundaryIoU(3, width), (outputs, labels))
    assert metric.by_class() == filled(MeanIoU(3), (outputs, band)).by_class()
    assert filled(BoundaryIoU(3), (outputs, labels * 0)).by_class() == [None] * 3


def test_only_masks_have_edges():
    with pytest.raises(ValueError, match=r"BoundaryIoU: expected `labels` of shape \(N, H, W\)"):
        BoundaryIoU(2).update(torch.eye(2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="BoundaryIoU: expected `width` >= 1"):
        BoundaryIoU(2, width=0)
    with pytest.raises(UserError, match="expected `width` >= 1, got 0"):
        metrics.make("boundary_iou", width=0)


def test_accuracies_of_pixels_and_of_classes():
    labels = torch.tensor([[[0, 0, 0, 1], [0, 2, 255, 1]]])
    predicted = torch.tensor([[[0, 0, 0, 1], [1, 0, 0, 0]]])
    outputs = torch.nn.functional.one_hot(predicted, 4).movedim(-1, 1)
    assert filled(PixelAccuracy(4), (outputs, labels)).compute() == pytest.approx(400 / 7)
    found = filled(ClassAccuracy(4), (outputs, labels))
    assert found.by_class() == [75.0, 50.0, 0.0, None]
    assert found.compute() == pytest.approx(125 / 3)


@pytest.mark.full  # importing it takes seconds
def test_iou_is_that_of_torchmetrics():
    classification = pytest.importorskip("torchmetrics.classification")
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 5, 8, 9, generator=generator)
    labels = torch.randint(5, (3, 8, 9), generator=generator)
    labels[:, 0] = 255
    theirs = classification.MulticlassJaccardIndex(5, average=None, ignore_index=255)
    expected = 100 * theirs(outputs, labels)
    assert filled(MeanIoU(5), (outputs, labels)).by_class() == pytest.approx(expected.tolist())


def test_class_that_is_predicted_but_absent_has_no_intersection():
    metric = filled(MeanIoU(3), (torch.eye(3)[[0, 1]], torch.tensor([0, 0])))
    assert metric.by_class() == [50.0, 0.0, None]
    assert metric.compute() == 25.0


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


def test_255_is_a_class_where_there_are_so_many():
    error = filled(Error(1000), (torch.eye(1000)[[254, 255]], torch.tensor([255, 255])))
    assert error.compute() == 50.0


def test_half_precision_outputs_are_counted(batch):
    outputs, labels = batch
    expected = filled(Error(NUM_CLASSES), (outputs.bfloat16().float(), labels))
    assert filled(Error(NUM_CLASSES), (outputs.bfloat16(), labels)).compute() == expected.compute()


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


def test_more_guesses_than_classes_are_refused():
    with pytest.raises(ValueError, match="TopKError: expected `k` <= 4, got 5"):
        TopKError(4)
    with pytest.raises(ValueError, match="TopKError: expected `k` >= 1, got 0"):
        TopKError(4, 0)


@pytest.mark.parametrize("name", metrics.names())
def test_specs_build_the_metrics_of_their_names(name):
    metric = metrics.make(name).build(Sizes(num_classes=NUM_CLASSES))
    assert metric.name == name
    assert metric.unit == ("nats" if name == "nll" else "%")
    assert metric.better == ("lower" if "error" in name or name == "nll" else "higher")
    num_bins = 15 if name == "calibration_error" else NUM_CLASSES
    assert {len(buffer) for buffer in metric.buffers()} == {num_bins}


def test_bins_are_checked():
    with pytest.raises(UserError, match="num_bins"):
        metrics.make("calibration_error", num_bins=0)


def test_options_reach_the_metric():
    miou = metrics.make("miou", ignore_index=0).build(Sizes(num_classes=2))
    miou.update(torch.eye(2), torch.tensor([0, 1]))
    assert miou.by_class() == [None, 100.0]


def test_five_guesses_among_fewer_classes_are_refused():
    with pytest.raises(UserError, match="metric top5_error: TopKError: expected `k` <= 4, got 5"):
        metrics.make("top5_error").build(Sizes(num_classes=4))

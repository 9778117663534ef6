"""Tests of semaug.metrics.segmentation."""

import pytest
import torch

from semaug.errors import UserError
from semaug.metrics import BoundaryIoU, ClassAccuracy, MeanIoU, PixelAccuracy
from semaug.registry import Sizes, metrics
from tests.metrics.batches import NUM_CLASSES, filled
from tests.references.metrics import ious_by_loops


def test_accuracies_of_pixels_and_of_classes():
    labels = torch.tensor([[[0, 0, 0, 1], [0, 2, 255, 1]]])
    predicted = torch.tensor([[[0, 0, 0, 1], [1, 0, 0, 0]]])
    outputs = torch.nn.functional.one_hot(predicted, 4).movedim(-1, 1)
    assert filled(PixelAccuracy(4), (outputs, labels)).compute() == pytest.approx(400 / 7)
    found = filled(ClassAccuracy(4), (outputs, labels))
    assert found.by_class() == [75.0, 50.0, 0.0, None]
    assert found.compute() == pytest.approx(125 / 3)


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


def test_options_reach_the_metric():
    miou = metrics.make("miou", ignore_index=0).build(Sizes(num_classes=2))
    miou.update(torch.eye(2), torch.tensor([0, 1]))
    assert miou.by_class() == [None, 100.0]


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

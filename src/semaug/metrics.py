"""What is measured of predictions: errors, accuracies, intersections, and how sure they are.

A metric counts on the device of the predictions and waits for nothing until its value is wanted.
Counts are integers in buffers, so that the counts of several processes add up exactly; sums of
probabilities and losses are float64.

>>> import torch
>>> error = Error(num_classes=3)
>>> error.update(torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, 2]))
>>> error.compute(), error.by_class()
(25.0, [0.0, 0.0, 50.0])
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_labels, check_positive_int, check_shapes
from semaug.errors import as_user_error, check_option
from semaug.keepers import ClassificationKeeper, Counts, Keeper, MaskKeeper
from semaug.registry import Sizes, metrics

__all__ = [
    "Accuracy",
    "AccuracySpec",
    "BalancedAccuracy",
    "BalancedAccuracySpec",
    "BoundaryIoU",
    "BoundaryIoUSpec",
    "CalibrationError",
    "CalibrationErrorSpec",
    "ClassAccuracy",
    "ClassAccuracySpec",
    "ClassMetric",
    "Error",
    "ErrorSpec",
    "MeanIoU",
    "MeanIoUSpec",
    "Metric",
    "NegativeLogLikelihood",
    "NegativeLogLikelihoodSpec",
    "PixelAccuracy",
    "PixelAccuracySpec",
    "Top5ErrorSpec",
    "TopKError",
]

# N images, C classes, H and W pixels.


class Metric(Counts, ABC):
    """A number that tells how good predictions are, counted batch by batch.

    Whatever is counted is a buffer that begins at zero, and that may be summed over processes.
    """

    name: str
    unit: str = "%"
    better: Literal["lower", "higher"]

    @abstractmethod
    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch. No accelerator is waited for.

        Args:
            outputs: ``(N, C)`` or ``(N, C, H, W)``, whose softmax are probabilities.
            labels: ``(N,)`` or ``(N, H, W)`` int64 class ids. Others, such as 255 in masks of
                fewer classes, mark what does not count.

        Raises:
            TypeError: If labels are not int64.
            ValueError: If shapes disagree.
        """

    @abstractmethod
    def compute(self) -> float:
        """Return the value in units of ``unit``, NaN if nothing was counted. This waits."""

    def by_class(self) -> list[float | None] | None:
        """Return the value of each class, None where there is nothing of it. This waits.

        A metric that is not known by class returns None.
        """
        return None

    def keeper(self, labels: Tensor) -> Keeper | None:
        """Return what keeps something of single images of the last test of a run; None by default.

        A run asks its metrics, the main one first, until one returns a keeper.

        Args:
            labels: Of all test images, on the device.
        """
        return None


class ClassMetric(Metric):
    """A metric of outputs for classes: a run keeps what was predicted of each test image."""

    def keeper(self, labels: Tensor) -> Keeper | None:
        """Return a keeper of images that have one label each; see :meth:`Metric.keeper`."""
        return ClassificationKeeper(labels) if labels.ndim == 1 and len(labels) else None


class _Share(ClassMetric):
    """Percent of the labels that a condition holds for.

    Args:
        num_classes: C.

    Raises:
        TypeError: If ``num_classes`` is not an int.
        ValueError: If it is below 1.
    """

    count: Tensor  # (C,) int64, labels of each class
    chosen: Tensor  # (C,) int64, those that the condition holds for

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_positive_int(type(self).__name__, num_classes=num_classes)
        for name in ("count", "chosen"):
            self.register_buffer(name, torch.zeros(num_classes, dtype=torch.int64))

    @abstractmethod
    def _choose(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Tell which labels the condition holds for, bool of their shape."""

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch; see :meth:`Metric.update`."""
        counted, ids = _look_at(self, outputs, labels, len(self.count))
        chosen = self._choose(outputs, labels).flatten() & counted
        self.count.index_add_(0, ids, counted.to(torch.int64))
        self.chosen.index_add_(0, ids, chosen.to(torch.int64))

    def compute(self) -> float:
        """Return the percentage, NaN if nothing was counted. This waits."""
        chosen, count = torch.stack([self.chosen, self.count]).sum(1).tolist()
        return 100 * chosen / count if count else math.nan

    def by_class(self) -> list[float | None]:
        """Return the percentage of each class, None without labels of it. This waits."""
        pairs = torch.stack([self.chosen, self.count], dim=1).tolist()
        return [100 * chosen / count if count else None for chosen, count in pairs]


class Error(_Share):
    """Percent of the labels that are not the class with the highest output."""

    name = "error"
    better = "lower"

    def _choose(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.argmax(dim=1) != labels


class Accuracy(_Share):
    """Percent of the labels that are the class with the highest output."""

    name = "accuracy"
    better = "higher"

    def _choose(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.argmax(dim=1) == labels


class BalancedAccuracy(Accuracy):
    """Mean of the accuracies of the classes, in percent: rare ones count as much as others.

    Classes without labels do not count.

    Source: Brodersen et al., 2010, https://doi.org/10.1109/ICPR.2010.764
    """

    name = "balanced_accuracy"

    def compute(self) -> float:
        """Return the mean in percent, NaN if nothing was counted. This waits."""
        return _mean_of_known(self.by_class())


class TopKError(_Share):
    """Percent of the labels that are not among the k classes with the highest outputs.

    Args:
        num_classes: C.
        k: How many guesses there are.

    Raises:
        TypeError: If a number is not an int.
        ValueError: If a number is below 1, or there are fewer than ``k`` classes.
    """

    better = "lower"

    def __init__(self, num_classes: int, k: int = 5) -> None:
        super().__init__(num_classes)
        check_positive_int("TopKError", k=k)
        if k > num_classes:
            raise ValueError(f"TopKError: expected `k` <= {num_classes}, got {k}")
        self.k = k
        self.name = f"top{k}_error"

    def _choose(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.topk(self.k, dim=1).indices != labels.unsqueeze(1)).all(dim=1)


class MeanIoU(Metric):
    """Mean intersection over union of the classes, in percent.

    Of a class: the pixels of this class that are predicted as such, over those that are of it or
    predicted as such. Classes that neither occur nor are predicted do not count.

    Source: Everingham et al., 2015, https://doi.org/10.1007/s11263-014-0733-5, section 4.2

    Args:
        num_classes: C.
        ignore_index: Label of pixels that do not count, one of the classes too; None is none. Ids
            beyond the classes never count.

    Raises:
        TypeError: If ``num_classes`` is not an int.
        ValueError: If it is below 1.
    """

    name = "miou"
    better = "higher"
    confusion: Tensor  # (C, C) int64, pixels of each class (row) by prediction (column)

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        super().__init__()
        check_positive_int("MeanIoU", num_classes=num_classes)
        self.ignore_index = ignore_index
        confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.register_buffer("confusion", confusion)

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch; see :meth:`Metric.update`."""
        num_classes = len(self.confusion)
        counted, ids = _look_at(self, outputs, labels, num_classes)
        if self.ignore_index is not None:
            counted &= ids != self.ignore_index
        place = ids * num_classes + outputs.argmax(dim=1).flatten()
        self.confusion.view(-1).index_add_(0, place, counted.to(torch.int64))

    def keeper(self, labels: Tensor) -> Keeper | None:
        """Return a keeper of masks of a few images; see :meth:`Metric.keeper`."""
        return MaskKeeper(labels) if labels.ndim == 3 and len(labels) else None

    def compute(self) -> float:
        """Return the mean over classes in percent, NaN if nothing was counted. This waits."""
        return _mean_of_known(self.by_class())

    def by_class(self) -> list[float | None]:
        """Return the percentage of each class, None if it neither occurs nor is predicted."""
        both = self.confusion.diagonal()
        either = self.confusion.sum(0) + self.confusion.sum(1) - both
        pairs = torch.stack([both, either], dim=1).tolist()
        return [100 * both / either if either else None for both, either in pairs]


class PixelAccuracy(Accuracy):
    """Percent of the labeled pixels whose class is predicted."""

    name = "pixel_accuracy"


class ClassAccuracy(BalancedAccuracy):
    """Mean over classes of the percentage of their pixels that are predicted as such."""

    name = "class_accuracy"


class BoundaryIoU(MeanIoU):
    """Mean intersection over union, in percent, of pixels near edges between classes.

    Counted is a band: pixels of a class at most ``width`` rows and columns from where the truth
    changes, be it to no class, as masks often have it along edges.

    Source: Kohli et al., 2009, https://doi.org/10.1007/s11263-008-0202-0, section 4.4, for the band

    Args:
        num_classes: C.
        width: Pixels on each side of an edge.
        ignore_index: As of :class:`MeanIoU`.

    Raises:
        TypeError: If a number is not an int.
        ValueError: If it is below 1.
    """

    name = "boundary_iou"

    def __init__(self, num_classes: int, width: int = 4, ignore_index: int | None = None) -> None:
        super().__init__(num_classes, ignore_index)
        check_positive_int("BoundaryIoU", width=width)
        self.width = width

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch of masks; see :meth:`Metric.update`."""
        check_shapes("BoundaryIoU", labels=(labels, "N H W"))
        known = (labels >= 0) & (labels < len(self.confusion)) & (labels != self.ignore_index)
        own, edges = torch.where(known, labels, -1), torch.zeros_like(known)
        for dim in (1, 2):
            changes = own.diff(dim=dim) != 0
            for side in (0, 1):
                edges.narrow(dim, side, changes.shape[dim]).logical_or_(changes)
        reach = self.width - 1  # from the pixels at the edge
        near = F.max_pool2d(edges.float(), 2 * reach + 1, stride=1, padding=reach) > 0
        super().update(outputs, labels.masked_fill(~near, -1))


class NegativeLogLikelihood(ClassMetric):
    """Mean of minus the logarithm of the probability of the label: cross-entropy, in nats.

    It is that of the clean outputs, whatever loss they were trained with.

    Args:
        num_classes: C.

    Raises:
        TypeError: If ``num_classes`` is not an int.
        ValueError: If it is below 1.
    """

    name = "nll"
    unit = "nats"
    better = "lower"
    count: Tensor  # (C,) int64, labels of each class
    total: Tensor  # (C,) float64, of their losses

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_positive_int("NegativeLogLikelihood", num_classes=num_classes)
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("total", torch.zeros(num_classes, dtype=torch.float64))

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch; see :meth:`Metric.update`."""
        counted, ids = _look_at(self, outputs, labels, len(self.count))
        safe = ids.view(labels.shape)
        losses = F.cross_entropy(outputs.float(), safe, reduction="none").flatten().double()
        self.count.index_add_(0, ids, counted.to(torch.int64))
        self.total.index_add_(0, ids, torch.where(counted, losses, 0.0))

    def compute(self) -> float:
        """Return the mean in nats, NaN if nothing was counted. This waits."""
        return float(self.total.sum() / self.count.sum())

    def by_class(self) -> list[float | None]:
        """Return the mean of each class, None without labels of it. This waits."""
        pairs = zip(self.total.tolist(), self.count.tolist(), strict=True)
        return [total / count if count else None for total, count in pairs]


class CalibrationError(ClassMetric):
    """Expected calibration error, in percent: how far confidence and accuracy are apart.

    Labels are sorted into bins of equal width by the probability of the predicted class; the
    value is the mean over labels of ``|accuracy - mean confidence|`` of their bin.

    Source: Guo et al., 2017, https://arxiv.org/abs/1706.04599, Eq. (3)

    Args:
        num_classes: C.
        num_bins: Their number.

    Raises:
        TypeError: If a number is not an int.
        ValueError: If it is below 1.
    """

    name = "calibration_error"
    better = "lower"
    count: Tensor  # (B,) int64, labels in each bin
    right: Tensor  # (B,) int64, those that are predicted
    confidence: Tensor  # (B,) float64, sum of the probabilities of the predicted classes

    def __init__(self, num_classes: int, num_bins: int = 15) -> None:
        super().__init__()
        check_positive_int("CalibrationError", num_classes=num_classes, num_bins=num_bins)
        self.num_classes = num_classes
        for name in ("count", "right"):
            self.register_buffer(name, torch.zeros(num_bins, dtype=torch.int64))
        self.register_buffer("confidence", torch.zeros(num_bins, dtype=torch.float64))

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch; see :meth:`Metric.update`."""
        counted, ids = _look_at(self, outputs, labels, self.num_classes)
        confidence, guess = (x.flatten() for x in outputs.float().softmax(dim=1).max(dim=1))
        num_bins = len(self.count)
        # Bins are closed above: a confidence of exactly 1 is in the last one.
        bins = ((confidence * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
        self.count.index_add_(0, bins, counted.to(torch.int64))
        self.right.index_add_(0, bins, ((guess == ids) & counted).to(torch.int64))
        self.confidence.index_add_(0, bins, torch.where(counted, confidence.double(), 0.0))

    def compute(self) -> float:
        """Return the error in percent, NaN if nothing was counted. This waits."""
        return float(100 * (self.right - self.confidence).abs().sum() / self.count.sum())


def _mean_of_known(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def _look_at(
    metric: Metric, outputs: Tensor, labels: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Check a batch; return which labels are classes, flat bools, and ids that are safe to index.

    Raises:
        TypeError: If labels are not int64.
        ValueError: If shapes disagree.
    """
    function, pixels = type(metric).__name__, " H W" if outputs.ndim == 4 else ""
    shapes = {"outputs": (outputs, f"N {num_classes}{pixels}"), "labels": (labels, f"N{pixels}")}
    check_shapes(function, **shapes)
    check_labels(function, labels)
    labels = labels.flatten()
    return (labels >= 0) & (labels < num_classes), labels.clamp(0, num_classes - 1)


@metrics.register("error")
@dataclass(frozen=True, kw_only=True)
class ErrorSpec:
    """Percent of wrong predictions, of images or of pixels."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return Error(sizes.num_classes)


@metrics.register("accuracy")
@dataclass(frozen=True, kw_only=True)
class AccuracySpec:
    """Percent of right predictions, of images or of pixels."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return Accuracy(sizes.num_classes)


@metrics.register("balanced_accuracy")
@dataclass(frozen=True, kw_only=True)
class BalancedAccuracySpec:
    """Mean of the accuracies of the classes, in percent."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return BalancedAccuracy(sizes.num_classes)


@metrics.register("nll")
@dataclass(frozen=True, kw_only=True)
class NegativeLogLikelihoodSpec:
    """Cross-entropy of the clean outputs, in nats."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return NegativeLogLikelihood(sizes.num_classes)


@metrics.register("calibration_error")
@dataclass(frozen=True, kw_only=True)
class CalibrationErrorSpec:
    """How far confidence and accuracy are apart (expected calibration error), in percent.

    Args:
        num_bins: Bins of equal width that the confidences are sorted into.

    Raises:
        UserError: If there are none.
    """

    num_bins: int = 15

    def __post_init__(self) -> None:
        check_option("num_bins", self.num_bins, self.num_bins > 0, "> 0")

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return CalibrationError(sizes.num_classes, self.num_bins)


@metrics.register("top5_error")
@dataclass(frozen=True, kw_only=True)
class Top5ErrorSpec:
    """Percent of labels that are not among the five best guesses."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric.

        Raises:
            UserError: If there are fewer than five classes.
        """
        with as_user_error("recipe: metric top5_error: ", ValueError):
            return TopKError(sizes.num_classes)


@metrics.register("pixel_accuracy")
@dataclass(frozen=True, kw_only=True)
class PixelAccuracySpec:
    """Percent of pixels whose class is predicted."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return PixelAccuracy(sizes.num_classes)


@metrics.register("class_accuracy")
@dataclass(frozen=True, kw_only=True)
class ClassAccuracySpec:
    """Mean over classes of the share of their pixels that are predicted, in percent."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return ClassAccuracy(sizes.num_classes)


@metrics.register("boundary_iou")
@dataclass(frozen=True, kw_only=True)
class BoundaryIoUSpec:
    """Mean intersection over union of pixels near edges between classes, in percent.

    Args:
        width: Pixels on each side of an edge.

    Raises:
        UserError: If it is below 1.
    """

    width: int = 4

    def __post_init__(self) -> None:
        check_option("width", self.width, self.width >= 1, ">= 1")

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return BoundaryIoU(sizes.num_classes, self.width)


@metrics.register("miou")
@dataclass(frozen=True, kw_only=True)
class MeanIoUSpec:
    """Mean over classes of the intersection over union of pixels, in percent.

    Args:
        ignore_index: Label that does not count, besides ids beyond the classes; None is none.
    """

    ignore_index: int | None = None

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return MeanIoU(sizes.num_classes, self.ignore_index)

"""Metrics of masks: accuracies of pixels, intersections over unions."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_positive_int, check_shapes
from semaug.errors import check_option
from semaug.keepers import Keeper, MaskKeeper
from semaug.metrics.accuracy import Accuracy, BalancedAccuracy
from semaug.metrics.metric import Metric, flatten_labels, mean_over_classes
from semaug.registry import Sizes, metrics

# C classes.


class PixelAccuracy(Accuracy):
    """Percent of the labeled pixels whose class is predicted."""

    name = "pixel_accuracy"


@metrics.register("pixel_accuracy")
@dataclass(frozen=True, kw_only=True)
class PixelAccuracySpec:
    """Percent of pixels whose class is predicted."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return PixelAccuracy(sizes.num_classes)


class ClassAccuracy(BalancedAccuracy):
    """Mean over classes of the percentage of their pixels that are predicted as such."""

    name = "class_accuracy"


@metrics.register("class_accuracy")
@dataclass(frozen=True, kw_only=True)
class ClassAccuracySpec:
    """Mean over classes of the share of their pixels that are predicted, in percent."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return ClassAccuracy(sizes.num_classes)


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
        counted, ids = flatten_labels(self, outputs, labels, num_classes)
        if self.ignore_index is not None:
            counted &= ids != self.ignore_index
        place = ids * num_classes + outputs.argmax(dim=1).flatten()
        self.confusion.view(-1).index_add_(0, place, counted.to(torch.int64))

    def keeper(self, labels: Tensor) -> Keeper | None:
        """Return a keeper of masks of a few images; see :meth:`Metric.keeper`."""
        return MaskKeeper(labels) if labels.ndim == 3 and len(labels) else None

    def compute(self) -> float:
        """Return the mean over classes in percent, NaN if nothing was counted. This waits."""
        return mean_over_classes(self.by_class())

    def by_class(self) -> list[float | None]:
        """Return the percentage of each class, None if it neither occurs nor is predicted."""
        both = self.confusion.diagonal()
        either = self.confusion.sum(0) + self.confusion.sum(1) - both
        pairs = torch.stack([both, either], dim=1).tolist()
        return [100 * both / either if either else None for both, either in pairs]


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

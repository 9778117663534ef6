"""Base classes of metrics, and what their updates share."""

import math
from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

from semaug._torch.checks import check_labels, check_shapes
from semaug.keepers import ClassificationKeeper, Counts, Keeper

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


def flatten_labels(
    metric: Metric, outputs: Tensor, labels: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Check a batch, and flatten its labels.

    Returns:
        Which labels are classes, bool, and class ids that are safe to index with, int64; both
        ``(N,)`` or ``(N * H * W,)``.

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


def mean_over_classes(values: list[float | None]) -> float:
    """Return the mean of the classes whose value is known, NaN if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan

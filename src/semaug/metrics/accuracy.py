"""Errors and accuracies: how often the label is the best guess, or among the best.

>>> import torch
>>> error = Error(num_classes=3)
>>> error.update(torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, 2]))
>>> error.compute(), error.by_class()
(25.0, [0.0, 0.0, 50.0])
"""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from semaug._torch.checks import check_positive_int
from semaug.errors import as_user_error
from semaug.metrics.metric import ClassMetric, Metric, flatten_labels, mean_over_classes
from semaug.registry import Sizes, metrics

# C classes.


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
        counted, ids = flatten_labels(self, outputs, labels, len(self.count))
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


@metrics.register("error")
@dataclass(frozen=True, kw_only=True)
class ErrorSpec:
    """Percent of wrong predictions, of images or of pixels."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return Error(sizes.num_classes)


class Accuracy(_Share):
    """Percent of the labels that are the class with the highest output."""

    name = "accuracy"
    better = "higher"

    def _choose(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.argmax(dim=1) == labels


@metrics.register("accuracy")
@dataclass(frozen=True, kw_only=True)
class AccuracySpec:
    """Percent of right predictions, of images or of pixels."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return Accuracy(sizes.num_classes)


class BalancedAccuracy(Accuracy):
    """Mean of the accuracies of the classes, in percent: rare ones count as much as others.

    Classes without labels do not count.

    Source: Brodersen et al., 2010, https://doi.org/10.1109/ICPR.2010.764
    """

    name = "balanced_accuracy"

    def compute(self) -> float:
        """Return the mean in percent, NaN if nothing was counted. This waits."""
        return mean_over_classes(self.by_class())


@metrics.register("balanced_accuracy")
@dataclass(frozen=True, kw_only=True)
class BalancedAccuracySpec:
    """Mean of the accuracies of the classes, in percent."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return BalancedAccuracy(sizes.num_classes)


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

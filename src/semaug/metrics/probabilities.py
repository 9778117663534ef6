"""Negative log-likelihood and calibration error of predicted probabilities."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_positive_int
from semaug.errors import check_option
from semaug.metrics.metric import ClassMetric, Metric, flatten_labels
from semaug.registry import Sizes, metrics

# B bins, C classes.


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
        counted, ids = flatten_labels(self, outputs, labels, len(self.count))
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


@metrics.register("nll")
@dataclass(frozen=True, kw_only=True)
class NegativeLogLikelihoodSpec:
    """Cross-entropy of the clean outputs, in nats."""

    def build(self, sizes: Sizes) -> Metric:
        """Return the metric."""
        return NegativeLogLikelihood(sizes.num_classes)


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
        counted, ids = flatten_labels(self, outputs, labels, self.num_classes)
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

"""Expected calibration error: how far confidence and accuracy are apart.

    mean over bins of |share of right answers - mean confidence|, weighted by their samples

Source: Guo et al., ICML 2017, https://arxiv.org/abs/1706.04599, equation 3
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from semaug.errors import check_option
from semaug.metrics import Metric
from semaug.registry import Sizes


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Expected calibration error in percent.

    Args:
        bins: How many intervals of confidence there are.
    """

    bins: int = 15

    def __post_init__(self) -> None:
        check_option("bins", self.bins, self.bins >= 1, ">= 1")

    def build(self, sizes: Sizes) -> Metric:
        return CalibrationError(self.bins)


class CalibrationError(Metric):
    """Counts of samples and right answers, and the sum of confidences, for each bin."""

    name, unit, better = "calibration_error", "%", "lower"

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(bins, dtype=torch.int64))
        self.register_buffer("right", torch.zeros(bins, dtype=torch.int64))
        self.register_buffer("confidence", torch.zeros(bins, dtype=torch.float64))

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        confidence, guess = outputs.double().softmax(dim=1).max(dim=1)
        bins = (confidence * len(self.count)).long().clamp(max=len(self.count) - 1)
        self.count.index_add_(0, bins, torch.ones_like(bins))
        self.right.index_add_(0, bins, (guess == labels).long())
        self.confidence.index_add_(0, bins, confidence)

    def compute(self) -> float:
        apart = (self.right - self.confidence).abs().sum() / self.count.sum()
        return 100 * float(apart)

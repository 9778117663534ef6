"""Softmax cross-entropy, torch's own."""

from dataclasses import dataclass

from torch import nn

from semaug.errors import check_option
from semaug.registry import Sizes, losses

__all__ = ["CrossEntropy"]


@losses.register("cross_entropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """The baseline: softmax cross-entropy.

    Args:
        label_smoothing: Share of each target that is spread evenly over all classes.

    Raises:
        UserError: If it is out of range.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_option(
            "label_smoothing", self.label_smoothing, 0 <= self.label_smoothing <= 1, "from 0 to 1"
        )

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

"""Softmax cross-entropy, torch's own."""

from dataclasses import dataclass

from torch import nn

from semaug.registry import Sizes, losses

__all__ = ["CrossEntropy"]


@losses.register("cross_entropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """The baseline: softmax cross-entropy."""

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        return nn.CrossEntropyLoss()

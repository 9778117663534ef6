"""Losses: each a pure function and a thin module that keeps its state."""

from semaug.losses.augment import augment_logits
from semaug.losses.isda import ISDALoss, isda_loss

__all__ = ["ISDALoss", "augment_logits", "isda_loss"]

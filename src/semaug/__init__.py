"""Losses and training methods that make image models generalize better."""

from semaug.covariance import ClassCovariance
from semaug.losses import ISDALoss, augment_logits, isda_loss

__version__ = "0.1.0"

__all__ = ["ClassCovariance", "ISDALoss", "augment_logits", "isda_loss"]

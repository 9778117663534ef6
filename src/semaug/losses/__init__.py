"""Losses: each a pure function and a thin module that keeps its state."""

from semaug.losses._classification import takes_features
from semaug.losses.augment import augment_logits
from semaug.losses.consistency import (
    NoUnlabeledLoss,
    SemanticConsistency,
    SemanticConsistencyLoss,
    semantic_consistency_loss,
)
from semaug.losses.cross_entropy import CrossEntropy
from semaug.losses.diagnostics import isda_diagnostics
from semaug.losses.explicit import (
    ExpectedLoss,
    Explicit,
    ExplicitAugmentationLoss,
    expected_loss,
    explicit_augmentation_loss,
)
from semaug.losses.hard_pixels import hard_pixels
from semaug.losses.invariance import AugmentationInvariantLoss, augmentation_invariant_loss
from semaug.losses.isda import ISDA, ISDALoss, isda_loss
from semaug.losses.multi_label import MultiLabelISDALoss, multi_label_isda_loss
from semaug.losses.mutual import MutualLoss, mutual_loss

__all__ = [
    "ISDA",
    "AugmentationInvariantLoss",
    "CrossEntropy",
    "ExpectedLoss",
    "Explicit",
    "ExplicitAugmentationLoss",
    "ISDALoss",
    "MultiLabelISDALoss",
    "MutualLoss",
    "NoUnlabeledLoss",
    "SemanticConsistency",
    "SemanticConsistencyLoss",
    "augment_logits",
    "augmentation_invariant_loss",
    "expected_loss",
    "explicit_augmentation_loss",
    "hard_pixels",
    "isda_diagnostics",
    "isda_loss",
    "multi_label_isda_loss",
    "mutual_loss",
    "semantic_consistency_loss",
    "takes_features",
]

"""Losses: each a pure function and a thin module that keeps its state."""

from semaug.losses._classification import takes_features, takes_positions
from semaug.losses.augment import augment_logits
from semaug.losses.center import Center, CenterLoss, center_loss
from semaug.losses.consistency import (
    NoUnlabeledLoss,
    SemanticConsistency,
    SemanticConsistencyLoss,
    semantic_consistency_loss,
)
from semaug.losses.cross_entropy import CrossEntropy
from semaug.losses.diagnostics import isda_diagnostics
from semaug.losses.distribution_net import (
    DistributionNet,
    DistributionNetLoss,
    distribution_net_loss,
)
from semaug.losses.disturb_label import DisturbLabel, DisturbLabelLoss, disturb_labels
from semaug.losses.explicit import (
    ExpectedLoss,
    Explicit,
    ExplicitAugmentationLoss,
    expected_loss,
    explicit_augmentation_loss,
)
from semaug.losses.focal import Focal, FocalLoss, focal_loss
from semaug.losses.hard_pixels import hard_pixels
from semaug.losses.invariance import AugmentationInvariantLoss, augmentation_invariant_loss
from semaug.losses.isda import ISDA, ISDALoss, isda_loss
from semaug.losses.large_margin import LargeMargin, LargeMarginLoss, large_margin_loss
from semaug.losses.lq import Lq, LqLoss, lq_loss
from semaug.losses.multi_label import MultiLabelISDALoss, multi_label_isda_loss
from semaug.losses.mutual import MutualLoss, mutual_loss

__all__ = [
    "ISDA",
    "AugmentationInvariantLoss",
    "Center",
    "CenterLoss",
    "CrossEntropy",
    "DistributionNet",
    "DistributionNetLoss",
    "DisturbLabel",
    "DisturbLabelLoss",
    "ExpectedLoss",
    "Explicit",
    "ExplicitAugmentationLoss",
    "Focal",
    "FocalLoss",
    "ISDALoss",
    "LargeMargin",
    "LargeMarginLoss",
    "Lq",
    "LqLoss",
    "MultiLabelISDALoss",
    "MutualLoss",
    "NoUnlabeledLoss",
    "SemanticConsistency",
    "SemanticConsistencyLoss",
    "augment_logits",
    "augmentation_invariant_loss",
    "center_loss",
    "distribution_net_loss",
    "disturb_labels",
    "expected_loss",
    "explicit_augmentation_loss",
    "focal_loss",
    "hard_pixels",
    "isda_diagnostics",
    "isda_loss",
    "large_margin_loss",
    "lq_loss",
    "multi_label_isda_loss",
    "mutual_loss",
    "semantic_consistency_loss",
    "takes_features",
    "takes_positions",
]

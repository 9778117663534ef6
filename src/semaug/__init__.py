"""Losses and training methods that make image models generalize better."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semaug.api import load, train
    from semaug.covariance import ClassCovariance, quadratic_form
    from semaug.features import attach, with_features
    from semaug.losses import (
        AugmentationInvariantLoss,
        CenterLoss,
        DistributionNetLoss,
        DisturbLabelLoss,
        ExplicitAugmentationLoss,
        FocalLoss,
        ISDALoss,
        LargeMarginLoss,
        LqLoss,
        MultiLabelISDALoss,
        MutualLoss,
        SemanticConsistencyLoss,
        augment_logits,
        augmentation_invariant_loss,
        center_loss,
        distribution_net_loss,
        disturb_labels,
        expected_loss,
        explicit_augmentation_loss,
        focal_loss,
        isda_loss,
        large_margin_loss,
        lq_loss,
        multi_label_isda_loss,
        mutual_loss,
        semantic_consistency_loss,
    )

__version__ = "0.2.0"

# Imported on first use, so that the command line answers before torch is there.
_HOMES = {
    "semaug.api": ("load", "train"),
    "semaug.covariance": ("ClassCovariance", "quadratic_form"),
    "semaug.features": ("attach", "with_features"),
    "semaug.losses": (
        "AugmentationInvariantLoss",
        "CenterLoss",
        "DistributionNetLoss",
        "DisturbLabelLoss",
        "ExplicitAugmentationLoss",
        "FocalLoss",
        "ISDALoss",
        "LargeMarginLoss",
        "LqLoss",
        "MultiLabelISDALoss",
        "MutualLoss",
        "SemanticConsistencyLoss",
        "augment_logits",
        "augmentation_invariant_loss",
        "center_loss",
        "distribution_net_loss",
        "disturb_labels",
        "expected_loss",
        "explicit_augmentation_loss",
        "focal_loss",
        "isda_loss",
        "large_margin_loss",
        "lq_loss",
        "multi_label_isda_loss",
        "mutual_loss",
        "semantic_consistency_loss",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'semaug' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Losses and training methods that make image models generalize better."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semaug.covariance import ClassCovariance, quadratic_form
    from semaug.features import attach, with_features
    from semaug.losses import (
        AugmentationInvariantLoss,
        ExplicitAugmentationLoss,
        ISDALoss,
        MultiLabelISDALoss,
        MutualLoss,
        SemanticConsistencyLoss,
        augment_logits,
        augmentation_invariant_loss,
        expected_loss,
        explicit_augmentation_loss,
        isda_loss,
        multi_label_isda_loss,
        mutual_loss,
        semantic_consistency_loss,
    )

__version__ = "0.1.0"

__all__ = [
    "AugmentationInvariantLoss",
    "ClassCovariance",
    "ExplicitAugmentationLoss",
    "ISDALoss",
    "MultiLabelISDALoss",
    "MutualLoss",
    "SemanticConsistencyLoss",
    "attach",
    "augment_logits",
    "augmentation_invariant_loss",
    "expected_loss",
    "explicit_augmentation_loss",
    "isda_loss",
    "multi_label_isda_loss",
    "mutual_loss",
    "quadratic_form",
    "semantic_consistency_loss",
    "with_features",
]

# Imported on first use, so that the command line answers before torch is there.
_HOMES = {
    "AugmentationInvariantLoss": "semaug.losses",
    "ClassCovariance": "semaug.covariance",
    "ExplicitAugmentationLoss": "semaug.losses",
    "ISDALoss": "semaug.losses",
    "MultiLabelISDALoss": "semaug.losses",
    "MutualLoss": "semaug.losses",
    "SemanticConsistencyLoss": "semaug.losses",
    "attach": "semaug.features",
    "augment_logits": "semaug.losses",
    "augmentation_invariant_loss": "semaug.losses",
    "expected_loss": "semaug.losses",
    "explicit_augmentation_loss": "semaug.losses",
    "isda_loss": "semaug.losses",
    "multi_label_isda_loss": "semaug.losses",
    "mutual_loss": "semaug.losses",
    "quadratic_form": "semaug.covariance",
    "semantic_consistency_loss": "semaug.losses",
    "with_features": "semaug.features",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'semaug' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

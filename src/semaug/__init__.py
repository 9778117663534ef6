"""Losses and training methods that make image models generalize better."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semaug.covariance import ClassCovariance
    from semaug.features import attach, with_features
    from semaug.losses import ISDALoss, augment_logits, isda_loss

__version__ = "0.1.0"

__all__ = [
    "ClassCovariance",
    "ISDALoss",
    "attach",
    "augment_logits",
    "isda_loss",
    "with_features",
]

# Imported on first use, so that the command line answers before torch is there.
_HOMES = {
    "ClassCovariance": "semaug.covariance",
    "ISDALoss": "semaug.losses",
    "attach": "semaug.features",
    "augment_logits": "semaug.losses",
    "isda_loss": "semaug.losses",
    "with_features": "semaug.features",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'semaug' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

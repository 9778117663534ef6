"""Checks and choices that several losses share."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import (
    check_at_least,
    check_bool,
    check_labels,
    check_one_of,
    check_positive_int,
    check_shapes,
    check_tensors,
)
from semaug.covariance import KINDS, ClassCovariance, Kind
from semaug.covariance.batch import IGNORE_INDEX

__all__ = [
    "DENSE",
    "REDUCTIONS",
    "CrossEntropyOptions",
    "Dense",
    "Reduction",
    "at_least_float32",
    "check_labeled",
    "check_logits_and_labels",
    "check_no_ignored_targets",
    "check_positions",
    "checked_strength",
    "class_ids",
    "estimator_of",
    "has_target",
    "reduced",
]

# N samples, C classes, A features, H x W pixels of labels, h x w pixels of logits and features.

Reduction = Literal["none", "mean", "sum"]
REDUCTIONS: tuple[Reduction, ...] = ("none", "mean", "sum")

Dense = Literal["exact", "features", "faithful"]
DENSE: tuple[Dense, ...] = ("exact", "features", "faithful")


class CrossEntropyOptions(NamedTuple):
    """Options of cross-entropy, with the meaning that they have in torch."""

    class_weights: Tensor | None = None  # (C,), `weight` in torch
    ignore_index: int = IGNORE_INDEX
    label_smoothing: float = 0.0
    reduction: Reduction = "mean"
    dense: Dense = "exact"  # ours: at which resolution dense labels count
    align_corners: bool = False  # of the interpolation of dense logits

    def check(self, function: str) -> None:
        """Check all options but the weights, which need something to be compared with.

        Raises:
            TypeError: If the smoothing is no number.
            ValueError: If a name is unknown or a number out of range.
        """
        check_one_of(function, "reduction", self.reduction, REDUCTIONS)
        check_one_of(function, "dense", self.dense, DENSE)
        check_bool(function, "align_corners", self.align_corners)
        check_at_least(function, "label_smoothing", self.label_smoothing, 0)
        if self.label_smoothing > 1:
            raise ValueError(
                f"{function}: expected `label_smoothing` <= 1, got {self.label_smoothing}"
            )

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute :func:`torch.nn.functional.cross_entropy` with these options."""
        weights = self.class_weights
        return F.cross_entropy(
            logits,
            labels,
            weight=None if weights is None else weights.to(logits.dtype),
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


def check_logits_and_labels(
    function: str,
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    features: Tensor | None = None,
    class_weights: Tensor | None = None,
    *,
    soft: bool = False,
    dense: bool = True,
) -> None:
    """Check what losses of a linear classifier are given, as :func:`check_labeled` does.

    Args:
        function: Name for messages.
        logits: ``(N, C)``, or, where ``dense``, ``(N, C, h, w)``.
        labels: ``(N,)`` or ``(N, H, W)`` int64, or soft targets.
        weight: ``(C, A)``.
        features: ``(N, A)``, or of dense logits ``(N, A, ...)`` of any resolution.
        class_weights: ``(C,)``.
        soft: As there.
        dense: As there.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree.
    """
    pixels = dense and isinstance(logits, Tensor) and logits.ndim == 4
    check_labeled(
        function,
        logits,
        labels,
        soft=soft,
        dense=dense,
        weight=(weight, "C A"),
        # Those of a model that interpolates its logits are smaller.
        features=(features, "N A Y X?" if pixels else "N A?"),
        class_weights=(class_weights, "C?"),
    )


def check_labeled(
    function: str,
    logits: Tensor,
    labels: Tensor,
    *,
    soft: bool = False,
    dense: bool = True,
    same_size: bool = False,
    **others: tuple[Tensor | None, str],
) -> None:
    """Check logits, their labels, and other tensors.

    Args:
        function: Name for messages.
        logits: ``(N, C)``, or, where ``dense``, ``(N, C, h, w)``.
        labels: ``(N,)`` or ``(N, H, W)`` int64; where ``soft``, floating-point targets of the
            shape of the logits will do too.
        soft: As above.
        dense: As above.
        same_size: Whether dense labels have the resolution of the logits.
        **others: Tensors with patterns, see :func:`check_tensors`; ``{pixels}`` stands for that of
            the pixels of logits.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree.
    """
    dense = dense and isinstance(logits, Tensor) and logits.ndim == 4
    probabilities = soft and isinstance(labels, Tensor) and labels.is_floating_point()
    pixels, label_pixels = (" h w", " h w" if same_size else " H W") if dense else ("", "")
    own = "N C" + pixels if probabilities else "N" + label_pixels
    tensors: dict[str, tuple[Tensor | None, str]]
    tensors = {"targets" if probabilities else "labels": (labels, own)}
    tensors |= {name: (x, own.format(pixels=pixels)) for name, (x, own) in others.items()}
    check_tensors(function, logits=(logits, "N C" + pixels), **tensors)


def checked_strength(
    function: str, strength: float | Tensor, logits: Tensor | None = None
) -> float | Tensor:
    """Return a number or scalar as it is, and a tensor ``(N,)`` such that it multiplies logits.

    Args:
        function: Name for messages.
        strength: A number, or a tensor, whose value is not read.
        logits: ``(N, C)`` or ``(N, C, h, w)``, if samples may have a strength each.

    Raises:
        TypeError: If it is no number.
        ValueError: If the number is negative or the shape is wrong.
    """
    check_at_least(function, "strength", strength, 0)
    if not isinstance(strength, Tensor) or strength.ndim == 0:
        return strength
    if logits is None:
        raise ValueError(
            f"{function}: expected `strength` to be one number, got shape {tuple(strength.shape)}"
        )
    check_shapes(function, strength=(strength, str(len(logits))))
    return strength.view(-1, *[1] * (logits.ndim - 1))


def estimator_of(
    owner: str, num_classes: int, num_features: int, covariance: Kind | ClassCovariance
) -> ClassCovariance:
    """Return the estimator given, or a new one of the kind given.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, the kind is unknown, or the one given has other sizes.
    """
    wanted = check_positive_int(owner, num_classes=num_classes, num_features=num_features)
    if not isinstance(covariance, ClassCovariance):
        check_one_of(owner, "covariance", covariance, KINDS)
        return ClassCovariance(num_classes, num_features, covariance)
    sizes = (covariance.num_classes, covariance.num_features)
    if sizes != wanted:
        raise ValueError(
            f"{owner}: expected `covariance` with (num_classes, num_features) = "
            f"{wanted}, got {sizes}"
        )
    return covariance


def check_no_ignored_targets(function: str, labels: Tensor, ignore_index: int) -> None:
    """Check that soft targets come without a label to ignore.

    Raises:
        ValueError: If there is one.
    """
    if labels.is_floating_point() and ignore_index != IGNORE_INDEX:
        raise ValueError(
            f"{function}: expected no `ignore_index` for soft targets, got {ignore_index}"
        )


def check_positions(function: str, positions: Tensor | None, labels: Tensor) -> None:
    """Check the positions of images in their set, one for each label.

    Raises:
        TypeError: If they are no int64 tensor.
        ValueError: If there are more or fewer.
    """
    if positions is not None:
        check_shapes(function, positions=(positions, str(len(labels))))
        check_labels(function, positions, "positions")


def has_target(targets: Tensor) -> Tensor:
    """``(N, 1, ...)`` bool: whether targets ``(N, C, ...)`` name a class; zeros and NaN do not."""
    return targets.amax(dim=1, keepdim=True) > 0


def class_ids(targets: Tensor) -> Tensor:
    """``(N, ...)`` most probable classes, ``IGNORE_INDEX`` without a target."""
    return torch.where(has_target(targets).squeeze(1), targets.argmax(dim=1), IGNORE_INDEX)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Sum losses or take their mean."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


def at_least_float32(logits: Tensor) -> Tensor:
    """Convert half precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))

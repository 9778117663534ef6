"""Explicit semantic data augmentation: features with noise that is drawn.

    loss_M = 1 / M * sum over m of CE(W (a + e_m) + b, y),   e_m ~ N(0, strength * S_y)

ISDA bounds its limit for M to infinity, and Fig. 10 compares both. A classifier is linear,
so noise on features is noise ``W e_m`` on logits.

Source: Eqs. (5) and (6), and section 6.5.3, of https://arxiv.org/abs/2007.10538.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_at_least, check_positive_int
from semaug.covariance import ClassCovariance, Kind
from semaug.covariance.form import Form, Noise
from semaug.covariance.quadratic_form import as_form, check_fits, working_dtype
from semaug.covariance.rows import ClassRows, class_rows
from semaug.covariance.samples import IGNORE_INDEX
from semaug.losses._arguments import (
    Reduction,
    at_least_float32,
    check_logits_and_labels,
    check_options,
    check_strength,
    estimator_of,
    reduced,
)
from semaug.losses._strength import Ramp, Ramped

__all__ = [
    "ExpectedLoss",
    "ExplicitAugmentationLoss",
    "expected_loss",
    "explicit_augmentation_loss",
]

# N samples, C classes, A features, M draws.


def explicit_augmentation_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
    num_samples: int,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Cross-entropy averaged over M draws of augmented features, Eq. (5).

    Args:
        logits: ``(N, C)`` of the clean features.
        labels: ``(N,)`` int64 class ids.
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, symmetric positive semi-definite, or ``(C, A)`` variances,
            treated as constant; or an estimator, through whose ``learned`` factors gradients
            flow.
        strength: lambda of the paper, at least 0, or ``(N,)``; a tensor is not checked.
        num_samples: M.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        ignore_index: Label of samples that do not count.
        label_smoothing: Between 0 and 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        generator: Source of randomness, on the device of the weight.

    Returns:
        A scalar, or ``(N,)`` for ``reduction="none"``, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, a number is out of range or
            ``reduction`` unknown.
    """
    name = "explicit_augmentation_loss"
    check_logits_and_labels(name, logits, labels, weight, dense=False)
    check_strength(name, strength, len(logits))
    check_options(name, len(weight), reduction, class_weights, label_smoothing, logits)
    check_positive_int(name, num_samples=num_samples)
    form = as_form(name, weight, covariance)
    rows = class_rows(labels, len(weight), ignore_index)
    return _loss(
        logits, labels, weight, form, strength, rows, num_samples,
        class_weights, ignore_index, label_smoothing, reduction, generator,
    )  # fmt: skip


class ExplicitAugmentationLoss(Ramped, nn.Module):
    """:func:`explicit_augmentation_loss` that keeps the covariances and ramps the strength.

    As :class:`semaug.ISDALoss`, for M draws instead of infinitely many. It draws from torch's
    global generator, and takes none of its own: that would be state which must survive a restart
    and which a ``state_dict`` cannot hold.

    Args:
        num_classes: C.
        num_features: A.
        strength: lambda_0 of the paper, at least 0.
        num_samples: M.
        ramp_steps: Training calls over which the strength grows; None keeps it constant.
        covariance: A kind of :class:`ClassCovariance`, or one to share or with options.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        ignore_index: Label of samples that do not count, in loss and statistics.
        label_smoothing: Between 0 and 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. The uncertainty of ``learned`` is added to
            what is returned: once to a scalar, and to every element of ``"none"``.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a number is out of range, a name unknown, or a shared estimator has
            other sizes.

    >>> loss = ExplicitAugmentationLoss(10, 64, strength=0.5, num_samples=5)
    >>> features, weight = torch.randn(8, 64), torch.randn(10, 64)
    >>> loss(features @ weight.T, torch.arange(8), features, weight).shape
    torch.Size([])
    """

    class_weights: Tensor | None

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        strength: float,
        num_samples: int,
        ramp_steps: int | None = None,
        covariance: Kind | ClassCovariance = "full",
        class_weights: Tensor | None = None,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = "ExplicitAugmentationLoss"
        self.ramp = Ramp(name, strength, ramp_steps)
        check_options(name, num_classes, reduction, class_weights, label_smoothing)
        check_positive_int(name, num_samples=num_samples)
        self.estimator = estimator_of(name, num_classes, num_features, covariance)
        self.num_samples = num_samples
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor) -> Tensor:
        """Update the statistics (in training mode) and compute the loss.

        Args:
            logits: ``(N, C)``.
            labels: ``(N,)`` int64 class ids.
            features: ``(N, A)`` that the classifier turned into the logits.
            weight: ``(C, A)`` of the classifier.

        Returns:
            A scalar, or ``(N,)`` for ``reduction="none"``.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        name, estimator = "ExplicitAugmentationLoss", self.estimator
        check_logits_and_labels(name, logits, labels, weight, features, dense=False)
        check_fits(name, weight, estimator)
        rows = class_rows(labels, estimator.num_classes, self.ignore_index)
        if self.training:
            estimator._update(features, labels, rows, ignore_index=self.ignore_index)
            self.ramp.advance()
        form, strength = estimator.form(), self.ramp.current()
        loss = _loss(
            logits, labels, weight, form, strength, rows, self.num_samples,
            self.class_weights, self.ignore_index, self.label_smoothing, self.reduction,
        )  # fmt: skip
        if self.training and estimator.kind == "learned":
            loss = loss + estimator._uncertainty(rows)
        return loss


class ExpectedLoss(NamedTuple):
    """A Monte Carlo estimate."""

    mean: Tensor  # scalar
    standard_error: Tensor  # scalar, of the mean


@torch.no_grad()
def expected_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
    num_samples: int,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
    generator: torch.Generator | None = None,
    draws_at_once: int = 100,
) -> ExpectedLoss:
    """Estimate the expected cross-entropy of a batch over augmented features, Eq. (6).

    What :func:`semaug.isda_loss` bounds: their difference tells how tight the bound is.

    Args:
        logits: ``(N, C)`` of the clean features.
        labels: ``(N,)`` int64 class ids.
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, symmetric positive semi-definite, or ``(C, A)`` variances;
            or an estimator.
        strength: lambda of the paper, at least 0, or ``(N,)``.
        num_samples: M, at least 2.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        ignore_index: Label of samples that do not count.
        label_smoothing: Between 0 and 1.
        generator: Source of randomness, on the device of the weight.
        draws_at_once: Bounds the memory, N x A times this.

    Returns:
        The mean over the batch, and the standard error of the estimate.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree or a number is out of range.
    """
    name = "expected_loss"
    check_logits_and_labels(name, logits, labels, weight, dense=False)
    check_strength(name, strength, len(logits))
    check_options(name, len(weight), "mean", class_weights, label_smoothing, logits)
    check_positive_int(name, num_samples=num_samples, draws_at_once=draws_at_once)
    check_at_least(name, "num_samples", num_samples, 2)
    form = as_form(name, weight, covariance)
    rows = class_rows(labels, len(weight), ignore_index)
    logits = at_least_float32(logits)
    class_weights = None if class_weights is None else class_weights.to(logits.dtype)
    means = []
    for start in range(0, num_samples, draws_at_once):
        draws = min(draws_at_once, num_samples - start)
        noise = _logit_noise(weight, form, strength, rows, draws, generator)
        means += [
            F.cross_entropy(
                logits + own,
                labels,
                weight=class_weights,
                ignore_index=ignore_index,
                label_smoothing=label_smoothing,
            )
            for own in noise.to(logits.dtype)
        ]
    every = torch.stack(means)
    return ExpectedLoss(every.mean(), every.std() / math.sqrt(num_samples))


def _loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    rows: ClassRows,
    num_samples: int,
    class_weights: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    generator: torch.Generator | None = None,
) -> Tensor:
    """:func:`explicit_augmentation_loss` with the rows of ``labels``."""
    logits = at_least_float32(logits)
    noise = _logit_noise(weight, form, strength, rows, num_samples, generator)
    logits = logits + noise.to(logits.dtype)
    return _mean_over_draws(logits, labels, class_weights, ignore_index, label_smoothing, reduction)


def _logit_noise(
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    rows: ClassRows,
    num_samples: int,
    generator: torch.Generator | None,
) -> Tensor:
    """``sqrt(strength) W e``, ``(M, N, C)``."""
    dtype = working_dtype(weight, form)
    with without_autocast(weight.device):
        weight = weight.to(dtype)
        noise = form.to(dtype).draw(
            Noise(num_samples, weight, generator), rows.classes, rows.position
        )
        if isinstance(strength, Tensor):
            return (noise * strength.to(dtype).sqrt().view(-1, 1)) @ weight.T
        return (noise * math.sqrt(strength)) @ weight.T


def _mean_over_draws(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> Tensor:
    """Cross-entropy of ``(M, N, C)`` logits, averaged over draws."""
    num_samples = len(logits)
    losses = F.cross_entropy(
        logits.flatten(0, 1),
        labels.repeat(num_samples),
        weight=None if class_weights is None else class_weights.to(logits.dtype),
        ignore_index=ignore_index,
        reduction="mean" if reduction == "mean" else "none",
        label_smoothing=label_smoothing,
    )
    if reduction == "mean":
        return losses  # every draw has the same labels, so the same weights
    return reduced(losses.view(num_samples, len(labels)).mean(dim=0), reduction)

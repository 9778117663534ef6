"""Explicit semantic data augmentation: features with noise that is drawn.

    loss_M = 1 / M * sum over m of CE(W (a + e_m) + b, y),   e_m ~ N(0, strength * S_y)

ISDA bounds its limit for M to infinity, and Fig. 10 compares both. A classifier is linear,
so noise on features is noise ``W e_m`` on logits.

Source: Eqs. (5) and (6), and section 6.5.3, of Wang et al., T-PAMI 2021,
https://arxiv.org/abs/2007.10538.

Literal form: tests/references/losses.py, ``noisy_logits``; tests/references/isda.py,
``expected_cross_entropy``.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_positive_int, check_tensors
from semaug.covariance import ClassCovariance, Kind
from semaug.covariance.batch import IGNORE_INDEX
from semaug.covariance.form import Form, Noise, at_working_precision
from semaug.covariance.full import draw_from_roots, symmetric_root
from semaug.covariance.quadratic_form import as_form, check_fits
from semaug.covariance.rows import ClassRows, class_rows
from semaug.errors import check_option
from semaug.losses._arguments import (
    CrossEntropyOptions,
    Reduction,
    check_logits_and_labels,
    checked_strength,
    estimator_of,
    reduced,
)
from semaug.losses._strength import Ramp, Ramped, given
from semaug.losses.isda import FeatureAugmentation
from semaug.registry import Sizes, losses

__all__ = [
    "ExpectedLoss",
    "Explicit",
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
    options = CrossEntropyOptions(class_weights, ignore_index, label_smoothing, reduction)
    check_positive_int("explicit_augmentation_loss", num_samples=num_samples)
    form, strength, rows = _checked(
        "explicit_augmentation_loss", logits, labels, weight, covariance, strength, options
    )
    draws = Noise(num_samples, generator)
    noise = _logit_noise(logits, weight, form, strength, rows, draws)  # sqrt(strength) W e
    return _mean_over_draws(logits + noise, labels, options)


class ExplicitAugmentationLoss(Ramped):
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
        augment_in_eval: As in :class:`semaug.ISDALoss`.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a number is out of range, a name unknown, or a shared estimator has
            other sizes.

    >>> loss = ExplicitAugmentationLoss(10, 64, strength=0.5, num_samples=5)
    >>> features, weight = torch.randn(8, 64), torch.randn(10, 64)
    >>> loss(features @ weight.T, torch.arange(8), features, weight).shape
    torch.Size([])
    """

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
        augment_in_eval: bool = True,
    ) -> None:
        super().__init__()
        name = "ExplicitAugmentationLoss"
        self.ramp = Ramp(name, strength, ramp_steps, augment_in_eval)
        self.class_weights = class_weights
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.reduction = reduction
        self._options(None).check(name)
        check_tensors(name, class_weights=(class_weights, f"{num_classes}?"))
        (self.num_samples,) = check_positive_int(name, num_samples=num_samples)
        self.estimator = estimator_of(name, num_classes, num_features, covariance)

    def _options(self, class_weights: Tensor | None) -> CrossEntropyOptions:
        ignore_index, smoothing = self.ignore_index, self.label_smoothing
        return CrossEntropyOptions(class_weights, ignore_index, smoothing, self.reduction)

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
        if self.counting:
            estimator.observe(features, labels, rows, ignore_index=self.ignore_index)
            self.ramp.advance()
        form, strength = estimator.form(), self.ramp.applied()
        noise = _logit_noise(logits, weight, form, strength, rows, Noise(self.num_samples))
        options = self._options(given(self, "class_weights", logits.device))
        loss = _mean_over_draws(logits + noise, labels, options)
        if self.training and estimator.kind == "learned":
            loss = loss + estimator.uncertainty(labels, rows=rows)
        return loss


class ExpectedLoss(NamedTuple):
    """A Monte Carlo estimate, in float64: scalars, or ``(N,)`` for ``reduction="none"``."""

    mean: Tensor
    standard_error: Tensor  # of the mean


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
    reduction: Reduction = "mean",
    generator: torch.Generator | None = None,
    draws_at_once: int = 100,
) -> ExpectedLoss:
    """Estimate the expected cross-entropy of a batch over augmented features, Eq. (6).

    What :func:`semaug.isda_loss` bounds: their difference tells how tight the bound is. The noise
    is drawn on the logits, where it has the covariance ``strength * W S_y W^T``, and in opposite
    pairs e and -e, whose mean is never below the loss without noise. So cross-entropy is at most
    the estimate, exactly, and the estimate is at most the bound, but for its error. Generators in
    equal states draw equal standard normal numbers: differences between two networks, or two
    moments of training, are estimated more exactly than each of them.

    Args:
        logits: ``(N, C)`` of the clean features.
        labels: ``(N,)`` int64 class ids.
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, symmetric positive semi-definite, or ``(C, A)`` variances;
            or an estimator.
        strength: lambda of the paper, at least 0, or ``(N,)``.
        num_samples: M, even and at least 4: M / 2 pairs.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        ignore_index: Label of samples that do not count.
        label_smoothing: Between 0 and 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        generator: Source of randomness, on the device of the weight.
        draws_at_once: Bounds the memory, N x C times this.

    Returns:
        The mean over the batch, and the standard error of the estimate; or those of each sample.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, a number is out of range, or ``reduction`` is
            unknown.

    >>> logits, labels, weight = torch.zeros(1, 2), torch.tensor([0]), torch.eye(2)
    >>> covariance, generator = torch.ones(2, 2), torch.Generator().manual_seed(0)
    >>> mean, error = expected_loss(
    ...     logits, labels, weight, covariance, strength=1.0, num_samples=1000, generator=generator
    ... )
    >>> print(f"0.693 <= {mean:.2f} <= 1.313, with a standard error of {error:.2f}")
    0.693 <= 0.92 <= 1.313, with a standard error of 0.01
    """
    name = "expected_loss"
    options = CrossEntropyOptions(class_weights, ignore_index, label_smoothing, reduction)
    check_positive_int(name, num_samples=num_samples, draws_at_once=draws_at_once)
    if num_samples < 4 or num_samples % 2:
        raise ValueError(f"{name}: expected `num_samples` to be even and >= 4, got {num_samples}")
    form, strength, rows = _checked(name, logits, labels, weight, covariance, strength, options)
    dtype = torch.float32 if logits.device.type == "mps" else torch.float64  # which it lacks
    each = options._replace(reduction="none")
    num_pairs, size = num_samples // 2, max(1, draws_at_once // 2)
    with without_autocast(logits.device):
        logits = logits.to(dtype)
        roots = _logit_roots(weight.to(dtype), form.to(dtype), rows)
        clean = each.cross_entropy(logits, labels)
        total, squares = torch.zeros_like(clean), torch.zeros_like(clean)
        for start in range(0, num_pairs, size):
            draws = Noise(min(size, num_pairs - start), generator)
            noise = draw_from_roots(draws, roots, rows.position) * _root_of(strength)
            both = torch.stack([logits + noise, logits - noise])  # (2, M, N, C)
            repeated = labels.repeat(2 * len(noise))
            losses = each.cross_entropy(both.flatten(0, 2), repeated).view(*both.shape[:3])
            above = losses.mean(dim=0) - clean
            total, squares = total + above.sum(dim=0), squares + above.square().sum(dim=0)
    variance = (squares - total.square() / num_pairs).clamp(min=0) / (num_pairs - 1) / num_pairs
    mean = clean + total / num_pairs
    if reduction == "none":
        return ExpectedLoss(mean, variance.sqrt())
    divisor = _divisor(labels, options, mean) if reduction == "mean" else 1
    return ExpectedLoss(mean.sum() / divisor, variance.sum().sqrt() / divisor)


def _logit_roots(weight: Tensor, form: Form, rows: ClassRows) -> Tensor:
    """``(R, C, d)``: matrices whose products with their transposes are ``W S_r W^T``; d <= A, C."""
    num_classes, num_features = weight.shape
    if num_classes <= num_features:
        return symmetric_root(form.gram(weight, rows.classes, weight))
    basis = torch.eye(num_features, dtype=weight.dtype, device=weight.device)
    return weight @ symmetric_root(form.gram(basis, rows.classes, basis))


def _root_of(strength: float | Tensor) -> float | Tensor:
    return strength.sqrt() if isinstance(strength, Tensor) else math.sqrt(strength)


def _divisor(labels: Tensor, options: CrossEntropyOptions, like: Tensor) -> Tensor:
    """Return what torch divides a sum of losses by to get their mean: weights of the labels."""
    kept = labels != options.ignore_index
    weights = options.class_weights
    counted = kept if weights is None else kept * weights[labels.where(kept, 0)]
    return counted.to(like.dtype).sum()


def _checked(
    function: str,
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    strength: float | Tensor,
    options: CrossEntropyOptions,
) -> tuple[Form, float | Tensor, ClassRows]:
    """Check arguments, and return covariances, strength and the classes of the labels."""
    class_weights = options.class_weights
    check_logits_and_labels(
        function, logits, labels, weight, class_weights=class_weights, dense=False
    )
    strength = checked_strength(function, strength, logits)
    options.check(function)
    form = as_form(function, weight, covariance)
    return form, strength, class_rows(labels, len(weight), options.ignore_index)


def _logit_noise(
    logits: Tensor,
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    rows: ClassRows,
    draws: Noise,
) -> Tensor:
    """``sqrt(strength) W e``, ``(M, N, C)``, in the precision of the logits, float32 at least."""
    with without_autocast(weight.device):
        weight, form = at_working_precision(weight, form)
        noise = form.draw(draws, rows.classes, rows.position)
        if isinstance(strength, Tensor):
            strength = strength.to(noise.dtype)
        noise = noise * _root_of(strength) @ weight.T
    return noise.to(torch.promote_types(logits.dtype, torch.float32))


def _mean_over_draws(logits: Tensor, labels: Tensor, options: CrossEntropyOptions) -> Tensor:
    """Cross-entropy of ``(M, N, C)`` logits, averaged over draws."""
    num_samples, repeated = len(logits), labels.repeat(len(logits))
    if options.reduction == "mean":  # every draw has the same labels, so the same weights
        return options.cross_entropy(logits.flatten(0, 1), repeated)
    losses = options._replace(reduction="none").cross_entropy(logits.flatten(0, 1), repeated)
    return reduced(losses.view(num_samples, len(labels)).mean(dim=0), options.reduction)


@losses.register("explicit")
@dataclass(frozen=True, kw_only=True)
class Explicit(FeatureAugmentation):
    """Cross-entropy of drawn augmented features, which ISDA bounds for infinitely many.

    Args:
        num_samples: How many features are drawn for each image, M in the papers.

    Raises:
        UserError: If a number is out of range.
    """

    soft_targets: ClassVar[bool] = False

    num_samples: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("num_samples", self.num_samples, self.num_samples >= 1, ">= 1")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        return ExplicitAugmentationLoss(**self.options(sizes), num_samples=self.num_samples)

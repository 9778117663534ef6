"""Implicit semantic data augmentation (ISDA).

Features of a sample are augmented by Gaussian noise with the covariance of its class,
infinitely often, at no cost: the expected cross-entropy has an upper bound in closed
form, which is cross-entropy on raised logits:

    loss = CE(z', y),   z'[n, j] = z[n, j] + strength / 2 * (w_j - w_y)^T S_y (w_j - w_y)    (7)

With label smoothing e the noise is still that of class y, and

    loss = log sum over j of exp(z'[n, j]) - sum over k of t[k] z[n, k],
    t[k] = (1 - e) [k = y] + e / C

bounds the expected smoothed cross-entropy: the targets multiply the clean logits. With
soft targets t[n, k] (mixup, CutMix, distillation) a sample is of class k with probability
t[n, k], noise included, so the loss is the mean of the bounds of all classes:

    loss = sum over k of t[n, k] (log sum over j of exp(z[n, j] + strength / 2 * Q[k, j]) - z[n, k])

What all classes have in common, t = (1 - s) r + s / C with a zero in r, is no class but
smoothing: then t above is r, and s joins e. So smoothed mixtures are those of timm's Mixup
with a smoothing of its own, or of this loss.

Dense labels y (N, H, W) mostly have a higher resolution than features, up() takes logits there, and
y_low are the labels of the features' pixels:

    exact:     CE(up(z) + strength / 2 * Q[y], y), which is Eq. (7) of interpolated features
    features:  CE(z + strength / 2 * Q[y_low], y_low)
    faithful:  CE(up(z + strength / 2 * Q[y_low]), y), as the released code has it: near borders no
               bound, for it mixes logits that are raised for different classes

Source: Proposition 1 of Wang et al., NeurIPS 2019, https://arxiv.org/abs/1909.12220, and T-PAMI
2021, https://arxiv.org/abs/2007.10538, where it is Eq. (7). Smoothed and soft targets are ours.

Literal form: tests/references/isda.py, ``isda_loss_by_loops``; with all options
tests/references/losses.py, ``isda_by_loops`` and ``dense_isda_by_loops``.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_positive_int, check_tensors
from semaug.covariance import ClassCovariance, Kind
from semaug.covariance.batch import IGNORE_INDEX, nearest_labels
from semaug.covariance.form import Form, class_variance
from semaug.covariance.quadratic_form import as_form, check_fits
from semaug.covariance.rows import ClassRows, all_classes, class_rows, is_static
from semaug.errors import check_option
from semaug.losses._arguments import (
    CrossEntropyOptions,
    Dense,
    Reduction,
    at_least_float32,
    check_logits_and_labels,
    check_no_ignored_targets,
    checked_strength,
    class_ids,
    estimator_of,
    has_target,
    reduced,
)
from semaug.losses._pixels import (
    excess_of_targets,
    mean_over_pixels,
    pixel_losses,
    pixel_weights,
    spread_cells,
)
from semaug.losses._references import product_logsumexp, used_references
from semaug.losses._strength import Ramp, Ramped, given
from semaug.registry import Sizes, losses

__all__ = ["ISDA", "FeatureAugmentation", "ISDALoss", "isda_loss"]

# N samples, C classes, A features, K reference classes, P pairs of a sample and a class,
# H x W pixels of labels, h x w pixels of logits and features.


def isda_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    dense: Dense = "exact",
    align_corners: bool = False,
) -> Tensor:
    """Cross-entropy on logits raised by the variance of augmented features, Eq. (7).

    At ``strength=0`` it is :func:`torch.nn.functional.cross_entropy`.

    Args:
        logits: ``(N, C)`` of the clean features, or dense, ``(N, C, h, w)``.
        labels: ``(N,)`` int64 class ids; dense, ``(N, H, W)`` of any resolution.
            Or soft targets of the shape of the logits, each a distribution over classes. A row of
            zeros contributes 0, as in torch, and also where torch would smooth it; a row with NaN
            makes the loss NaN, as in torch.
        weight: ``(C, A)`` of the linear classifier that made the logits.
        covariance: ``(C, A, A)``, a symmetric positive semi-definite matrix for each class, or
            ``(C, A)`` variances, treated as constant; or an estimator.
        strength: lambda of the paper, at least 0; 0 gives plain cross-entropy. A tensor
            is not checked; it may be ``(N,)``, one for each sample, unless targets are soft.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        ignore_index: Label of samples that do not count. Not for soft targets, as in torch.
        label_smoothing: Between 0 and 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, as in torch.
        dense: Where dense labels count: ``"exact"``, at their own resolution; ``"features"``, at
            that of the logits; ``"faithful"``, at their own, with logits that were raised before
            they are interpolated, by labels that lie up to a pixel of them away, as in the
            published segmentation code. A mean over no pixels at all is 0, not NaN as in torch.
        align_corners: Of the bilinear interpolation of dense logits, as in torch.

    Returns:
        A scalar, or one loss for each label for ``reduction="none"``, at least float32.
        Differentiable in ``logits`` and ``weight``, twice as well, and by ``torch.func.grad``;
        not by ``vmap`` or forward mode.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, a number is out of range or
            ``reduction`` unknown.

    >>> logits, weight = torch.zeros(1, 2), torch.eye(2)
    >>> isda_loss(logits, torch.tensor([0]), weight, torch.ones(2, 2), strength=1.0)
    tensor(1.3133)
    """
    name = "isda_loss"
    options = CrossEntropyOptions(
        class_weights, ignore_index, label_smoothing, reduction, dense, align_corners
    )
    check_logits_and_labels(name, logits, labels, weight, class_weights=class_weights, soft=True)
    soft = labels.is_floating_point()
    strength = checked_strength(name, strength, None if soft else logits)
    options.check(name)
    _check_targets(name, labels, options)
    form = as_form(name, weight, covariance)
    if soft:
        return _soft_loss(logits, labels, weight, form, strength, options)
    return _hard_loss(logits, labels, weight, form, strength, options)


class ISDALoss(Ramped):
    """:func:`isda_loss` that keeps the covariances and ramps the strength.

    In training mode a call first updates the statistics with the batch, then computes
    the loss with them. In evaluation mode it computes the loss and changes nothing; within
    ``with isda.frozen():`` it computes that of training and changes nothing. ``isda.reset()``
    forgets the statistics and begins the ramp again.
    Under ``torch.distributed`` all ranks must call it: the statistics synchronize themselves.
    It needs no ``DistributedDataParallel``, but may be part of a module that is wrapped.

    A sample with soft targets counts as one of its most probable class in the statistics. One
    without a target, a row of zeros or one with NaN, is of no class and does not count there.

    Args:
        num_classes: C.
        num_features: A, the length of the features before the classifier.
        strength: lambda_0 of the paper, at least 0, reached at the end of the ramp. May be
            set at any time. The papers choose it from 0.1, 0.25, 0.5, 0.75 and 1 for full
            covariances, and from 1, 2.5, 5, 7.5 and 10 for diagonal ones.
        ramp_steps: Training calls T over which the strength grows in proportion to t / T, as
            in the paper; None keeps it constant. Counted by ``step``: calls of this process,
            also those that only accumulate gradients. May be set later.
        covariance: A kind of :class:`ClassCovariance`, or one to share or with options.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        ignore_index: Label of samples that do not count, in loss and statistics. Not for soft
            targets.
        label_smoothing: Between 0 and 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. The uncertainty of ``learned`` is added to
            what is returned: once to a scalar, and to every element of ``"none"``.
        dense: See :func:`isda_loss`. Statistics always have the resolution of the features.
        align_corners: See :func:`isda_loss`.
        cells_per_class: Pixels of dense features that count in the statistics for each class of
            each image at most, evenly spread; None are all. Those of an image are alike.
        augment_in_eval: Whether evaluation mode augments too. False computes plain cross-entropy
            there, which does not grow with the ramp: for early stopping, or beside other losses.

    Attributes:
        estimator: The :class:`ClassCovariance`.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a number is out of range, a name unknown, or a shared estimator has
            other sizes.

    >>> isda = ISDALoss(num_classes=10, num_features=64, strength=0.5, ramp_steps=1000)
    >>> logits, labels = torch.randn(8, 10), torch.arange(8)
    >>> features, weight = torch.randn(8, 64), torch.randn(10, 64)
    >>> loss = isda(logits, labels, features, weight)
    >>> isda.step, isda.current_strength()
    (tensor(1), tensor(0.0005))
    """

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        strength: float,
        ramp_steps: int | None = None,
        covariance: Kind | ClassCovariance = "full",
        class_weights: Tensor | None = None,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
        dense: Dense = "exact",
        align_corners: bool = False,
        cells_per_class: int | None = None,
        augment_in_eval: bool = True,
    ) -> None:
        super().__init__()
        self.ramp = Ramp("ISDALoss", strength, ramp_steps, augment_in_eval)
        self.class_weights = class_weights
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.reduction, self.dense, self.align_corners = reduction, dense, align_corners
        if cells_per_class is not None:
            (cells_per_class,) = check_positive_int("ISDALoss", cells_per_class=cells_per_class)
        self.cells_per_class = cells_per_class
        self._options(None).check("ISDALoss")
        check_tensors("ISDALoss", class_weights=(class_weights, f"{num_classes}?"))
        self.estimator = estimator_of("ISDALoss", num_classes, num_features, covariance)

    def _options(self, class_weights: Tensor | None) -> CrossEntropyOptions:
        ignore_index, smoothing = self.ignore_index, self.label_smoothing
        dense = self.dense, self.align_corners
        return CrossEntropyOptions(class_weights, ignore_index, smoothing, self.reduction, *dense)

    def forward(self, logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor) -> Tensor:
        """Update the statistics (in training mode) and compute the loss.

        Args:
            logits: ``(N, C)``, or ``(N, C, h, w)``.
            labels: ``(N,)`` int64 class ids, ``(N, H, W)`` if dense, or soft targets of the
                shape of the logits.
            features: ``(N, A)`` or ``(N, A, h, w)`` that the classifier turned into the logits;
                a model may have interpolated dense logits since.
            weight: ``(C, A)`` of the classifier.

        Returns:
            A scalar, or one loss for each label for ``reduction="none"``.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree, or logits were interpolated, which all but
                ``dense="exact"`` do themselves.
        """
        estimator = self.estimator
        check_logits_and_labels("ISDALoss", logits, labels, weight, features, soft=True)
        options = self._options(given(self, "class_weights", logits.device))
        _check_targets("ISDALoss", labels, options)
        check_fits("ISDALoss", weight, estimator)
        soft = labels.is_floating_point()
        ignore_index = self.ignore_index
        if options.dense != "exact" and features.shape[2:] != logits.shape[2:]:
            raise ValueError(
                f"ISDALoss: expected `logits` of the resolution of the features for "
                f"dense={options.dense!r}, got {tuple(logits.shape)} and {tuple(features.shape)}"
            )
        cells = _labels_at(class_ids(labels) if soft else labels, features.shape[2:], options)
        if self.cells_per_class is not None and cells.ndim == 3:
            cells = spread_cells(cells, self.cells_per_class, estimator.num_classes, ignore_index)
        ids = cells.flatten()
        rows = class_rows(ids, estimator.num_classes, ignore_index)
        if self.counting:
            estimator.observe(features, ids, rows, ignore_index=ignore_index)
            self.ramp.advance()
        form, strength = estimator.form(), self.ramp.applied()
        if soft:
            loss = _soft_loss(logits, labels, weight, form, strength, options)
        else:
            known = rows if logits.ndim == 2 else None
            loss = _hard_loss(logits, labels, weight, form, strength, options, known)
        if self.training and estimator.kind == "learned":
            loss = loss + estimator.uncertainty(ids, rows=rows)
        return loss


def _check_targets(function: str, labels: Tensor, options: CrossEntropyOptions) -> None:
    """Check that options have an effect on targets of this sort.

    Raises:
        ValueError: If one has none.
    """
    check_no_ignored_targets(function, labels, options.ignore_index)
    soft = labels.is_floating_point()
    if options.dense != "exact" and (labels.ndim != 3 or soft):
        raise ValueError(
            f"{function}: expected `labels` of shape (N, H, W) for dense={options.dense!r}, "
            f"got {tuple(labels.shape)}"
        )


def _labels_at(labels: Tensor, size: torch.Size, options: CrossEntropyOptions) -> Tensor:
    """Take labels at the resolution of features."""
    align_corners = None if options.dense == "faithful" else options.align_corners
    return nearest_labels(labels, size, align_corners)


def _hard_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    options: CrossEntropyOptions,
    rows: ClassRows | None = None,
) -> Tensor:
    """:func:`isda_loss` of class ids, whose ``rows`` may be known."""
    at = labels
    if options.dense != "exact":
        at = _labels_at(labels, logits.shape[2:], options)
    rows = rows or class_rows(at.flatten(), len(weight), options.ignore_index)
    raises = class_variance(weight, form, rows)
    if logits.ndim == 4 and options.dense != "faithful":
        losses = pixel_losses(logits, at, options, rows=rows, raises=raises, strength=strength)
        return mean_over_pixels(losses, at, options)
    raised = logits + strength / 2 * rows.per_sample(raises, logits)  # Eq. (7)
    if logits.ndim == 4:
        losses = pixel_losses(raised, labels, options, clean=logits)
        return mean_over_pixels(losses, labels, options)
    loss = options.cross_entropy(raised, labels)
    if options.label_smoothing == 0:
        return loss
    return loss + _targets_on_clean_logits(raised, logits, labels, options)


def _targets_on_clean_logits(
    raised: Tensor, logits: Tensor, labels: Tensor, options: CrossEntropyOptions
) -> Tensor:
    """Return what a loss lacks in which torch multiplied smoothed targets with raised logits."""
    losses = excess_of_targets(raised, logits, labels, options)
    if options.reduction == "mean":
        return losses.sum() / pixel_weights(labels, options, losses.dtype).sum()
    return reduced(losses, options.reduction)


def _soft_loss(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    options: CrossEntropyOptions,
) -> Tensor:
    """:func:`isda_loss` of soft targets."""
    class_weights = options.class_weights
    shape = logits.shape[:1] + logits.shape[2:]
    if logits.ndim == 4:
        logits, targets = (x.movedim(1, 3).flatten(0, 2) for x in (logits, targets))
    logits = at_least_float32(logits)
    targets, even_part = _without_even_part(targets.to(logits.dtype))
    smoothing = even_part + options.label_smoothing * (1 - even_part)  # (N, 1)
    ones = logits.new_ones(logits.shape[1])
    scale = ones if class_weights is None else class_weights.to(logits.dtype)
    share = targets * ((1 - smoothing) * scale + smoothing * scale.mean())
    losses = _sum_of_bounds(logits, share, weight, form, strength)
    even = torch.where(has_target(targets), scale / len(scale), 0.0)
    moved = smoothing * (targets * scale.mean() - even)
    losses = losses + (logits * moved).sum(dim=1)
    return reduced(losses.view(shape), options.reduction)


def _without_even_part(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Part targets into ``(1 - s) r + s / C``: r is 0 for the least probable class, s is (N, 1).

    What all classes have in common is smoothing, such as that of timm's Mixup, and r of Mixup
    has two classes. Even targets stay whole, for then there is no r.
    """
    least = targets.detach().amin(dim=1, keepdim=True)
    part = least * targets.shape[1]
    least, part = (torch.where((part > 0) & (part < EVEN), x, 0.0) for x in (least, part))
    return (targets - least) / (1 - part), part  # exact zeros, where classes have no more


EVEN = 0.99  # a share of an even part from which on rounding would decide about the rest


def _sum_of_bounds(
    logits: Tensor, share: Tensor, weight: Tensor, form: Form, strength: float | Tensor
) -> Tensor:
    """``sum over k of share[n, k] * bound of class k``, (N,)."""
    references = used_references(share)
    if references is None or len(references) == len(weight):
        references = torch.arange(len(weight), device=weight.device)
        rows = all_classes(len(weight), references)
    else:
        position = torch.zeros_like(references)
        rows = ClassRows(references, position, complete=False)
        share = share.index_select(1, references)
    raises = (strength / 2 * class_variance(weight, form, rows)).to(logits.dtype)  # (K, C)
    own = logits if rows.complete else logits.index_select(1, references)
    looking = not is_static(logits.device) and not share.requires_grad
    if looking and 4 * len(pairs := share.nonzero()) < share.numel():
        sample, reference = pairs.unbind(dim=1)
        raised = logits.index_select(0, sample) + raises.index_select(0, reference)  # (P, C)
        bounds = raised.logsumexp(dim=1) - own[sample, reference]
        return logits.new_zeros(len(logits)).index_add(0, sample, bounds * share[sample, reference])
    bounds = product_logsumexp(logits, raises) - own
    return (bounds * share).sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class FeatureAugmentation:
    """Options of losses that augment features.

    Args:
        strength: lambda_0 in the papers.
        ramp: How the strength grows: ``"linear"`` over all steps, or ``"constant"``.
        covariance: Kind of the covariances, see :class:`semaug.ClassCovariance`.
        memory: Which samples the statistics remember: None, all; a number, see
            :class:`semaug.ClassCovariance`; ``"epoch"``, those of the epoch before.
        shrinkage: After how many samples a class weighs its own covariance as much as the mean
            of all classes; None is its own alone.
        uncertainty_weight: Of learned covariances, weight of the feature uncertainty loss, without
            which they vanish; None is 1.
        uncertainty_share: Of learned covariances, share of the standard deviation of the features
            of a class up to which they are to rise; None is a standard deviation of 1.

    Raises:
        UserError: If a number is out of range.
    """

    takes_features: ClassVar[bool] = True

    strength: float
    ramp: Literal["linear", "constant"] = "linear"
    covariance: Literal["full", "diagonal", "shared", "identity", "low_rank", "learned"] = "full"
    memory: float | Literal["epoch"] | None = None
    shrinkage: float | None = None
    uncertainty_weight: float | None = None
    uncertainty_share: float | None = None

    def __post_init__(self) -> None:
        check_option("strength", self.strength, 0 <= self.strength < float("inf"), ">= 0")
        shrinks = self.shrinkage is None or 0 <= self.shrinkage < float("inf")
        check_option("shrinkage", self.shrinkage, shrinks, ">= 0 or none")

    def options(self, sizes: Sizes) -> dict[str, Any]:
        """Return what the module is built with.

        Raises:
            ValueError: If a number is out of range, or the kind has no such option.
        """
        assert sizes.num_features is not None
        num_classes, num_features = sizes.num_classes, sizes.num_features
        return {
            "num_classes": num_classes,
            "num_features": num_features,
            "strength": self.strength,
            "ramp_steps": sizes.num_steps if self.ramp == "linear" else None,
            "covariance": ClassCovariance(
                num_classes,
                num_features,
                self.covariance,
                memory=self.memory,
                shrinkage=self.shrinkage,
                entropy_weight=self.uncertainty_weight,
                entropy_share=self.uncertainty_share,
            ),
        }


@losses.register("isda")
@dataclass(frozen=True, kw_only=True)
class ISDA(FeatureAugmentation):
    """Cross-entropy after infinite augmentation of the features.

    Args:
        label_smoothing: Share of each target that is spread evenly over all classes.
        dense: Where a label for each pixel counts: ``exact``, at its own resolution; ``features``,
            at that of the features; ``faithful``, as the released code has it.
        cells_per_class: Pixels of the features that count in the statistics for each class of each
            image at most; None are all.

    Raises:
        UserError: If a number is out of range.
    """

    label_smoothing: float = 0.0
    dense: Literal["exact", "features", "faithful"] = "exact"
    cells_per_class: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = 0 <= self.label_smoothing <= 1
        check_option("label_smoothing", self.label_smoothing, inside, "from 0 to 1")
        cells = self.cells_per_class
        check_option("cells_per_class", cells, cells is None or cells >= 1, ">= 1, or none")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        own = {
            name: getattr(self, name) for name in ("label_smoothing", "dense", "cells_per_class")
        }
        return ISDALoss(**own, **self.options(sizes))

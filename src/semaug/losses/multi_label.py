"""ISDA for images with several labels at once.

Each class has a logit of its own, and binary cross-entropy. Noise moves logit j by a normal
variable of variance w_j^T S w_j, so by the moment-generating function, for a target t,

    E[loss_j] <= t softplus(-(z_j - r_j)) + (1 - t) softplus(z_j + r_j),
    r[n, j] = strength / 2 * w_j^T S_n w_j

for t in {0, 1} binary cross-entropy of logits moved toward the mistake by r. The
covariance S_n of a sample is the mean of those of its labels, weighted by its targets; a
sample without any label is not augmented.

Source: the argument of Proposition 1, Eqs. (8) to (10), of Wang et al., T-PAMI 2021,
https://arxiv.org/abs/2007.10538, applied to each logit; no paper has this loss.

Literal form: tests/references/losses.py, ``multi_label_by_loops``.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_one_of, check_tensors
from semaug.covariance import ClassCovariance, Kind
from semaug.covariance.batch import IGNORE_INDEX
from semaug.covariance.form import Form, at_working_precision
from semaug.covariance.quadratic_form import as_form, check_fits
from semaug.covariance.rows import is_static
from semaug.losses._arguments import (
    REDUCTIONS,
    Reduction,
    at_least_float32,
    checked_strength,
    estimator_of,
    reduced,
)
from semaug.losses._references import used_references
from semaug.losses._strength import Ramp, Ramped, given

__all__ = ["MultiLabelISDALoss", "multi_label_isda_loss"]

# N samples, C classes, A features, K classes that some sample has.


class Options(NamedTuple):
    """Options of binary cross-entropy, with the meaning that they have in torch."""

    class_weights: Tensor | None  # (C,), `weight` in torch
    pos_weight: Tensor | None  # (C,)
    reduction: Reduction


def multi_label_isda_loss(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
    class_weights: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Bound on the expected binary cross-entropy over augmented features.

    At ``strength=0`` it is :func:`torch.nn.functional.binary_cross_entropy_with_logits`.

    Args:
        logits: ``(N, C)`` of the clean features.
        targets: ``(N, C)`` floating-point, between 0 and 1.
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, symmetric positive semi-definite, or ``(C, A)`` variances,
            treated as constant; or an estimator.
        strength: lambda of the paper, at least 0, or ``(N,)``; a tensor is not checked.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        pos_weight: ``(C,)``, of positive targets, as in torch's loss.
        reduction: ``"mean"`` over all N x C losses, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``(N, C)`` for ``reduction="none"``, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, ``strength`` is negative or
            ``reduction`` unknown.

    >>> logits, weight, targets = torch.zeros(1, 2), torch.eye(2), torch.tensor([[1.0, 0.0]])
    >>> multi_label_isda_loss(logits, targets, weight, torch.ones(2, 2), strength=2.0)
    tensor(1.3133)
    """
    name, options = "multi_label_isda_loss", Options(class_weights, pos_weight, reduction)
    _check(name, logits, targets, weight, options)
    check_one_of(name, "reduction", reduction, REDUCTIONS)
    strength = checked_strength(name, strength, logits)
    form = as_form(name, weight, covariance)
    return _loss(logits, targets, weight, form, strength, options)


class MultiLabelISDALoss(Ramped):
    """:func:`multi_label_isda_loss` that keeps the covariances and ramps the strength.

    Otherwise as :class:`semaug.ISDALoss`. In the statistics, a sample counts for each of its
    labels, those with a target above one half. On an accelerator, and while compiling,
    that takes memory for N x C x A numbers, and ``max_batch_size`` counts all N x C of them.

    Args:
        num_classes: C.
        num_features: A.
        strength: lambda_0 of the paper, at least 0.
        ramp_steps: Training calls over which the strength grows; None keeps it constant.
        covariance: A kind of :class:`ClassCovariance`, or one to share or with options.
        class_weights: ``(C,)``, as ``weight`` of torch's loss.
        pos_weight: ``(C,)``, of positive targets.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. The uncertainty of ``learned`` is added to
            what is returned: once to a scalar, and to every element of ``"none"``.
        augment_in_eval: As in :class:`semaug.ISDALoss`; of binary cross-entropy.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a number is out of range, a name unknown, or a shared estimator has
            other sizes.

    >>> isda = MultiLabelISDALoss(num_classes=3, num_features=8, strength=0.5)
    >>> targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> isda(torch.randn(2, 3), targets, torch.randn(2, 8), torch.randn(3, 8)).shape
    torch.Size([])
    >>> isda.estimator.count
    tensor([1, 1, 1])
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
        pos_weight: Tensor | None = None,
        reduction: Reduction = "mean",
        augment_in_eval: bool = True,
    ) -> None:
        super().__init__()
        name = "MultiLabelISDALoss"
        self.ramp = Ramp(name, strength, ramp_steps, augment_in_eval)
        check_one_of(name, "reduction", reduction, REDUCTIONS)
        size = f"{num_classes}?"
        check_tensors(name, class_weights=(class_weights, size), pos_weight=(pos_weight, size))
        self.estimator = estimator_of(name, num_classes, num_features, covariance)
        self.class_weights, self.pos_weight, self.reduction = class_weights, pos_weight, reduction

    def forward(self, logits: Tensor, targets: Tensor, features: Tensor, weight: Tensor) -> Tensor:
        """Update the statistics (in training mode) and compute the loss.

        Args:
            logits: ``(N, C)``.
            targets: ``(N, C)`` floating-point, between 0 and 1.
            features: ``(N, A)`` that the classifier turned into the logits.
            weight: ``(C, A)`` of the classifier.

        Returns:
            A scalar, or ``(N, C)`` for ``reduction="none"``.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        name, estimator = "MultiLabelISDALoss", self.estimator
        class_weights = given(self, "class_weights", logits.device)
        options = Options(class_weights, given(self, "pos_weight", logits.device), self.reduction)
        _check(name, logits, targets, weight, options, features)
        check_fits(name, weight, estimator)
        if self.training:
            samples, labels = _one_label_each(features, targets)
        if self.counting:
            estimator.observe(samples, labels)
            self.ramp.advance()
        form, strength = estimator.form(), self.ramp.applied()
        loss = _loss(logits, targets, weight, form, strength, options)
        if self.training and estimator.kind == "learned":
            loss = loss + estimator.uncertainty(labels)
        return loss


def _check(
    function: str,
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    options: Options,
    features: Tensor | None = None,
) -> None:
    check_tensors(
        function,
        logits=(logits, "N C"),
        targets=(targets, "N C"),
        weight=(weight, "C A"),
        features=(features, "N A?"),
        class_weights=(options.class_weights, "C?"),
        pos_weight=(options.pos_weight, "C?"),
    )


def _loss(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    options: Options,
) -> Tensor:
    """Binary cross-entropy of logits moved toward the mistake by half their variance."""
    logits = at_least_float32(logits)
    targets = targets.to(logits.dtype)
    raises = strength / 2 * _variance(targets, weight, form).to(logits.dtype)  # r
    positive = targets * F.softplus(raises - logits)
    if options.pos_weight is not None:
        positive = positive * options.pos_weight.to(logits.dtype)
    losses = positive + (1 - targets) * F.softplus(logits + raises)
    if options.class_weights is not None:
        losses = losses * options.class_weights.to(logits.dtype)
    return reduced(losses, options.reduction)


def _variance(targets: Tensor, weight: Tensor, form: Form) -> Tensor:
    """``w_j^T S_n w_j``, ``(N, C)``, with S_n the mean covariance of the labels of a sample."""
    with without_autocast(weight.device):
        weight, form = at_working_precision(weight, form)
        share = targets.to(weight.dtype)
        share = share / share.sum(dim=1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
        classes = used_references(share)
        if classes is None:
            classes = torch.arange(len(weight), device=weight.device)
        else:
            share = share.index_select(1, classes)
        return share @ form.variance(weight, classes)


def _one_label_each(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each sample for each of its labels."""
    positive = targets > 0.5
    if not is_static(features.device):
        sample, label = positive.nonzero().unbind(dim=1)
        return features.index_select(0, sample), label
    num_classes = targets.shape[1]
    label = torch.arange(num_classes, device=targets.device).expand(len(targets), -1)
    label = torch.where(positive, label, IGNORE_INDEX)
    return features.repeat_interleave(num_classes, dim=0), label.flatten()

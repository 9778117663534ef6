"""Implicit semantic data augmentation (ISDA).

Features of a sample are augmented by Gaussian noise with the covariance of its class,
infinitely often, at no cost: the expected cross-entropy has an upper bound in closed
form, which is cross-entropy on raised logits:

    loss = CE(z', y),   z'[n, j] = z[n, j] + strength / 2 * (w_j - w_y)^T S_y (w_j - w_y)

Source: Wang et al., NeurIPS 2019, https://arxiv.org/abs/1909.12220, Algorithm 1;
Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, Proposition 1.
"""

from collections.abc import Callable
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._checks import check_at_least, check_one_of, check_positive_int
from semaug._classes import class_rows
from semaug._compile import settled
from semaug.covariance import ClassCovariance, Kind
from semaug.losses.augment import check_logits_and_labels, raise_logits
from semaug.quadratic_form import check_weight_and_covariance

__all__ = ["ISDALoss", "isda_loss"]

# N samples, C classes, A features.

Reduction = Literal["none", "mean", "sum"]
REDUCTIONS: tuple[Reduction, ...] = ("none", "mean", "sum")


def isda_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy on logits raised by the variance of augmented features.

    Args:
        logits: ``(N, C)`` of the clean features.
        labels: ``(N,)`` int64 class ids.
        weight: ``(C, A)`` of the linear classifier that made the logits.
        covariance: ``(C, A, A)``, one matrix for each class, or ``(C, A)`` variances, or
            an estimator; treated as constant.
        strength: lambda of the paper, at least 0; 0 gives plain cross-entropy. A tensor
            is not checked.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``(N,)`` for ``reduction="none"``, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, ``strength`` is negative or
            ``reduction`` unknown.

    >>> logits, weight = torch.zeros(1, 2), torch.eye(2)
    >>> isda_loss(logits, torch.tensor([0]), weight, torch.ones(2, 2), strength=1.0)
    tensor(1.3133)
    """
    check_logits_and_labels("isda_loss", logits, labels, weight)
    check_at_least("isda_loss", "strength", strength, 0)
    check_one_of("isda_loss", "reduction", reduction, REDUCTIONS)
    if isinstance(covariance, ClassCovariance):
        covariance = covariance.covariance
    check_weight_and_covariance("isda_loss", weight, covariance)
    raised = raise_logits(logits, labels, weight, covariance, strength)
    return F.cross_entropy(raised, labels, reduction=reduction)


class ISDALoss(nn.Module):
    """:func:`isda_loss` that keeps the covariances and ramps the strength.

    In training mode a call first updates the statistics with the batch, then computes
    the loss with them. In evaluation mode it computes the loss and changes nothing.
    Under ``torch.distributed`` all ranks must call it, outside of
    ``DistributedDataParallel``: the statistics synchronize themselves.

    Args:
        num_classes: C.
        num_features: A, the length of the features before the classifier.
        strength: lambda_0 of the paper, at least 0, reached at the end of the ramp. May be
            set at any time. The papers choose it from 0.1, 0.25, 0.5, 0.75 and 1 for full
            covariances, and from 1, 2.5, 5, 7.5 and 10 for diagonal ones.
        ramp_steps: Training calls T over which the strength grows in proportion to t / T, as
            in the paper; None keeps it constant. Counted by the buffer ``step``.
        covariance: ``"full"``, ``"diagonal"``, or a :class:`ClassCovariance` to share.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Attributes:
        estimator: The :class:`ClassCovariance`.
        step: int64 scalar, training calls so far.

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

    step: Tensor
    _strength_tensor: Tensor

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        strength: float,
        ramp_steps: int | None = None,
        covariance: Kind | ClassCovariance = "full",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        if ramp_steps is not None:
            check_positive_int("ISDALoss", ramp_steps=ramp_steps)
        check_one_of("ISDALoss", "reduction", reduction, REDUCTIONS)
        if not isinstance(covariance, ClassCovariance):
            covariance = ClassCovariance(num_classes, num_features, covariance)
        shared = (covariance.num_classes, covariance.num_features)
        if shared != (num_classes, num_features):
            raise ValueError(
                "ISDALoss: expected `covariance` with (num_classes, num_features) = "
                f"{(num_classes, num_features)}, got {shared}"
            )
        self.estimator = covariance
        self.ramp_steps = ramp_steps
        self.reduction = reduction
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        # Computed with as a tensor, so that a new value reaches compiled code and CUDA graphs;
        # not in the state, because it is an argument: a checkpoint must not bring back an old one.
        self.register_buffer("_strength_tensor", torch.zeros(()), persistent=False)
        self.strength = strength

    @property
    def strength(self) -> float:
        """Strength at the end of the ramp."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        check_at_least("ISDALoss", "strength", value, 0)
        self._strength = float(value)
        self._strength_tensor.fill_(value)

    def current_strength(self) -> Tensor:
        """Strength of the latest training call, a scalar tensor."""
        if self.ramp_steps is None:
            return self._strength_tensor
        return settled(self._strength_tensor * (self.step / self.ramp_steps).clamp(max=1))

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
        estimator = self.estimator
        check_logits_and_labels("ISDALoss", logits, labels, weight, features=(features, "N A"))
        check_weight_and_covariance("ISDALoss", weight, estimator.covariance)
        rows = class_rows(labels, estimator.num_classes)
        if self.training:
            estimator._update(features, labels, rows)
            self.step.add_(1)
        strength = self.current_strength()
        raised = raise_logits(logits, labels, weight, estimator.covariance, strength, rows)
        return F.cross_entropy(raised, labels, reduction=self.reduction)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        dtype = torch.promote_types(self._strength_tensor.dtype, torch.float32)
        self._strength_tensor = torch.full_like(
            self._strength_tensor, self._strength, dtype=dtype
        )  # exact again after a cast
        return self

    def extra_repr(self) -> str:  # noqa: D102
        return f"strength={self.strength:g}, ramp_steps={self.ramp_steps}"

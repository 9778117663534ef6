"""Focal loss: well classified samples count less.

    loss = -alpha (1 - p_y)^gamma log p_y,   p = softmax(z)

At gamma = 0 and alpha = 1 it is cross-entropy. A scalar alpha multiplies the loss of every sample,
so with plain SGD it acts as a smaller learning rate beside the same weight decay. The source weighs
positive and negative boxes of a binary loss by alpha and 1 - alpha; in the softmax form an alpha
for each class takes that place.

Source: Eq. (5) of Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002, with a softmax in place
of the sigmoid.

Literal form: tests/references/robust.py, ``focal_by_loops``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_one_of, check_tensors
from semaug.covariance.batch import IGNORE_INDEX
from semaug.errors import check_option
from semaug.losses._arguments import (
    REDUCTIONS,
    Reduction,
    check_labeled,
    check_no_ignored_targets,
)
from semaug.losses._log_probs import losses_of_log_probs
from semaug.losses._strength import given
from semaug.registry import Sizes, losses

__all__ = ["Focal", "FocalLoss", "focal_loss"]

# N samples, C classes, h x w pixels.


def focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | Tensor = 1.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of each sample times ``alpha (1 - p)^gamma``.

    Args:
        logits: ``(N, C)``, or dense, ``(N, C, h, w)``.
        labels: ``(N,)`` int64 class ids; dense, ``(N, h, w)``. Or soft targets of the shape of the
            logits: then it is the mean over classes of their losses, each with its share.
        gamma: At least 0; 0 weighs all samples alike.
        alpha: Factor on the loss, a number of at least 0 or ``(C,)``, one for each class.
        ignore_index: Label of samples that do not count. Not for soft targets.
        reduction: ``"mean"`` over the samples that count, whatever their alpha; ``"sum"`` or
            ``"none"``.

    Returns:
        A scalar, or one loss for each label for ``reduction="none"``, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, a number is out of range or ``reduction``
            unknown.

    >>> focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=1.0)  # half of log(2)
    tensor(0.3466)
    """
    name = "focal_loss"
    _check_options(name, gamma, alpha, reduction)
    class_alpha = alpha if isinstance(alpha, Tensor) else None
    check_labeled(name, logits, labels, soft=True, same_size=True, alpha=(class_alpha, "C?"))
    check_no_ignored_targets(name, labels, ignore_index)

    def focal(log_probs: Tensor) -> Tensor:
        wrong = -torch.expm1(log_probs)  # 1 - p
        # Where p is 1, a power below 1 has an infinite slope.
        weight = wrong.clamp(min=torch.finfo(wrong.dtype).tiny) ** gamma
        return -weight * log_probs

    value = losses_of_log_probs(
        logits,
        labels,
        focal,
        class_factors=class_alpha,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return value if class_alpha is not None else alpha * value


class FocalLoss(nn.Module):
    """:func:`focal_loss` with its options.

    Args:
        gamma: At least 0.
        alpha: A number of at least 0, or ``(C,)``, one for each class.
        ignore_index: Label of samples that do not count. Not for soft targets.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range or ``reduction`` unknown.

    >>> criterion = FocalLoss(gamma=2.0)
    >>> criterion(torch.randn(8, 10, requires_grad=True), torch.arange(8)).backward()
    """

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: float | Tensor = 1.0,
        ignore_index: int = IGNORE_INDEX,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_options("FocalLoss", gamma, alpha, reduction)
        if isinstance(alpha, Tensor):
            check_tensors("FocalLoss", alpha=(alpha, "C"))
        self.gamma, self.alpha = gamma, alpha
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: ``(N, C)``, or ``(N, C, h, w)``.
            labels: ``(N,)`` int64 class ids, ``(N, h, w)`` if dense, or soft targets of the shape
                of the logits.

        Returns:
            A scalar, or one loss for each label for ``reduction="none"``.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        alpha = self.alpha
        if isinstance(alpha, Tensor):
            alpha = given(self, "alpha", logits.device)  # type: ignore[assignment]
        return focal_loss(
            logits,
            labels,
            gamma=self.gamma,
            alpha=alpha,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Name the options."""
        return f"gamma={self.gamma:g}, alpha={self.alpha}"


def _check_options(
    function: str, gamma: float, alpha: float | Tensor, reduction: Reduction
) -> None:
    check_at_least(function, "gamma", gamma, 0)
    check_at_least(function, "alpha", alpha, 0)
    check_one_of(function, "reduction", reduction, REDUCTIONS)


@losses.register("focal")
@dataclass(frozen=True, kw_only=True)
class Focal:
    """Focal loss: samples that are classified well count less.

    Args:
        gamma: How much less; 0 weighs all alike.
        alpha: Factor on the loss.

    Raises:
        UserError: If a number is out of range.
    """

    gamma: float = 1.0  # both of Appendix C of https://arxiv.org/abs/2007.10538
    alpha: float = 0.5

    def __post_init__(self) -> None:
        for name in ("gamma", "alpha"):
            value = getattr(self, name)
            check_option(name, value, 0 <= value < float("inf"), ">= 0")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        return FocalLoss(gamma=self.gamma, alpha=self.alpha)

"""Lq loss, the generalized cross-entropy: between cross-entropy and mean absolute error.

    loss = (1 - p_y^q) / q

At q -> 0 it is cross-entropy, at q = 1 half of the mean absolute error. Its gradient is that of
cross-entropy times p_y^q, so labels that the network finds unlikely, wrong ones among them, count
less. At first p_y is about 1 / C, and the gradient C^-q of that of cross-entropy.

Truncated at k, the loss of samples with p_y <= k is the constant (1 - k^q) / q, so they have no
gradient. All would be so at first, which is why truncation begins after some steps. The source
chooses samples less often: every ten epochs, by predictions of the best network so far.

Source: Eqs. (6) and (9) of Zhang and Sabuncu, NeurIPS 2018, https://arxiv.org/abs/1805.07836

Literal form: tests/references/robust.py, ``lq_by_loops``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_int, check_one_of
from semaug._torch.compile import settled
from semaug.covariance.batch import IGNORE_INDEX
from semaug.errors import check_option
from semaug.losses._arguments import (
    REDUCTIONS,
    Reduction,
    check_labeled,
    check_no_ignored_targets,
)
from semaug.losses._log_probs import losses_of_log_probs
from semaug.losses._strength import Counted, Steps
from semaug.registry import Sizes, losses

__all__ = ["Lq", "LqLoss", "lq_loss"]

# N samples, C classes, h x w pixels.


def lq_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    q: float = 0.7,
    truncation: float | Tensor = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute ``(1 - p^q) / q``, of probabilities above ``truncation`` only.

    Args:
        logits: ``(N, C)``, or dense, ``(N, C, h, w)``.
        labels: ``(N,)`` int64 class ids; dense, ``(N, h, w)``. Or soft targets of the shape of the
            logits: then it is the mean over classes of their losses, each with its share.
        q: Between 0, cross-entropy, and 1.
        truncation: k, at least 0 and below 1; 0 is none. A scalar tensor is not checked.
        ignore_index: Label of samples that do not count. Not for soft targets.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or one loss for each label for ``reduction="none"``, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, a number is out of range or ``reduction``
            unknown.

    >>> lq_loss(torch.zeros(1, 2), torch.tensor([0]), q=1.0)
    tensor(0.5000)
    """
    name = "lq_loss"
    _check_options(name, q, truncation, reduction)
    check_labeled(name, logits, labels, soft=True, same_size=True)
    check_no_ignored_targets(name, labels, ignore_index)
    least = torch.as_tensor(truncation, device=logits.device).log()

    def lq(log_probs: Tensor) -> Tensor:
        # A constant has no gradient, not even where both are equal.
        log_probs = torch.where(log_probs > least, log_probs, least.to(log_probs.dtype))
        return -torch.expm1(q * log_probs) / q if q > 0 else -log_probs

    return losses_of_log_probs(logits, labels, lq, ignore_index=ignore_index, reduction=reduction)


class LqLoss(Counted):
    """:func:`lq_loss` that truncates after some steps.

    Args:
        q: Between 0, cross-entropy, and 1.
        truncation: k, at least 0 and below 1; 0 is none.
        truncate_after: Training calls before truncation begins, counted by ``step``.
        ignore_index: Label of samples that do not count. Not for soft targets.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range or ``reduction`` unknown.

    >>> criterion = LqLoss(q=0.7, truncation=0.5, truncate_after=1000)
    >>> criterion(torch.randn(8, 10, requires_grad=True), torch.arange(8)).backward()
    >>> criterion.step
    tensor(1)
    """

    def __init__(
        self,
        *,
        q: float = 0.7,
        truncation: float = 0.0,
        truncate_after: int = 0,
        ignore_index: int = IGNORE_INDEX,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_options("LqLoss", q, truncation, reduction)
        self.truncate_after = check_int("LqLoss", "truncate_after", truncate_after, 0)
        self.q, self.truncation = q, truncation
        self.ignore_index, self.reduction = ignore_index, reduction
        self.steps = Steps("LqLoss")

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss, and count the call in training mode.

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
        if self.counting:
            self.steps.advance()
        truncation: float | Tensor = 0.0
        if self.truncation > 0:
            begun = self.steps.checked() > self.truncate_after
            truncation = settled(begun * torch.full((), self.truncation, device=begun.device))
        return lq_loss(
            logits,
            labels,
            q=self.q,
            truncation=truncation,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Name the options."""
        truncation = f", truncation={self.truncation:g}, truncate_after={self.truncate_after}"
        return f"q={self.q:g}" + truncation * (self.truncation > 0)


def _check_options(
    function: str, q: float, truncation: float | Tensor, reduction: Reduction
) -> None:
    for name, value in {"q": q, "truncation": truncation}.items():
        check_at_least(function, name, value, 0)
    if q > 1:
        raise ValueError(f"{function}: expected `q` <= 1, got {q}")
    if not isinstance(truncation, Tensor) and truncation >= 1:
        raise ValueError(f"{function}: expected `truncation` < 1, got {truncation}")
    check_one_of(function, "reduction", reduction, REDUCTIONS)


@losses.register("lq")
@dataclass(frozen=True, kw_only=True)
class Lq:
    """Lq loss, the generalized cross-entropy: labels that seem unlikely count less.

    Args:
        q: From 0, cross-entropy, to 1, the mean absolute error.
        truncation: Probability of the label up to which an image does not count; 0 is none.
        truncate_percent: Share of all steps before truncation begins, in percent.

    Raises:
        UserError: If a number is out of range.
    """

    q: float = 0.4  # of Appendix C of https://arxiv.org/abs/2007.10538
    truncation: float = 0.0
    truncate_percent: float = 33.0  # of the source: 40 of 120 epochs on CIFAR-10

    def __post_init__(self) -> None:
        check_option("q", self.q, 0 <= self.q <= 1, "from 0 to 1")
        check_option("truncation", self.truncation, 0 <= self.truncation < 1, "from 0 to below 1")
        percent = self.truncate_percent
        check_option("truncate_percent", percent, 0 <= percent <= 100, "from 0 to 100")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        after = math.ceil(self.truncate_percent / 100 * sizes.num_steps)
        return LqLoss(q=self.q, truncation=self.truncation, truncate_after=after)

"""DisturbLabel: in each step some labels are replaced by random ones.

Every label y is drawn anew, independently, with

    P(y) = 1 - rate (C - 1) / C,   P(k) = rate / C for each other class k

so a share ``rate`` of the labels is replaced by a class out of all C, which may be the true one
again; without the true one P(y) = 1 - rate and P(k) = rate / (C - 1). The expected cross-entropy
over these draws is that of label smoothing with e = rate.

The draws of an image depend on its position in the data set, the step and a seed that is drawn at
the start and kept in the state, so neither a restart nor the number of processes changes them.
Evaluation mode takes the labels as they are.

Source: section 3.1, Algorithm 1 and Eq. (3) of Xie et al., CVPR 2016,
https://arxiv.org/abs/1605.00055

Literal form: tests/references/robust.py, ``disturbed_label_probs``.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.checks import (
    check_at_least,
    check_bool,
    check_labels,
    check_one_of,
    check_positive_int,
    check_shapes,
)
from semaug.covariance.batch import IGNORE_INDEX
from semaug.errors import check_option
from semaug.losses._arguments import (
    REDUCTIONS,
    Reduction,
    at_least_float32,
    check_labeled,
    check_positions,
)
from semaug.losses._drawing import Draws
from semaug.losses._strength import Counted
from semaug.registry import Sizes, losses

__all__ = ["DisturbLabel", "DisturbLabelLoss", "disturb_labels"]

# N samples, C classes.


def disturb_labels(
    labels: Tensor,
    num_classes: int,
    *,
    rate: float,
    include_true: bool = True,
    ignore_index: int = IGNORE_INDEX,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace a share of the labels by random classes.

    Args:
        labels: ``(N,)`` int64 class ids.
        num_classes: C.
        rate: Probability that a label is replaced, from 0 to 1.
        include_true: Whether the class that is drawn may be the true one, as in the source, so that
            ``rate (C - 1) / C`` of the labels change; else all that are replaced do.
        ignore_index: Label that stays.
        generator: Source of randomness, on the device of the labels.

    Returns:
        ``(N,)`` int64.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a shape is wrong or a number out of range.

    >>> disturb_labels(torch.tensor([0, 1, -100]), 2, rate=1.0, include_true=False)
    tensor([   1,    0, -100])
    """
    name = "disturb_labels"
    _check_options(name, rate, include_true)
    (num_classes,) = check_positive_int(name, num_classes=num_classes)
    check_shapes(name, labels=(labels, "N"))
    check_labels(name, labels)
    shape, device = (len(labels), 2), labels.device
    bits = torch.randint(2**32, shape, device=device, generator=generator)
    return _disturbed(labels, bits, num_classes, rate, include_true, ignore_index)


class DisturbLabelLoss(Counted):
    """Cross-entropy on labels of which a share is replaced in each training call.

    Args:
        rate: Probability that a label is replaced, from 0 to 1.
        include_true: Whether the class that is drawn may be the true one, as in the source.
        ignore_index: Label of samples that do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range or ``reduction`` unknown.

    >>> criterion = DisturbLabelLoss(rate=0.1)
    >>> logits, labels = torch.randn(8, 10, requires_grad=True), torch.arange(8)
    >>> criterion(logits, labels, positions=torch.arange(8)).backward()
    """

    steps: Draws

    def __init__(
        self,
        *,
        rate: float,
        include_true: bool = True,
        ignore_index: int = IGNORE_INDEX,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_options("DisturbLabelLoss", rate, include_true)
        check_one_of("DisturbLabelLoss", "reduction", reduction, REDUCTIONS)
        self.rate, self.include_true = rate, include_true
        self.ignore_index, self.reduction = ignore_index, reduction
        self.steps = Draws("DisturbLabelLoss")

    def forward(self, logits: Tensor, labels: Tensor, *, positions: Tensor | None = None) -> Tensor:
        """Draw the labels, in training mode, and compute the loss.

        Args:
            logits: ``(N, C)``.
            labels: ``(N,)`` int64 class ids.
            positions: ``(N,)`` int64 of the images in their set, on which the draws depend; None
                takes their places in the batch.

        Returns:
            A scalar, or ``(N,)`` for ``reduction="none"``, at least float32.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        check_labeled("DisturbLabelLoss", logits, labels, dense=False)
        check_positions("DisturbLabelLoss", positions, labels)
        if self.counting:
            self.steps.advance()
        if self.training:
            bits = self.steps.bits(positions, len(labels), 2, logits.device)
            options = self.rate, self.include_true, self.ignore_index
            labels = _disturbed(labels, bits, logits.shape[1], *options)
        return F.cross_entropy(
            at_least_float32(logits),
            labels,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Name the options."""
        return f"rate={self.rate:g}, include_true={self.include_true}"


def _check_options(function: str, rate: float, include_true: bool) -> None:
    check_at_least(function, "rate", rate, 0)
    if rate > 1:
        raise ValueError(f"{function}: expected `rate` <= 1, got {rate}")
    check_bool(function, "include_true", include_true)


def _disturbed(
    labels: Tensor,
    bits: Tensor,
    num_classes: int,
    rate: float,
    include_true: bool,
    ignore_index: int,
) -> Tensor:
    """Replace labels by ``bits`` (N, 2), whole numbers below 2^32: whether, and by which class."""
    replaced = (bits[:, 0] < rate * 2**32) & (labels != ignore_index)
    others = num_classes if include_true else num_classes - 1
    drawn = (bits[:, 1] * others) >> 32  # 0 to below `others`; all numbers are below 2^63
    return torch.where(
        replaced, drawn if include_true else (labels + 1 + drawn) % num_classes, labels
    )


@losses.register("disturb_label")
@dataclass(frozen=True, kw_only=True)
class DisturbLabel:
    """Cross-entropy on labels of which a share is replaced by random ones in each step.

    Args:
        rate: Share of the labels that is replaced.
        include_true: Whether the class that is drawn may be the true one.

    Raises:
        UserError: If the rate is out of range.
    """

    soft_targets: ClassVar[bool] = False

    rate: float = 0.05  # Appendix C of arXiv:2007.10538; 0.1 for ResNet-110 on CIFAR-100
    include_true: bool = True

    def __post_init__(self) -> None:
        check_option("rate", self.rate, 0 <= self.rate <= 1, "from 0 to 1")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        return DisturbLabelLoss(rate=self.rate, include_true=self.include_true)

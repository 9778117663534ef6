"""Large-margin softmax: the angle to the label's weight is to be smaller by a factor m.

With theta the angle between the features a and the weight w_y of the label, the logit of the label
falls by a margin, and the others stay:

    z'_y = z_y - |w_y| |a| (cos(theta) - psi(theta)) / (1 + annealing)
    psi(theta) = (-1)^k cos(m theta) - 2 k,   theta in [k pi / m, (k + 1) pi / m]

which without a bias is the form of the source,
``|w_y| |a| (annealing cos(theta) + psi(theta)) / (1 + annealing)``. psi falls from 1 to 1 - 2 m; at
m = 1 it is the cosine, and the loss cross-entropy. The annealing falls with the steps,

    annealing = max(minimum, base (1 + rate t)^-power)

from nearly no margin to the whole of it, without which training with large m does not begin. The
classifier of the source has no bias. Evaluation mode has no margin: its loss is cross-entropy.

Source: Eqs. (4) to (7) and section 4.2 of Liu et al., ICML 2016, https://arxiv.org/abs/1612.02295;
the annealing is that of its released code.

Literal form: tests/references/robust.py, ``large_margin_by_loops``.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_at_least, check_positive_int
from semaug._torch.compile import settled
from semaug.covariance.batch import IGNORE_INDEX
from semaug.errors import check_option
from semaug.losses._arguments import (
    CrossEntropyOptions,
    Reduction,
    at_least_float32,
    check_logits_and_labels,
)
from semaug.losses._strength import Counted, Steps
from semaug.registry import Sizes, losses

__all__ = ["LargeMargin", "LargeMarginLoss", "large_margin_loss"]

# N samples, C classes, A features.


def large_margin_loss(
    logits: Tensor,
    labels: Tensor,
    features: Tensor,
    weight: Tensor,
    *,
    margin: int = 4,
    annealing: float | Tensor = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy on logits of which that of the label falls by an angular margin.

    Args:
        logits: ``(N, C)`` of the classifier, which in the source has no bias.
        labels: ``(N,)`` int64 class ids.
        features: ``(N, A)`` that the classifier turned into the logits.
        weight: ``(C, A)`` of the classifier.
        margin: m, at least 1; 1 is cross-entropy.
        annealing: lambda of the source, at least 0: the margin is divided by one more than it. A
            scalar tensor is not checked.
        ignore_index: Label of samples that do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``(N,)`` for ``reduction="none"``, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, a number is out of range or ``reduction``
            unknown.

    >>> features, weight = torch.tensor([[3.0, 4.0]]), torch.eye(2)
    >>> large_margin_loss(features @ weight.T, torch.tensor([0]), features, weight, margin=2)
    tensor(5.4045)
    """
    name = "large_margin_loss"
    check_logits_and_labels(name, logits, labels, weight, features, dense=False)
    (margin,) = check_positive_int(name, margin=margin)
    check_at_least(name, "annealing", annealing, 0)
    options = CrossEntropyOptions(ignore_index=ignore_index, reduction=reduction)
    options.check(name)
    own = torch.where(labels != ignore_index, labels, 0)
    with without_autocast(logits.device):
        logits, features, weight = map(at_least_float32, (logits, features, weight))
        target = weight.index_select(0, own)  # (N, A)
        norms = target.norm(dim=1) * features.norm(dim=1)
        cosine = (target * features).sum(dim=1) / norms.clamp(min=1e-12)  # zeros have no angle
        fall = norms * (cosine - _psi(cosine, margin)) / (1 + annealing)
        lowered = logits.scatter_add(1, own.unsqueeze(1), -fall.to(logits.dtype).unsqueeze(1))
        return options.cross_entropy(lowered, labels)


def _psi(cosine: Tensor, margin: int) -> Tensor:
    """``psi`` of angles by their cosines, whose powers have no infinite slope, as angles have.

    >>> _psi(torch.tensor([1.0, 0.0, -1.0]), 2)
    tensor([ 1., -1., -3.])
    """
    before, expanded = torch.ones_like(cosine), cosine  # T_0 and T_1 of Chebyshev
    for _ in range(margin - 1):
        before, expanded = expanded, 2 * cosine * expanded - before
    with torch.no_grad():
        angle = cosine.clamp(-1, 1).acos()
        k = (angle * margin / math.pi).floor().clamp(max=margin - 1)
        sign = 1 - 2 * (k % 2)
    return sign * expanded - 2 * k


class LargeMarginLoss(Counted):
    """:func:`large_margin_loss` whose margin grows with the training calls.

    Defaults are those of the released code for augmented CIFAR-10, where the annealing falls to 1
    after some 16,600 calls. A longer run wants a smaller ``rate``:
    ``(base ** (1 / power) - 1) / calls`` reaches 1 after so many calls.

    Args:
        margin: m, at least 1.
        base: Annealing at first.
        rate: How fast it falls, at least 0.
        power: How steeply.
        minimum: Annealing that stays; above 0 where the whole margin does not converge, as with
            many classes.
        ignore_index: Label of samples that do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range or ``reduction`` unknown.

    >>> criterion = LargeMarginLoss(margin=4)
    >>> features, head = torch.randn(8, 64), nn.Linear(64, 10, bias=False)
    >>> criterion(head(features), torch.arange(8), features, head.weight).backward()
    >>> criterion.step, criterion.annealing()
    (tensor(1), tensor(999.5501))
    """

    def __init__(
        self,
        *,
        margin: int = 4,
        base: float = 1000.0,
        rate: float = 1e-5,
        power: float = 45.0,
        minimum: float = 0.0,
        ignore_index: int = IGNORE_INDEX,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = "LargeMarginLoss"
        (self.margin,) = check_positive_int(name, margin=margin)
        numbers = {"base": base, "rate": rate, "power": power, "minimum": minimum}
        for option, value in numbers.items():
            check_at_least(name, option, value, 0)
        CrossEntropyOptions(reduction=reduction).check(name)
        self.base, self.rate, self.power, self.minimum = base, rate, power, minimum
        self.ignore_index, self.reduction = ignore_index, reduction
        self.steps = Steps(name)

    def annealing(self) -> Tensor:
        """Return the annealing of the latest training call, a scalar tensor."""
        calls = self.steps.checked().to(torch.float32)
        falling = self.base * torch.exp(-self.power * torch.log1p(self.rate * calls))
        return settled(falling.clamp(min=self.minimum))

    def forward(self, logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor) -> Tensor:
        """Count the call (in training mode) and compute the loss.

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
        if self.counting:
            self.steps.advance()
        return large_margin_loss(
            logits,
            labels,
            features,
            weight,
            margin=self.margin if self.training else 1,
            annealing=self.annealing(),
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Name the options."""
        falling = f"base={self.base:g}, rate={self.rate:g}, power={self.power:g}"
        return f"margin={self.margin}, {falling}, minimum={self.minimum:g}"


@losses.register("large_margin")
@dataclass(frozen=True, kw_only=True)
class LargeMargin:
    """Large-margin softmax: cross-entropy with a margin between angles, annealed.

    The classifier has no bias: that of a network is zero and stays so.

    Args:
        margin: Factor on the angle, m in the source; 1 is cross-entropy.
        anneal_percent: Share of all steps after which the margin has half of its weight, in
            percent.
        anneal_minimum: Annealing that stays: 0 is the whole margin, 1 half of it.

    Raises:
        UserError: If a number is out of range.
    """

    takes_features: ClassVar[bool] = True
    soft_targets: ClassVar[bool] = False
    head_bias: ClassVar[bool] = False

    margin: int = 4
    anneal_percent: float = 50.0
    anneal_minimum: float = 0.0

    def __post_init__(self) -> None:
        check_option("margin", self.margin, self.margin >= 1, ">= 1")
        percent, minimum = self.anneal_percent, self.anneal_minimum
        check_option("anneal_percent", percent, 0 < percent <= 100, "above 0 and at most 100")
        check_option("anneal_minimum", minimum, 0 <= minimum < math.inf, ">= 0")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        base, power = 1000.0, 45.0  # of the released code
        calls = max(1.0, self.anneal_percent / 100 * sizes.num_steps)
        rate = (base ** (1 / power) - 1) / calls
        return LargeMarginLoss(
            margin=self.margin, base=base, rate=rate, power=power, minimum=self.anneal_minimum
        )

"""Center loss: features are pulled towards a center of their class, which moves with them.

    loss = cross-entropy + strength / 2 * mean over n of |a[n] - c[y_n]|^2

The centers do not follow the gradient of this loss. There are two rules, both called center loss:

    paper:      c[k] <- c[k] - center_lr * sum over n of class k of (c[k] - a[n]) / (1 + N_k)
    gradient:   c[k] is a parameter, whose gradient is that of the mean over n of |a[n] - c[y_n]|^2

with N_k samples of class k in the batch of N. The first is that of the source. The second is that
of a widely used implementation, in plain gradient descent without weight decay; there a step goes
2 N_k / N of ``center_lr`` and not N_k / (1 + N_k), which is 22 times less with 100 classes and
128 images, and 4.6 times less with 10 classes: ``center_lr`` means nothing without its rule.

Source: Eqs. (2) to (5) of Wen et al., ECCV 2016, https://doi.org/10.1007/978-3-319-46478-7_31,
with a mean over the batch in Eq. (2).

Literal form: tests/references/robust.py, ``center_by_loops`` and ``moved_centers``.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_at_least, check_one_of, check_positive_int, check_shapes
from semaug._torch.compile import snapshot
from semaug._torch.distributed import mean_gradient, sum_over_ranks
from semaug.covariance.batch import IGNORE_INDEX
from semaug.errors import check_option
from semaug.losses._arguments import (
    CrossEntropyOptions,
    at_least_float32,
    check_logits_and_labels,
)
from semaug.losses._strength import Counted, Steps
from semaug.registry import Sizes, losses

__all__ = ["Center", "CenterLoss", "center_loss"]

# N samples, C classes, A features.

Update = Literal["paper", "gradient"]
UPDATES: tuple[Update, ...] = get_args(Update)


def center_loss(
    logits: Tensor,
    labels: Tensor,
    features: Tensor,
    centers: Tensor,
    *,
    strength: float,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy, and half the mean squared distance of features to the center of their class.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` int64 class ids.
        features: ``(N, A)``.
        centers: ``(C, A)``, treated as constant.
        strength: Weight of the distance, lambda of the source, at least 0.
        ignore_index: Label of samples that do not count.
        label_smoothing: Of the cross-entropy, between 0 and 1.

    Returns:
        A scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, or a number is out of range.

    >>> features, centers = torch.tensor([[3.0, 4.0]]), torch.zeros(2, 2)
    >>> center_loss(torch.zeros(1, 2), torch.tensor([0]), features, centers, strength=0.1)
    tensor(1.9431)
    """
    name = "center_loss"
    check_logits_and_labels(name, logits, labels, centers, features, dense=False)
    check_at_least(name, "strength", strength, 0)
    options = CrossEntropyOptions(ignore_index=ignore_index, label_smoothing=label_smoothing)
    options.check(name)
    kept, apart = _apart(features, labels, centers.detach(), ignore_index)
    distance = torch.where(kept, apart.square().sum(dim=1), 0.0).sum() / kept.sum()
    return options.cross_entropy(at_least_float32(logits), labels) + strength / 2 * distance


class CenterLoss(Counted):
    """:func:`center_loss` that keeps the centers and moves them.

    The centers are zero at first. In training mode a call computes the loss with the centers of
    before. With ``update="paper"`` it then moves them itself, by the samples of all ranks: they are
    a buffer, and need no optimizer. With ``update="gradient"`` they are a parameter, which the
    optimizer is to have: with :meth:`parameter_groups`, or it does not follow the rule. Under
    ``torch.distributed`` all ranks must call it. A sample with a feature that is not finite moves
    no center.

    Args:
        num_classes: C.
        num_features: A, the length of the features before the classifier.
        strength: Weight of the distance, lambda of the source, at least 0; the source takes 0.003
            for faces. It depends on the norm of the features.
        center_lr: alpha of the source, from 0 to 1, or the learning rate of the gradient; may be
            set at any time where the rule is that of the paper.
        update: ``"paper"`` or ``"gradient"``, see above.
        ignore_index: Label of samples that do not count.
        label_smoothing: Of the cross-entropy, between 0 and 1.

    Attributes:
        centers: ``(C, A)``.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range or a name unknown.

    >>> criterion = CenterLoss(num_classes=10, num_features=64, strength=0.01)
    >>> features, weight = torch.randn(8, 64), torch.randn(10, 64, requires_grad=True)
    >>> criterion(features @ weight.T, torch.arange(8), features, weight).backward()
    >>> torch.allclose(criterion.centers[:8], features / 4)  # 0.5 / (1 + 1) of the way
    True
    """

    centers: Tensor

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        strength: float,
        center_lr: float = 0.5,
        update: Update = "paper",
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        name = "CenterLoss"
        sizes = check_positive_int(name, num_classes=num_classes, num_features=num_features)
        check_at_least(name, "strength", strength, 0)
        check_at_least(name, "center_lr", center_lr, 0)
        check_one_of(name, "update", update, UPDATES)
        if update == "paper" and center_lr > 1:
            raise ValueError(f"{name}: expected `center_lr` <= 1, got {center_lr}")
        CrossEntropyOptions(label_smoothing=label_smoothing).check(name)
        self.strength, self.center_lr, self.update = strength, center_lr, update
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        if update == "paper":
            self.register_buffer("centers", torch.zeros(sizes))
        else:
            self.centers = nn.Parameter(torch.zeros(sizes))
        self.steps = Steps(name)

    def reset_parameters(self) -> None:
        """Put all centers back to zero; torch's convention after ``to_empty``."""
        with torch.no_grad():
            self.centers.zero_()

    def reset(self) -> None:
        """Put all centers back to zero."""
        super().reset()
        self.reset_parameters()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the centers, if they are a parameter, with plain gradient descent at their rate.

        As ``torch.optim.SGD`` takes them; schedules scale the rate.
        """
        plain = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
        parameters = [*self.parameters()]
        return [{"params": parameters, "lr": self.center_lr, **plain}] if parameters else []

    def forward(self, logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor) -> Tensor:
        """Compute the loss and, in training mode, move the centers.

        Args:
            logits: ``(N, C)``.
            labels: ``(N,)`` int64 class ids.
            features: ``(N, A)`` that the classifier turned into the logits.
            weight: ``(C, A)`` of the classifier, whose shape is checked.

        Returns:
            A scalar.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        check_logits_and_labels("CenterLoss", logits, labels, weight, features, dense=False)
        check_shapes("CenterLoss", weight=(weight, "C A"), centers=(self.centers, "C A"))
        own = mean_gradient(self.centers) if self.update == "gradient" else snapshot(self.centers)
        loss = center_loss(
            logits,
            labels,
            features,
            own,
            strength=self.strength,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
        if not self.counting:
            return loss
        self.steps.advance()
        kept, apart = _apart(features.detach(), labels, own, self.ignore_index)
        kept = kept & apart.detach().isfinite().all(dim=1)
        apart = torch.where(kept.unsqueeze(1), apart, 0.0)
        if self.update == "gradient":
            # Its value is 0, and its gradient that of the mean squared distance.
            distance = apart.square().sum() / kept.sum().clamp(min=1)
            return loss + (distance - distance.detach())
        with torch.no_grad():
            count, index = kept.to(apart.dtype), torch.where(kept, labels, 0)
            rows = torch.cat([apart, count.unsqueeze(1)], dim=1)
            sums = rows.new_zeros(len(own), rows.shape[1]).index_add(0, index, rows)
            sums = sum_over_ranks(sums)
            self.centers.add_(self.center_lr * sums[:, :-1] / (1 + sums[:, -1:]))
        return loss

    def extra_repr(self) -> str:
        """Name the options."""
        num_classes, num_features = self.centers.shape
        return (
            f"{num_classes}, {num_features}, strength={self.strength:g}, "
            f"center_lr={self.center_lr:g}, update={self.update}"
        )


def _apart(
    features: Tensor, labels: Tensor, centers: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Return which samples count ``(N,)``, and how far all are from their centers ``(N, A)``."""
    kept = labels != ignore_index
    with without_autocast(features.device):
        own = at_least_float32(centers).index_select(0, torch.where(kept, labels, 0))
        return kept, at_least_float32(features) - own


@losses.register("center")
@dataclass(frozen=True, kw_only=True)
class Center:
    """Center loss: cross-entropy, and a pull of the features to the center of their class.

    Args:
        center_strength: Weight of the pull.
        center_lr: How far a step moves a center; with update=gradient the schedule scales it.
        update: Rule by which centers move: ``"paper"``, the mean of their class in the batch, or
            ``"gradient"``, gradient descent, which is slower by a factor that grows with the number
            of classes.

    Raises:
        UserError: If a number is out of range.
    """

    takes_features: ClassVar[bool] = True
    soft_targets: ClassVar[bool] = False

    center_strength: float = 0.01
    center_lr: float = 0.5  # of Appendix C of https://arxiv.org/abs/2007.10538
    update: Literal["paper", "gradient"] = "gradient"  # whose "initial learning rate" it speaks of

    def __post_init__(self) -> None:
        strength = self.center_strength
        check_option("center_strength", strength, 0 <= strength < float("inf"), ">= 0")
        most = 1 if self.update == "paper" else float("inf")
        wanted = "above 0 and at most 1" if most == 1 else "above 0"
        check_option("center_lr", self.center_lr, 0 < self.center_lr <= most, wanted)

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        assert sizes.num_features is not None
        return CenterLoss(
            sizes.num_classes,
            sizes.num_features,
            strength=self.center_strength,
            center_lr=self.center_lr,
            update=self.update,
        )

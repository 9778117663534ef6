"""DistributionNet: features are a normal distribution, whose standard deviations are learned.

A head predicts the standard deviations s of the features a of a sample, and the classifier sees the
features and one draw from N(a, s^2):

    loss = CE(W a + b, y) + sampled_weight * CE(W (a + s * e) + b, y)
           + entropy_weight * mean over n of max(0, log(threshold) - mean over d of log s[n, d])
    s = softplus(V a + v),   e ~ N(0, 1)

The last term, the feature uncertainty loss, is the entropy of the distribution per feature, up to
which it is to rise; without it the gradient shrinks s to nothing. The source has a threshold of 5,
for the 2,048 features of its network. Here it is a share of the standard deviation that features
are seen to have, so that it means the same for any network; and the head is linear on the pooled
features, where the source has a convolution as large as the last feature map.

Evaluation mode takes the features alone, as the test does. What is drawn depends on the position of
an image in its set, on the step and on a seed in the state, and not on the number of processes.

Source: Eqs. (1) to (5) of Yu et al., ICCV 2019, and its released code; baseline of section 6.1 of
https://arxiv.org/abs/2007.10538

Literal form: tests/references/robust.py, ``distribution_net_by_loops``.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_at_least, check_positive_int, check_shapes, check_tensors
from semaug._torch.compile import settled
from semaug._torch.distributed import mean_gradient
from semaug.covariance import ClassCovariance
from semaug.covariance.batch import IGNORE_INDEX
from semaug.errors import check_option
from semaug.losses._arguments import (
    CrossEntropyOptions,
    at_least_float32,
    check_logits_and_labels,
    check_no_ignored_targets,
    check_positions,
    has_target,
)
from semaug.losses._drawing import Draws
from semaug.losses._strength import Counted
from semaug.registry import Sizes, losses

__all__ = ["DistributionNet", "DistributionNetLoss", "distribution_net_loss"]

# N samples, C classes, A features.

MEMORY = 0.9999  # of the standard deviation of features: about 10,000 samples


def distribution_net_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    std: Tensor,
    noise: Tensor,
    *,
    threshold: float | Tensor,
    sampled_weight: float = 0.1,
    entropy_weight: float = 0.001,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of features and of a draw around them, and the feature uncertainty loss.

    Args:
        logits: ``(N, C)`` of the features.
        labels: ``(N,)`` int64 class ids, or soft targets ``(N, C)``.
        weight: ``(C, A)`` of the classifier.
        std: ``(N, A)``, above 0.
        noise: ``(N, A)``, standard normal.
        threshold: Geometric mean over features of ``std`` that is enough, above 0. A scalar tensor
            is not checked.
        sampled_weight: Weight of the cross-entropy of the draw, at least 0.
        entropy_weight: Weight of the feature uncertainty loss, at least 0.
        ignore_index: Label of samples that do not count. Not for soft targets.
        label_smoothing: Of both cross-entropies, between 0 and 1.

    Returns:
        A scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, or a number is out of range.

    >>> logits, weight, ones = torch.zeros(1, 2), torch.eye(2), torch.ones(1, 2)
    >>> distribution_net_loss(
    ...     logits, torch.tensor([0]), weight, ones, ones, threshold=1.0, sampled_weight=1.0
    ... )
    tensor(1.3863)
    """
    name = "distribution_net_loss"
    check_logits_and_labels(name, logits, labels, weight, std, soft=True, dense=False)
    check_tensors(name, std=(std, "N A"), noise=(noise, "N A"))
    check_no_ignored_targets(name, labels, ignore_index)
    options = CrossEntropyOptions(ignore_index=ignore_index, label_smoothing=label_smoothing)
    _check_options(name, sampled_weight, entropy_weight, threshold)
    options.check(name)
    with without_autocast(logits.device):
        logits, weight, std = map(at_least_float32, (logits, weight, std))
        targets = labels.to(logits.dtype) if labels.is_floating_point() else labels
        sampled = logits + (std * noise) @ weight.T  # the classifier is linear
        missing = (torch.as_tensor(threshold).log() - std.log().mean(dim=1)).clamp(min=0)
        kept = _counts(labels, ignore_index)
        uncertainty = torch.where(kept, missing, 0.0).sum() / kept.sum().clamp(min=1)
        return (
            options.cross_entropy(logits, targets)
            + sampled_weight * options.cross_entropy(sampled, targets)
            + entropy_weight * uncertainty
        )


class DistributionNetLoss(Counted):
    """:func:`distribution_net_loss` with the head of the standard deviations.

    The optimizer is to have the head, too: ``criterion.parameters()``. Under ``torch.distributed``
    all ranks must call the loss; gradients of the head are averaged by itself.

    Args:
        num_features: A, the length of the features before the classifier.
        threshold: Share of the standard deviation of features, the root of their mean variance over
            the latest samples, up to which the geometric mean of those of a sample is to rise.
        sampled_weight: Weight of the cross-entropy of the draw, at least 0.
        entropy_weight: Weight of the feature uncertainty loss, at least 0.
        ignore_index: Label of samples that do not count. Not for soft targets.
        label_smoothing: Of both cross-entropies, between 0 and 1; 0.1 in the source.

    Attributes:
        head: ``nn.Linear`` from the features to what softplus makes a standard deviation.
        spread: :class:`semaug.ClassCovariance` of all features, as of one class.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range.

    >>> criterion = DistributionNetLoss(num_features=64)
    >>> features, weight = torch.randn(8, 64), torch.randn(10, 64, requires_grad=True)
    >>> criterion(features @ weight.T, torch.arange(8), features, weight).backward()
    >>> criterion.std(features).shape
    torch.Size([8, 64])
    """

    steps: Draws

    def __init__(
        self,
        num_features: int,
        *,
        threshold: float = 0.5,
        sampled_weight: float = 0.1,
        entropy_weight: float = 0.001,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        name = "DistributionNetLoss"
        (num_features,) = check_positive_int(name, num_features=num_features)
        _check_options(name, sampled_weight, entropy_weight, threshold)
        CrossEntropyOptions(label_smoothing=label_smoothing).check(name)
        self.threshold = threshold
        self.sampled_weight, self.entropy_weight = sampled_weight, entropy_weight
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.head = nn.Linear(num_features, num_features)
        self.spread = ClassCovariance(1, num_features, "diagonal", memory=MEMORY)
        self.steps = Draws(name)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the head as a group, with the options that the optimizer has by default."""
        return [{"params": [*self.head.parameters()]}]

    def std(self, features: Tensor) -> Tensor:
        """Return the standard deviations ``(N, A)`` around features ``(N, A)``."""
        with without_autocast(features.device):
            weight, bias = map(mean_gradient, (self.head.weight, self.head.bias))
            raw = F.linear(features.to(weight.dtype), weight, bias)
            return F.softplus(raw).clamp(min=torch.finfo(raw.dtype).tiny)

    def enough(self) -> Tensor:
        """Return the threshold as a standard deviation, a scalar tensor."""
        seen = self.spread.covariance.mean().sqrt()
        return settled((self.threshold * seen).clamp(min=torch.finfo(seen.dtype).tiny))

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        features: Tensor,
        weight: Tensor,
        *,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Draw features, in training mode, and compute the loss.

        Args:
            logits: ``(N, C)``.
            labels: ``(N,)`` int64 class ids, or soft targets ``(N, C)``.
            features: ``(N, A)`` that the classifier turned into the logits.
            weight: ``(C, A)`` of the classifier.
            positions: ``(N,)`` int64 of the images in their set, on which the draws depend; None
                takes their places in the batch.

        Returns:
            A scalar, at least float32.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        name = "DistributionNetLoss"
        check_logits_and_labels(name, logits, labels, weight, features, soft=True, dense=False)
        check_shapes(name, features=(features, "N A"), head=(self.head.weight, "A A"))
        check_positions(name, positions, labels)
        check_no_ignored_targets(name, labels, self.ignore_index)
        if not self.training:
            logits = at_least_float32(logits)
            wanted = labels.to(logits.dtype) if labels.is_floating_point() else labels
            options = CrossEntropyOptions(None, self.ignore_index, self.label_smoothing)
            return options.cross_entropy(logits, wanted)
        if self.counting:
            self.steps.advance()
            one_class = torch.where(_counts(labels, self.ignore_index), 0, IGNORE_INDEX)
            self.spread.observe(features, one_class)
        std = self.std(features)
        return distribution_net_loss(
            logits,
            labels,
            weight,
            std,
            self.steps.normal(positions, std.detach()),
            threshold=self.enough(),
            sampled_weight=self.sampled_weight,
            entropy_weight=self.entropy_weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        """Name the options."""
        return (
            f"threshold={self.threshold:g}, sampled_weight={self.sampled_weight:g}, "
            f"entropy_weight={self.entropy_weight:g}"
        )


def _counts(labels: Tensor, ignore_index: int) -> Tensor:
    """``(N,)`` bool: whether samples have a label, or soft targets, that count."""
    return has_target(labels).squeeze(1) if labels.is_floating_point() else labels != ignore_index


def _check_options(
    function: str, sampled_weight: float, entropy_weight: float, threshold: float | Tensor
) -> None:
    check_at_least(function, "sampled_weight", sampled_weight, 0)
    check_at_least(function, "entropy_weight", entropy_weight, 0)
    check_at_least(function, "threshold", threshold, 0)
    if not isinstance(threshold, Tensor) and threshold == 0:
        raise ValueError(f"{function}: expected `threshold` > 0, got {threshold}")


@losses.register("distribution_net")
@dataclass(frozen=True, kw_only=True)
class DistributionNet:
    """DistributionNet: features with learned standard deviations, of which one draw is classified.

    Args:
        threshold: Share of the standard deviation of the features that the learned ones rise to.
        sampled_weight: Weight of the cross-entropy of the draw.
        entropy_weight: Weight of the feature uncertainty loss, without which they vanish.
        label_smoothing: Share of each target that is spread evenly over all classes.

    Raises:
        UserError: If a number is out of range.
    """

    takes_features: ClassVar[bool] = True

    threshold: float = 0.5
    sampled_weight: float = 0.1  # these three of the released code
    entropy_weight: float = 0.001
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        for name in ("sampled_weight", "entropy_weight"):
            value = getattr(self, name)
            check_option(name, value, 0 <= value < float("inf"), ">= 0")
        check_option("threshold", self.threshold, 0 < self.threshold < float("inf"), "> 0")
        inside = 0 <= self.label_smoothing <= 1
        check_option("label_smoothing", self.label_smoothing, inside, "from 0 to 1")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the loss."""
        assert sizes.num_features is not None
        return DistributionNetLoss(
            sizes.num_features,
            threshold=self.threshold,
            sampled_weight=self.sampled_weight,
            entropy_weight=self.entropy_weight,
            label_smoothing=self.label_smoothing,
        )

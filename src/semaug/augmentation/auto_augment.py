"""AutoAugment: one of 25 pairs of operations, found by search on a data set.

Source: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from semaug._torch.checks import check_one_of
from semaug.augmentation.operations import Operation, Operations, computed_once
from semaug.augmentation.operator import check_fill
from semaug.augmentation.policies import POLICIES

# N images, H and W pixels; P pairs of operations, and K operations in all of them.


@dataclass(frozen=True)
class AutoAugment(Operations):
    """Apply one pair of operations to each image, drawn from those found for a data set.

    All pairs are equally likely. Each half of a pair has its own probability to be applied,
    and goes either way with probability one half if it has a direction. Given the same
    decisions, every image comes out as from ``torchvision.transforms.AutoAugment`` of a
    Pillow image, bit for bit: pixels are moved, not interpolated.

    Args:
        policy: ``"cifar10"``, which serves CIFAR-100 as well, ``"svhn"`` or ``"imagenet"``.
        fill: What lies outside of an image that is moved: a byte for all channels, or one for
            each. Black by default, as in torchvision; the policy of the source has the mean
            color, the released code of ISDA gray, ``fill=128``.

    Raises:
        TypeError: If ``fill`` is neither a number nor a tuple of them.
        ValueError: If there is no such policy, or ``fill`` not finite.
    """

    num_draws = 5  # which pair, whether to apply its halves, and their directions

    policy: str = "cifar10"
    fill: float | tuple[float, ...] = 0

    def __post_init__(self) -> None:
        check_one_of("AutoAugment", "policy", self.policy, POLICIES)
        check_fill("AutoAugment", self.fill)

    def choose(self, draws: Tensor) -> tuple[tuple[Operation, ...], Tensor]:
        """Return the operations of the policy, and which two each image gets."""
        pairs = _pairs(self.policy, draws.device)
        num_pairs = len(pairs.probability)
        pair = (draws[:, 0] * num_pairs).long().clamp_(max=num_pairs - 1)
        choice = pairs.positive[pair] + (draws[:, 3:] < 0.5)
        applied = draws[:, 1:3] <= pairs.probability[pair]
        return _operations(self.policy), torch.where(applied, choice, 0)


class _Pairs(NamedTuple):
    """The P pairs of a policy; nothing may unpack it, for torch 2.11 cannot compile that."""

    probability: Tensor  # (P, 2) float32
    positive: Tensor  # (P, 2) int64, which operation; the next one is its negative


@computed_once
def _operations(policy: str) -> tuple[Operation, ...]:
    """Number the operations of a policy: nothing, and then each one in both directions."""
    distinct = sorted({half for pair in _halves(policy) for half in pair})
    return (Operation(), *(x for own in distinct for x in (own, own._replace(negative=True))))


@computed_once
def _pairs(policy: str, device: torch.device) -> _Pairs:
    """Put the numbers of a policy on a device."""
    place = {operation: number for number, operation in enumerate(_operations(policy))}
    return _Pairs(
        torch.tensor([[half[1] for half in pair] for pair in POLICIES[policy]], device=device),
        torch.tensor([[place[half] for half in pair] for pair in _halves(policy)], device=device),
    )


def _halves(policy: str) -> list[list[Operation]]:
    return [[Operation(what, level) for what, _, level in pair] for pair in POLICIES[policy]]

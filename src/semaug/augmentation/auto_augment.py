"""AutoAugment: one of 25 pairs of operations, found by search on a data set.

Source: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501
"""

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from semaug._torch.checks import check_one_of, check_shapes
from semaug.augmentation.constants import computed_once
from semaug.augmentation.operations import Operation, apply_operations
from semaug.augmentation.operator import Augmentation, check_bytes, check_images_and_draws
from semaug.augmentation.policies import POLICIES

# N images, H and W pixels; P pairs of operations, and K operations in all of them.


@dataclass(frozen=True)
class AutoAugment(Augmentation):
    """Apply one pair of operations to each image, drawn from those found for a data set.

    All pairs are equally likely. Each half of a pair has its own probability to be applied,
    and goes either way with probability one half if it has a direction. Given the same
    decisions, every image comes out as from ``torchvision.transforms.AutoAugment`` of a
    Pillow image, bit for bit: pixels are moved, not interpolated, and outside of the image
    is black.

    Args:
        policy: ``"cifar10"``, which serves CIFAR-100 as well, ``"svhn"`` or ``"imagenet"``.

    Raises:
        ValueError: If there is no such policy.
    """

    policy: str = "cifar10"

    def __post_init__(self) -> None:
        check_one_of("AutoAugment", "policy", self.policy, POLICIES)

    @property
    def num_draws(self) -> int:
        """Five: which pair, whether to apply its halves, and their directions."""
        return 5

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(N, 3, H, W)`` uint8.
            draws: ``(N, 5)``, the rows of :meth:`draw` for these images. On an accelerator
                they should lie there already: moving them makes the host wait.

        Returns:
            ``(N, 3, H, W)`` uint8, contiguous.

        Raises:
            TypeError: If images are not bytes, or ``draws`` not floating-point numbers.
            ValueError: If shapes disagree, or images do not have three channels.
        """
        check_shapes("AutoAugment", images=(images, "N 3 H W"))
        check_images_and_draws("AutoAugment", images, draws, self.num_draws)
        check_bytes("AutoAugment", images)
        draws = draws.to(images.device)
        operations, pairs = _operations(self.policy), _pairs(self.policy, images.device)
        num_pairs = len(pairs.probability)
        pair = (draws[:, 0] * num_pairs).long().clamp_(max=num_pairs - 1)
        choice = pairs.positive[pair] + (draws[:, 3:] < 0.5)
        choice = torch.where(draws[:, 1:3] <= pairs.probability[pair], choice, 0)
        for own in choice.unbind(1):
            images = apply_operations(images, operations, own)
        return images


class _Pairs(NamedTuple):
    """The P pairs of a policy; nothing may unpack it, for torch 2.11 cannot compile that."""

    probability: Tensor  # (P, 2) float32
    positive: Tensor  # (P, 2) int64, which operation; the next one is its negative


@computed_once
def _operations(policy: str) -> tuple[Operation, ...]:
    """Number the operations of a policy: nothing, and then each one in both directions."""
    distinct = sorted({half for pair in _halves(policy) for half in pair})
    both = [(operation, operation._replace(negative=True)) for operation in distinct]
    return (Operation(), *chain.from_iterable(both))


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

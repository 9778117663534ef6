"""An exponential moving average of the weights of a network, tested instead of them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain, compress
from typing import Any

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_at_least
from semaug._torch.distributed import own_piece

__all__ = ["WeightAverage"]


class WeightAverage(nn.Module):
    """Exponential moving average of all parameters and buffers of a network.

    After step t, counted from 1, the average keeps a share ``min(decay, 1 - 1 / t)`` of
    itself: the plain mean of all weights so far at first, so that initial weights do not
    linger, and exponential from step ``1 / (1 - decay)`` on. Batch norm's running statistics
    are averaged alike. Not ``torch.optim.swa_utils.AveragedModel``: it keeps its count in a
    tensor, which an accelerator waits for at each step.

    Args:
        network: What is averaged; it is copied.
        decay: Share of itself that the average keeps at each step.

    Raises:
        ValueError: If ``decay`` is not from 0 to below 1.

    Source: Tarvainen and Valpola, 2017, https://arxiv.org/abs/1703.01780, for the share
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        check_at_least("WeightAverage", "decay", decay, 0)
        if decay >= 1:
            raise ValueError(f"WeightAverage: expected `decay` < 1, got {decay}")
        self.decay = decay
        self.num_averaged = 0
        self.averaged = deepcopy(network)
        self.averaged.requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self.num_averaged += 1
        weight = max(1 - self.decay, 1 / self.num_averaged)
        averages, current = list(_tensors(self.averaged)), list(_tensors(network))
        floating = [tensor.is_floating_point() for tensor in averages]
        torch._foreach_lerp_(
            list(compress(averages, floating)), list(compress(current, floating)), weight
        )
        counts = [not is_floating for is_floating in floating]  # how much batch norm has seen
        if any(counts):
            torch._foreach_copy_(list(compress(averages, counts)), list(compress(current, counts)))

    @contextmanager
    def in_place_of(self, network: nn.Module) -> Iterator[None]:
        """Give the network the averaged weights for a while."""
        own = [tensor.detach().clone() for tensor in _tensors(network)]
        _copy(_tensors(self.averaged), network)
        try:
            yield
        finally:
            _copy(own, network)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what of the state is no tensor."""
        return {"num_averaged": self.num_averaged}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Undo :meth:`get_extra_state`."""
        self.num_averaged = state["num_averaged"]


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return map(own_piece, chain(network.parameters(), network.buffers()))


@torch.no_grad()
def _copy(source: Iterable[Tensor], network: nn.Module) -> None:
    torch._foreach_copy_(list(_tensors(network)), list(source))

"""An exponential moving average of the weights of a network, tested instead of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from semaug._checks import check_at_least

__all__ = ["WeightAverage"]

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage(nn.Module):
    """Exponential moving average of all parameters and buffers of a network.

    After step t, counted from 1, the average keeps a share ``min(decay, 1 - 1 / t)`` of
    itself: the plain mean of all weights so far at first, so that initial weights do not
    linger, and exponential from step ``1 / (1 - decay)`` on. Batch norm's running statistics
    are averaged alike.

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
        self.averaged = AveragedModel(network, multi_avg_fn=self._blend, use_buffers=True)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self.averaged.update_parameters(network)

    @contextmanager
    def in_place_of(self, network: nn.Module) -> Iterator[None]:
        """Give the network the averaged weights for a while."""
        own = [tensor.detach().clone() for tensor in _tensors(network)]
        _copy(_tensors(self.averaged.module), network)
        try:
            yield
        finally:
            _copy(own, network)

    def _blend(self, averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        # `count` is this number too, moved to the device; reading it there would make us wait.
        num_averaged = int(self.averaged.n_averaged)
        weight = max(1 - self.decay, 1 / (num_averaged + 1))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, current, weight)
        else:  # how many batches batch norm has seen
            torch._foreach_copy_(averages, current)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())


@torch.no_grad()
def _copy(source: list[Tensor] | Iterator[Tensor], network: nn.Module) -> None:
    torch._foreach_copy_(list(_tensors(network)), list(source))

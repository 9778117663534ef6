"""What the statistics need of ``torch.distributed``."""

import gc
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.join import Join, Joinable

from semaug._torch.autograd import known_signature


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank_and_size() -> tuple[int, int]:
    """Which process this is, of how many."""
    return (dist.get_rank(), dist.get_world_size()) if world_size() > 1 else (0, 1)


def is_first_rank() -> bool:
    """Whether this process adds what must be added once."""
    return rank_and_size()[0] == 0


def own_piece(tensor: Tensor) -> Tensor:
    """Return what this rank has of a tensor that may be shared out, as a view."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


_joined: WeakKeyDictionary[Joinable, Any] = WeakKeyDictionary()  # with their last configuration


def refuse_join(*, first: bool) -> None:
    """Refuse torch's ``Join`` of uneven inputs, which makes up for no collectives in a forward.

    A look through all objects there are takes a tenth of a second, but nothing else knows of it.
    It is taken at first, and again once a ``Join`` was made of what it found that can be joined,
    such as the ``DistributedDataParallel`` of the network: that gets a new configuration then. A
    ``Join`` of nothing but what was made later is not noticed.

    Args:
        first: Whether the caller has not asked before.

    Raises:
        RuntimeError: If there is one now that lets ranks go on alone.
    """
    if not first and all(_config(x) is last for x, last in _joined.items()):
        return
    objects = [x for x in gc.get_objects() if type(x) is Join or Joinable in type(x).__mro__]
    joins = [x for x in objects if type(x) is Join]
    if any(x._enable and not x._throw_on_early_termination for x in joins):
        raise RuntimeError(
            "ClassCovariance: expected as many batches on every rank, got torch's Join, in which "
            "ranks without batches would leave the others waiting for their statistics; use "
            "Join(..., throw_on_early_termination=True), which ends with the first of them"
        )
    _joined.update((x, _config(x)) for x in objects if type(x) is not Join)


def _config(joinable: Joinable) -> Any:
    return getattr(joinable, "_join_config", None)  # None where it is still being made


def gather_over_ranks(
    features: Tensor, labels: Tensor, capacity: int | None, padding: int
) -> tuple[Tensor, Tensor]:
    """Concatenate the batches of all ranks, in rank order.

    Batches may differ in size and may be empty. All ranks must call this, and there must be
    several.

    Args:
        features: ``(N, A)``, N of this rank.
        labels: ``(N,)`` int64.
        capacity: Samples of a rank at most. None agrees on sizes first, for which an
            accelerator waits.
        padding: Label of rows that fill up a batch; they are part of the result if a
            capacity is given.

    Returns:
        Features and labels of the joint batch.

    Raises:
        ValueError: If the batch exceeds the capacity.
    """
    if capacity is not None:
        if len(labels) > capacity:
            raise ValueError(
                f"ClassCovariance: expected at most max_batch_size={capacity} samples on each "
                f"rank, got {len(labels)}"
            )
        return _gather(features, capacity, 0).flatten(0, 1), _gather(
            labels, capacity, padding
        ).flatten()
    sizes = labels.new_empty(world_size())
    _all_gather(sizes, labels.new_tensor([len(labels)]))
    rank_sizes = sizes.tolist()
    joined = [
        torch.cat([part[:size] for part, size in zip(parts, rank_sizes, strict=True)])
        for parts in (_gather(features, max(rank_sizes), 0), _gather(labels, max(rank_sizes), 0))
    ]
    return joined[0], joined[1]


def _all_gather(gathered: Tensor, own: Tensor) -> None:
    # torch 2.14 gave it a new name, and warns of the old one.
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(gathered, own)


def _gather(rows: Tensor, capacity: int, padding: int) -> Tensor:
    """Gather ``(ranks, capacity, ...)``; shorter tensors travel with padding."""
    padded = rows.new_full((capacity, *rows.shape[1:]), padding)
    padded[: len(rows)] = rows
    gathered = rows.new_empty(world_size() * capacity, *rows.shape[1:])
    _all_gather(gathered, padded)
    return gathered.unflatten(0, (world_size(), capacity))


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over all ranks, in place."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def max_over_ranks(tensor: Tensor) -> Tensor:
    """Replace a tensor by its largest elements over all ranks, in place."""
    if world_size() > 1:
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor


def mean_gradient(parameter: Tensor) -> Tensor:
    """Return the parameter, whose gradient will be the mean over all ranks.

    For parameters of losses, which stand outside of ``DistributedDataParallel``. All ranks
    must call backward.
    """
    return _MeanGradient.apply(parameter) if world_size() > 1 else parameter


class _MeanGradient(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(parameter: Tensor) -> Tensor:
        return parameter.view_as(parameter)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad.clone()) / world_size()

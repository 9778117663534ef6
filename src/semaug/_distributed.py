"""What the statistics need of ``torch.distributed``."""

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["gather_over_ranks"]


def gather_over_ranks(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate the batches of all ranks, in rank order.

    A no-op outside ``torch.distributed``. Batches may differ in size and may be empty.
    All ranks must call this.

    Args:
        features: ``(N, A)``, N of this rank.
        labels: ``(N,)`` int64.

    Returns:
        Features and labels of the joint batch.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return features, labels
    sizes = labels.new_empty(dist.get_world_size())
    dist.all_gather_into_tensor(sizes, labels.new_tensor([len(labels)]))
    rank_sizes = sizes.tolist()
    return _gather(features, rank_sizes), _gather(labels, rank_sizes)


def _gather(rows: Tensor, rank_sizes: list[int]) -> Tensor:
    """Gather tensors of ``rank_sizes`` rows; shorter ones travel with padding."""
    largest = max(rank_sizes)
    padded = rows.new_zeros(largest, *rows.shape[1:])
    padded[: len(rows)] = rows
    gathered = rows.new_empty(len(rank_sizes) * largest, *rows.shape[1:])
    dist.all_gather_into_tensor(gathered, padded)
    parts = gathered.unflatten(0, (len(rank_sizes), largest))
    return torch.cat([part[:size] for part, size in zip(parts, rank_sizes, strict=True)])

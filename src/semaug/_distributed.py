"""What the statistics need of ``torch.distributed``."""

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

__all__ = ["gather_over_ranks"]


def gather_over_ranks(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate the batches of all ranks, in rank order.

    A no-op outside ``torch.distributed``. Batches may differ in size and may be empty;
    shorter ones are padded with label -1, which statistics leave out. All ranks must
    call this.

    Args:
        features: ``(N, A)``, N of this rank.
        labels: ``(N,)`` int64.

    Returns:
        Features and labels of the joint batch, padding included.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return features, labels
    ranks = dist.get_world_size()
    sizes = labels.new_empty(ranks)
    dist.all_gather_into_tensor(sizes, labels.new_tensor([len(labels)]))
    largest = int(sizes.max())
    missing = largest - len(labels)
    features = F.pad(features, (0, 0, 0, missing)).contiguous()
    labels = F.pad(labels, (0, missing), value=-1)
    all_features = features.new_empty(ranks * largest, features.shape[1])
    all_labels = labels.new_empty(ranks * largest)
    dist.all_gather_into_tensor(all_features, features)
    dist.all_gather_into_tensor(all_labels, labels)
    return all_features, all_labels

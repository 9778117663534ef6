"""The test error. Networks see images here and never a label."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from semaug.methods import Batch

__all__ = ["count_wrong"]


@torch.no_grad()
def count_wrong(
    predict: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    wrong: Tensor,
    stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Count images whose highest logit is not that of their class. No accelerator is waited for.

    Args:
        predict: Maps images ``(N, 3, H, W)`` to logits ``(N, C)``, in evaluation mode.
        batches: Images as the network takes them, with their labels.
        wrong: ``(C,)`` int64 on their device, to which the images of each class are added.
        stop: Asked after each batch; if it says so, the count so far is returned.

    Returns:
        ``wrong``.
    """
    for batch in batches:
        missed = predict(batch.images).argmax(dim=1) != batch.labels
        wrong.index_add_(0, batch.labels, missed.to(wrong.dtype))
        if stop():
            break
    return wrong

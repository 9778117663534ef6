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
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Count images whose highest logit is not that of their class.

    Args:
        predict: Maps images ``(N, 3, H, W)`` to logits ``(N, C)``, in evaluation mode.
        batches: Images as the network takes them, with their labels.
        stop: Asked after each batch; if it says so, the count so far is returned.
    """
    wrong: Tensor | None = None  # on the device of the batches
    for batch in batches:
        count = (predict(batch.images).argmax(dim=1) != batch.labels).sum()
        wrong = count if wrong is None else wrong + count
        if stop():
            break
    return 0 if wrong is None else int(wrong)

"""The test error. Networks see images here and never a label."""

from collections.abc import Callable

import torch
from torch import Tensor

from semaug.data import ImageSet

__all__ = ["count_wrong"]


@torch.no_grad()
def count_wrong(
    predict: Callable[[Tensor], Tensor],
    images: ImageSet,
    batch_size: int,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Count images whose highest logit is not that of their class.

    Args:
        predict: Maps uint8 images ``(N, 3, H, W)`` to logits ``(N, C)``, in evaluation mode.
        images: On the device.
        batch_size: Images at a time.
        stop: Asked after each batch; if it says so, the count so far is returned.
    """
    wrong = torch.zeros((), dtype=torch.int64, device=images.labels.device)
    batches = zip(images.images.split(batch_size), images.labels.split(batch_size), strict=True)
    for pixels, labels in batches:
        wrong += (predict(pixels).argmax(dim=1) != labels).sum()
        if stop():
            break
    return int(wrong)

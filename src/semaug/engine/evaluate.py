"""The test error. Networks see images here and never a label."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from semaug.methods import Batch

__all__ = ["MIN_CLASSES_FOR_TOP5", "Wrong", "count_wrong"]

# K networks, N images, C classes.

MIN_CLASSES_FOR_TOP5 = 100  # of fewer, five guesses say little


@dataclass(frozen=True)
class Wrong:
    """How many test images each network gets wrong, int64 on the device of the images.

    Args:
        by_class: ``(K, C)``: the highest logit is not that of the class.
        top5: ``(K,)``: nor are the four after it; None if there are few classes.
    """

    by_class: Tensor
    top5: Tensor | None

    @classmethod
    def none(cls, num_networks: int, num_classes: int, device: torch.device) -> "Wrong":
        """Return zeros."""
        by_class = torch.zeros(num_networks, num_classes, dtype=torch.int64, device=device)
        wants_top5 = num_classes >= MIN_CLASSES_FOR_TOP5
        return cls(by_class, torch.zeros_like(by_class[:, 0]) if wants_top5 else None)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Wrong":
        """Return the counts that a function of tensors makes of these."""
        return Wrong(function(self.by_class), None if self.top5 is None else function(self.top5))


@torch.no_grad()
def count_wrong(
    predict: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    wrong: Wrong,
    stop: Callable[[], bool] = lambda: False,
) -> Wrong:
    """Count images that networks classify wrongly. No accelerator is waited for.

    Args:
        predict: Maps images ``(N, 3, H, W)`` to logits ``(K, N, C)``, in evaluation mode.
        batches: Images as the networks take them, with their labels.
        wrong: On their device; it is counted on.
        stop: Asked after each batch; if it says so, the count so far is returned.

    Returns:
        ``wrong``.
    """
    for batch in batches:
        logits = predict(batch.images)
        missed = logits.argmax(dim=-1) != batch.labels
        wrong.by_class.index_add_(1, batch.labels, missed.to(torch.int64))
        if wrong.top5 is not None:
            found = (logits.topk(5, dim=-1).indices == batch.labels.unsqueeze(1)).any(dim=-1)
            wrong.top5.add_((~found).sum(dim=-1))
        if stop():
            break
    return wrong

"""Losses that are a function of the log-probability of the label alone."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug.losses._arguments import Reduction, at_least_float32, reduced

__all__ = ["losses_of_log_probs"]

# N samples, C classes, h x w pixels.


def losses_of_log_probs(
    logits: Tensor,
    labels: Tensor,
    function: Callable[[Tensor], Tensor],
    *,
    class_factors: Tensor | None = None,
    ignore_index: int,
    reduction: Reduction,
) -> Tensor:
    """Apply a function to the log-probability of the label of each sample.

    Of soft targets it is the mean over classes, each with its share; its mean over samples
    divides by N, as in torch.

    Args:
        logits: ``(N, C)``, or ``(N, C, h, w)``.
        labels: ``(N,)`` or ``(N, h, w)`` int64, or soft targets of the shape of the logits.
        function: Maps log-probabilities to losses, element by element.
        class_factors: ``(C,)``, multiplies the losses of each class.
        ignore_index: Label of samples that do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """
    log_probs = F.log_softmax(at_least_float32(logits), dim=1)
    factors = None if class_factors is None else class_factors.to(log_probs.dtype)
    if labels.is_floating_point():
        shares = labels.to(log_probs.dtype)
        if factors is not None:
            shares = shares * factors.view(-1, *[1] * (logits.ndim - 2))
        return reduced((shares * function(log_probs)).sum(dim=1), reduction)
    kept = labels != ignore_index
    own = torch.where(kept, labels, 0)
    losses = function(log_probs.gather(1, own.unsqueeze(1)).squeeze(1))
    if factors is not None:
        losses = losses * factors[own]
    losses = torch.where(kept, losses, 0.0)
    return losses.sum() / kept.sum() if reduction == "mean" else reduced(losses, reduction)

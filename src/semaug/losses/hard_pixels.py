"""Online hard example mining of pixels: the loss is the mean over those that are predicted worst.

Pixels count whose true class has a probability of at most

    max(threshold, k-th lowest probability)    with k = kept / 64

or all of them, if there are no more than k. Both are taken from every 8th pixel of every 8th
row, of the images of one process, as in the toolbox that the paper of ISDA used; a raised logit is
part of the probability there.

Source: Shrivastava et al., CVPR 2016, https://arxiv.org/abs/1604.03540, section 4, for the idea;
the rule is that of speedinghzl/pytorch-segmentation-toolbox, commit 3f8f602, loss.py.

Literal form: tests/references/segmentation.py, ``hard_pixels_by_loops``.
"""

import torch
from torch import Tensor

from semaug._torch.checks import check_at_least, check_labels, check_positive_int, check_shapes
from semaug.covariance.batch import IGNORE_INDEX

__all__ = ["hard_pixels"]

# N images of H x W pixels.

_STEP = 8


@torch.no_grad()
def hard_pixels(
    losses: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.6,
    kept: int = 200_000,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Tell which pixels count, bool ``(N, H, W)``. Nothing is waited for.

    Args:
        losses: ``(N, H, W)`` cross-entropies without weights and smoothing.
        labels: ``(N, H, W)`` int64.
        threshold: Probability up to which pixels count at least.
        kept: How many pixels count at least, about.
        ignore_index: Label of pixels that never count.

    Raises:
        TypeError: If a number has the wrong type, or labels are not int64.
        ValueError: If shapes disagree, or a number is out of range.

    >>> probs = torch.tensor([[[0.9, 0.5, 0.95]]])
    >>> hard_pixels(-probs.log(), torch.zeros(1, 1, 3).long(), threshold=0.6, kept=0)
    tensor([[[False,  True, False]]])
    """
    name = "hard_pixels"
    check_shapes(name, losses=(losses, "N H W"), labels=(labels, "N H W"))
    check_labels(name, labels)
    check_at_least(name, "threshold", threshold, 0)
    if kept != 0:
        check_positive_int(name, kept=kept)
    counted = labels != ignore_index
    probs = (-losses).exp()
    sampled, known = (x[:, ::_STEP, ::_STEP].flatten() for x in (probs, counted))
    lowest = torch.where(known, sampled, 2.0).sort().values  # what does not count comes last
    k = kept // _STEP**2
    if k >= len(lowest):
        return counted
    bound = lowest[max(k - 1, 0)].clamp(min=threshold) if k else lowest.new_tensor(threshold)
    bound = torch.where(known.sum() > k, bound, 2.0)
    return counted & (probs <= bound)

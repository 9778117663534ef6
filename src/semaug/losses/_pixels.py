"""Cross-entropy of each pixel of dense labels, whatever the resolution of the logits.

Interpolation is linear, and so is a 1x1 classifier: logits of interpolated features are
interpolated logits, for the weights of each pixel sum to 1. What full resolution takes, several
times the logits there, is never there at once: pixels pass in blocks of rows, which the backward
pass computes again.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from semaug._torch.autocast import without_autocast
from semaug.covariance.rows import ClassRows
from semaug.losses._arguments import CrossEntropyOptions, at_least_float32

__all__ = [
    "excess_of_targets",
    "mean_over_pixels",
    "pixel_losses",
    "pixel_weights",
    "spread_cells",
]

# N images, C classes, H x W pixels of labels, h x w pixels of logits, r rows of pixels in a block.

BLOCK_ELEMENTS = 2**21  # logits of a block at the resolution of the labels


def pixel_losses(
    logits: Tensor,
    labels: Tensor,
    options: CrossEntropyOptions,
    *,
    clean: Tensor | None = None,
    rows: ClassRows | None = None,
    raises: Tensor | None = None,
    strength: float | Tensor = 0.0,
) -> Tensor:
    """Cross-entropy ``(N, H, W)`` of interpolated logits, zero where a pixel is ignored.

    Args:
        logits: ``(N, C, h, w)``.
        labels: ``(N, H, W)`` int64.
        options: The reduction is not applied.
        clean: ``(N, C, h, w)`` logits before they were raised, which smoothed targets multiply;
            None are ``logits``.
        rows: Classes of the pixels ``(N H W,)``, for ``raises``.
        raises: ``(R, C)``, what a pixel of each of these classes adds to its logits, times
            ``strength / 2``.
        strength: A number, or ``(N, 1, 1, 1)``.
    """
    num_images, num_classes = logits.shape[:2]
    width = labels.shape[2]
    num_rows = max(1, BLOCK_ELEMENTS // max(1, num_images * num_classes * width))
    maps = [logits] if clean is None or options.label_smoothing == 0 else [logits, clean]
    if logits.shape[2:] == labels.shape[1:]:
        right, blocks = None, list(zip(*(x.split(num_rows, dim=2) for x in maps), strict=True))
        downs: list[Tensor | None] = [None] * len(blocks)
    else:
        like = at_least_float32(logits)
        down, right = (
            _interpolation(like, old, new, options.align_corners)
            for old, new in zip(logits.shape[2:], labels.shape[1:], strict=True)
        )
        downs = [*down.split(num_rows)]
        blocks = [tuple(maps)] * len(downs)
    position = rows and rows.position.view(labels.shape).split(num_rows, dim=1)

    def losses_of(place: int, *maps: Tensor) -> Tensor:
        with without_autocast(logits.device):
            own, *clean = (_interpolated(x, downs[place], right) for x in maps)
            before = clean[0] if clean else own
            if position is not None and raises is not None:
                table = raises.index_select(0, position[place].flatten())
                own = own + strength / 2 * table.view(*position[place].shape, num_classes).movedim(
                    3, 1
                )
            return _losses(own, before, pieces[place], options)

    pieces = labels.split(num_rows, dim=1)
    if len(blocks) < 2:
        return losses_of(0, *blocks[0])
    again: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    return torch.cat(
        [checkpoint(losses_of, k, *block, **again) for k, block in enumerate(blocks)], dim=1
    )


def mean_over_pixels(losses: Tensor, labels: Tensor, options: CrossEntropyOptions) -> Tensor:
    """Reduce losses as torch does, but for a mean over no pixels at all, which is 0."""
    if options.reduction != "mean":
        return losses.sum() if options.reduction == "sum" else losses
    counted = pixel_weights(labels, options, losses.dtype).sum()
    return losses.sum() / torch.where(counted > 0, counted, 1.0)


def _losses(raised: Tensor, clean: Tensor, labels: Tensor, options: CrossEntropyOptions) -> Tensor:
    losses = options._replace(reduction="none").cross_entropy(raised, labels)
    if raised is clean or options.label_smoothing == 0:
        return losses
    return losses + excess_of_targets(raised, clean, labels, options)


def excess_of_targets(
    raised: Tensor, clean: Tensor, labels: Tensor, options: CrossEntropyOptions
) -> Tensor:
    """What losses lack in which torch multiplied smoothed targets with raised logits.

    Args:
        raised: ``(N, C)`` or ``(N, C, H, W)``.
        clean: Of the same shape.
        labels: ``(N,)`` or ``(N, H, W)``, whose shape is that of the result.
        options: The reduction is not applied.
    """
    excess = raised - clean
    if options.class_weights is not None:
        weights = options.class_weights.to(raised.dtype)
        excess = excess * weights.view(-1, *[1] * (raised.ndim - 2))
    kept = labels != options.ignore_index
    return torch.where(kept, excess.mean(dim=1), 0.0) * options.label_smoothing


def pixel_weights(labels: Tensor, options: CrossEntropyOptions, dtype: torch.dtype) -> Tensor:
    """What each label counts in a mean, of the shape of the labels."""
    kept = labels != options.ignore_index
    if options.class_weights is None:
        return kept.to(dtype)
    return torch.where(kept, options.class_weights.to(dtype)[torch.where(kept, labels, 0)], 0.0)


def _interpolation(like: Tensor, old: int, new: int, align_corners: bool) -> Tensor:
    """Return the matrix ``(new, old)`` of linear interpolation along one side."""
    eye = torch.eye(old, device=like.device, dtype=like.dtype).unsqueeze(0)
    return F.interpolate(eye, new, mode="linear", align_corners=align_corners)[0].mT


def _interpolated(logits: Tensor, down: Tensor | None, right: Tensor | None) -> Tensor:
    """Return a block of rows ``(N, C, r, W)``: products are deterministic on every device."""
    logits = at_least_float32(logits)
    return logits if down is None or right is None else down @ logits @ right.mT


def spread_cells(labels: Tensor, most: int, num_classes: int, ignore_index: int) -> Tensor:
    """Ignore all but ``most`` pixels of each class in each image, evenly spread in their order.

    Nothing is drawn, so that a run draws the same numbers whether its loss does this or not.

    Args:
        labels: ``(N, h, w)`` int64.
        most: At least 1.
        num_classes: C.
        ignore_index: Label of what does not count.
    """
    kept = labels != ignore_index
    image = torch.arange(len(labels), device=labels.device).view(-1, 1, 1)
    group = (torch.where(kept, labels, num_classes) + (num_classes + 1) * image).flatten()
    ordered, order = group.sort(stable=True)
    first = torch.searchsorted(ordered, ordered)
    count = torch.searchsorted(ordered, ordered, right=True) - first
    rank = torch.arange(len(group), device=labels.device) - first
    # Steps of the line through (0, 0) and (count, most); all of a group no larger than that.
    chosen = ((rank + 1) * most // count > rank * most // count) | (count <= most)
    mask = torch.zeros_like(chosen).index_put_((order,), chosen).view_as(kept)
    return torch.where(mask, labels, ignore_index)

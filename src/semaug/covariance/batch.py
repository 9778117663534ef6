"""The valid samples of a batch and their contribution to the statistics."""

from typing import NamedTuple

import torch
from torch import Tensor

from semaug._torch.distributed import gather_over_ranks, sum_over_ranks, world_size
from semaug.covariance.rows import ClassRows, all_classes, class_rows, is_static

__all__ = [
    "IGNORE_INDEX",
    "Samples",
    "Scatter",
    "deviations",
    "nearest_labels",
    "take_samples",
]

# N samples, C classes, A features, R rows of a table of classes, H x W and h x w pixels.

IGNORE_INDEX = -100  # torch's own
SAMPLES_PER_PIECE = 4096  # that travel through temporary memory at once


class Samples(NamedTuple):
    """Samples as rows of a table of classes; the features are ours to change.

    On a CPU those that do not count are gone, the others are sorted by row, and ``rows`` knows
    how many each row has. Elsewhere all are there, those that do not count with zeros.
    """

    features: Tensor  # (N, A)
    rows: ClassRows
    usable: Tensor | None  # (N,) bool, which count; None on a CPU
    skipped: Tensor | None  # int64 scalar, left out for their features; None is none
    in_sums: bool  # whether other ranks have others, so that sums over ranks are to be taken


class Scatter(NamedTuple):
    """Rows whose products ``x x^T``, summed by class, are added to (1 - share) S.

    They are scaled such that the sum is w S' + w (1 - w) d d^T, in the letters of
    :mod:`semaug.covariance.merging`, so that one symmetric product for each class finishes an
    update.
    """

    deviation: Tensor  # (N, A): sqrt(w / m) (feature - mean of its class in the batch)
    position: Tensor  # (N,) row of each; sorted where `samples` is known
    drift: Tensor  # (R, A): sqrt(w (1 - w)) d
    share: Tensor  # (R,): w
    samples: Tensor | None  # (R,) int64, how many deviations each row has, on a CPU
    usable: Tensor | None  # (N,) bool, whose deviations are not just zeros; elsewhere


def take_samples(
    features: Tensor,
    labels: Tensor,
    rows: ClassRows | None,
    *,
    num_classes: int,
    dtype: torch.dtype,
    ignore_index: int | None,
    sums_over_ranks: bool,
    max_batch_size: int | None,
) -> Samples:
    """Join the batches of all ranks, or not if sums can be joined, and sort out what counts.

    Args:
        features: ``(N, A)``, or ``(N, A, h, w)``, whose pixels are samples, too many to
            travel between ranks.
        labels: ``(N,)`` or ``(N h w,)``.
        rows: The classes of ``labels``, where known already.
        num_classes: C.
        dtype: Of the statistics.
        ignore_index: Label of samples that do not count.
        sums_over_ranks: Whether the sums of all ranks are as good as their samples.
        max_batch_size: See :class:`semaug.ClassCovariance`.
    """
    features = features.detach()
    static, dense = is_static(features.device), features.ndim == 4
    in_sums = dense and sums_over_ranks and world_size() > 1
    gathers = world_size() > 1 and not in_sums
    if dense and (static or gathers):
        features = features.movedim(1, 3).flatten(0, 2)
    if gathers:
        if ignore_index is not None:
            labels = torch.where(labels == ignore_index, IGNORE_INDEX, labels)
        ignore_index = IGNORE_INDEX  # also the label of what fills up a batch
        features, labels = gather_over_ranks(features, labels, max_batch_size, IGNORE_INDEX)
        rows = None
    features = features.to(dtype)
    if rows is None:
        rows = class_rows(labels, num_classes, ignore_index)
    if in_sums and not rows.complete:
        position = rows.classes[rows.position]
        rows = all_classes(num_classes, position)._replace(kept=rows.kept)
    return (_zeroed if static else _sorted)(features, rows, in_sums)


def _sorted(features: Tensor, rows: ClassRows, in_sums: bool) -> Samples:
    largest = _largest_feature(features.dtype)
    kept, samples, position = rows.kept, rows.samples, rows.position
    skipped = None
    if not torch.linalg.vector_norm(features) < largest:  # a quick look at all at once
        finite = features.abs().amax(dim=1).flatten() < largest
        skipped = (~finite if kept is None else kept & ~finite).sum()
        kept = finite if kept is None else kept & finite
    if in_sums:
        skipped = sum_over_ranks(rows.classes.new_zeros(()) if skipped is None else skipped)
    if kept is None:
        position, order = position.sort(stable=True)
    else:
        order = kept.nonzero().squeeze(1)
        position, inner = position[order].sort(stable=True)
        order = order[inner]
    if kept is not None or samples is None:
        samples = torch.bincount(position, minlength=len(rows.classes))
    rows = rows._replace(position=position, samples=samples, kept=None)
    if features.ndim == 2:
        features = features.index_select(0, order)
    else:
        pixels = features.flatten(2)  # (N, A, h w), sorted in one copy
        num_pixels = pixels.shape[2]
        features = pixels[order // num_pixels, :, order % num_pixels]
    return Samples(features, rows, None, skipped, in_sums)


def _zeroed(features: Tensor, rows: ClassRows, in_sums: bool) -> Samples:
    finite = features.abs().amax(dim=1) < _largest_feature(features.dtype)
    usable = finite if rows.kept is None else finite & rows.kept
    skipped = (~finite if rows.kept is None else rows.kept & ~finite).sum()
    if in_sums:
        sum_over_ranks(skipped)
    features = torch.where(usable.unsqueeze(1), features, 0.0)
    return Samples(features, rows._replace(samples=None), usable, skipped, in_sums)


def deviations(samples: Samples, mean: Tensor, factor: Tensor) -> Tensor:
    """``factor (feature - mean)`` for mean (R, A) and factor (R,), in place of the features."""
    features, position = samples.features, samples.rows.position
    factor = factor[position]
    if samples.usable is not None:
        factor = factor * samples.usable
    if samples.usable is not None or len(features) <= SAMPLES_PER_PIECE:
        return features.sub_(mean[position]).mul_(factor.unsqueeze(1))
    pieces = (part.split(SAMPLES_PER_PIECE) for part in (features, position, factor))
    for piece, row, scale in zip(*pieces, strict=True):
        piece.sub_(mean[row]).mul_(scale.unsqueeze(1))
    return features


def nearest_labels(labels: Tensor, size: torch.Size, align_corners: bool | None = None) -> Tensor:
    """Take labels (N, H, W) at another resolution (h, w): those nearest to its pixels.

    ``align_corners`` says where these lie, as in bilinear interpolation. None takes labels as
    ``nearest`` interpolation does, which is up to a pixel above and left of the middle.
    Labels (N,) have no resolution: their size is ().
    """
    for dim, length in enumerate(size, 1):
        old = labels.shape[dim]
        if old != length:
            index = torch.arange(length, device=labels.device)
            if align_corners:
                gaps = max(length - 1, 1)
                index = (2 * index * (old - 1) + gaps) // (2 * gaps)
            else:
                half = align_corners is False
                index = (2 * index + half) * old // (2 * length)
            labels = labels.index_select(dim, index)
    return labels


def _largest_feature(dtype: torch.dtype) -> float:
    """Bound on features, 4e9 in float32: the fourth root of the largest number.

    Their squares reach its square root, which leaves as much again for the squares of weights and
    the sums over features that make a loss of them. Features that large are of a training that
    diverges, and one accepted would spoil the statistics of its class for good.
    """
    bound: float = torch.finfo(dtype).max ** 0.25
    return bound

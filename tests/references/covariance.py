"""Statistics of all samples at once, one sample at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


def covariances_by_loops(
    batches: Sequence[Batch],
    num_classes: int,
    kind: str,
    *,
    memory: float | None = None,
    shrinkage: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Count (C,), mean (C, A) and what the losses see, (C, A, A).

    For ``shared`` count and mean are (1,) and (1, A). A ``low_rank`` of full rank is ``full``,
    and ``learned`` has learned nothing yet.
    """
    groups = 1 if kind == "shared" else num_classes
    num_features = batches[0][0].shape[1]
    count = torch.zeros(groups, dtype=torch.int64)
    samples: list[list[tuple[float, Tensor]]] = [[] for _ in range(groups)]
    pooled = torch.zeros(num_features, num_features, dtype=torch.float64)
    for features, labels in batches:
        old = samples
        new: list[list[tuple[float, Tensor]]] = [[] for _ in range(groups)]
        for x, y in zip(features, labels.tolist(), strict=True):
            new[0 if kind == "shared" else y].append((1.0, x))
        count += torch.tensor([len(own) for own in new])
        if memory is not None:
            old = [
                [(weight * memory ** len(fresh), x) for weight, x in own]
                for own, fresh in zip(old, new, strict=True)
            ]
        samples = [a + b for a, b in zip(old, new, strict=True)]
        pooled = _pooled(pooled, old, samples, exact=memory is None)
    mean = torch.stack([_moments(own, num_features)[1] for own in samples])
    covariance = torch.stack([_moments(own, num_features)[2] for own in samples])
    if kind in ("identity", "learned"):
        covariance = torch.eye(num_features, dtype=torch.float64).repeat(num_classes, 1, 1)
    if kind == "diagonal":
        covariance, pooled = (torch.diag_embed(x.diagonal(0, -2, -1)) for x in (covariance, pooled))
    if shrinkage is not None:
        weights = [_moments(own, num_features)[0] for own in samples]
        amounts = [shrinkage / (n + shrinkage) if n + shrinkage > 0 else 0.0 for n in weights]
        covariance = torch.stack(
            [(1 - g) * s + g * pooled for g, s in zip(amounts, covariance, strict=True)]
        )
    return count, mean, covariance.expand(num_classes, -1, -1)


def _moments(samples: list[tuple[float, Tensor]], length: int) -> tuple[float, Tensor, Tensor]:
    """Total weight, mean and population covariance."""
    total = sum(weight for weight, _ in samples)
    if not samples:
        return 0.0, torch.zeros(length).double(), torch.zeros(length, length).double()
    mean = sum(weight * x for weight, x in samples) / total
    covariance = sum(weight * torch.outer(x - mean, x - mean) for weight, x in samples) / total
    return total, mean, covariance


def _pooled(before: Tensor, old: list, samples: list, *, exact: bool) -> Tensor:
    """Mean of the covariances of all classes, weighted by their samples.

    What fades does so at one rate for all classes, so then it is a recursion: the share of the
    old samples times what was before, and what the batch changes.
    """
    length = len(before)
    totals = [_moments(own, length)[0] for own in samples]
    everything = sum(totals)
    if everything == 0:
        return before
    result = torch.zeros_like(before)
    if not exact:
        result += sum(_moments(own, length)[0] for own in old) / everything * before
    for total, earlier, own in zip(totals, old, samples, strict=True):
        change = _moments(own, length)[2]
        if not exact and total > 0:
            change = change - _moments(earlier, length)[0] / total * _moments(earlier, length)[2]
        result += total / everything * change
    return result

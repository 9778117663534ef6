"""Differences between views, one image, one pair of views and one position at a time.

Sources: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, Eqs. (1) to (3), and
the docstrings of semaug.losses.invariance.
"""

import torch
from torch import Tensor

from tests.references.losses import reduce


def kl(target: Tensor, prediction: Tensor) -> Tensor:
    """KL divergence from a target distribution (C,) to a prediction (C,)."""
    return sum(p * (p / q).log() for p, q in zip(target, prediction, strict=True))


def distance_of_view(view: Tensor, other: Tensor, metric: str, target_gradient: bool) -> Tensor:
    """What one view (C,), the target, has to do with one other: half of what a pair has."""
    if metric == "both":
        parts = ("kl", "euclidean")
        return sum(distance_of_view(view, other, part, target_gradient) for part in parts)
    if metric == "kl":
        target = view.softmax(dim=0)
        return kl(target if target_gradient else target.detach(), other.softmax(dim=0))
    squares = sum((a - b) ** 2 for a, b in zip(view, other, strict=True))
    return (squares.sqrt() if metric == "euclidean" else squares) / 2


def difference_of_vectors(
    vectors: Tensor,
    *,
    metric: str = "kl",
    reference: str = "every",
    target_gradient: bool = True,
    temperature: float = 1.0,
    threshold: float = 0.0,
) -> Tensor:
    """What V views (V, C) of one image differ by."""
    num_views = len(vectors)
    if reference == "mixture":
        probs = [vector.softmax(dim=0) for vector in vectors]
        mixture = sum(probs) / num_views
        return sum(kl(p, mixture) for p in probs) / num_views
    if reference == "first":
        first, *others = vectors
        if first.softmax(dim=0).max() <= threshold:
            return vectors.sum() * 0
        target = (first / temperature).softmax(dim=0)
        target = target if target_gradient else target.detach()
        return sum(kl(target, other.softmax(dim=0)) for other in others) / len(others)
    loss = vectors.new_zeros(())
    for i in range(num_views):
        for j in range(num_views):
            if i != j:
                loss = loss + distance_of_view(vectors[i], vectors[j], metric, target_gradient)
    return loss / (num_views - 1)


def invariance_by_loops(views: Tensor, *, reduction: str = "mean", **options) -> Tensor:
    """Mean over images and positions of views (V, N, C) or (V, N, C, H, W)."""
    positions = views.movedim(2, -1).flatten(1, -2)  # (V, N * H * W, C)
    losses = [difference_of_vectors(positions[:, n], **options) for n in range(positions.shape[1])]
    shape = views.shape[1:2] + views.shape[3:]
    return reduce(torch.stack(losses).view(shape), reduction, len(losses))

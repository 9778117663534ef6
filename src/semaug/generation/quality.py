"""How good generated images are: distances between features of made and of real images.

None of these numbers is an FID: that has the features of one Inception network, and these have
those that you name. Numbers of different feature spaces, or of different numbers of images, cannot
be compared: the Fréchet distance falls with the number of images even where nothing else changes.

>>> import torch
>>> real = torch.tensor([[0.0], [2.0]])
>>> frechet_distance(real, real + 3)
9.0

Source: Heusel et al., NeurIPS 2017, https://arxiv.org/abs/1706.08500 (Fréchet distance); Binkowski
et al., ICLR 2018, https://arxiv.org/abs/1801.01401 (kernel distance); Kynkäänniemi et al., NeurIPS
2019, https://arxiv.org/abs/1904.06991 (precision and recall)
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_positive_int, check_shapes

__all__ = [
    "Neighbours",
    "class_consistency",
    "frechet_distance",
    "kernel_distance",
    "nearest_neighbours",
    "precision_and_recall",
    "small_pixels",
]

# N made and M real images with A features.

_AT_ONCE = 1024  # rows of a matrix of distances
_SIDE = 8  # of small pixels


def small_pixels(images: Tensor) -> Tensor:
    """Return the pixels of images averaged to 8 x 8, on a scale of 0 to 1, as features.

    Args:
        images: ``(N, C, H, W)`` uint8.

    Returns:
        ``(N, C * 64)`` float64.
    """
    side = min(_SIDE, *images.shape[2:])
    return F.adaptive_avg_pool2d(images.double() / 255, side).flatten(1)


def frechet_distance(made: Tensor, real: Tensor) -> float:
    """Return the Fréchet distance of two normal distributions with the moments of features.

        |m - m'|^2 + trace(S + S' - 2 (S^(1/2) S' S^(1/2))^(1/2))

    In float64, by symmetric eigenvalues: covariances of fewer images than features do no harm.

    Args:
        made: ``(N, A)``, N > 1.
        real: ``(M, A)``, M > 1.

    Raises:
        ValueError: If shapes disagree, or there are too few images.
    """
    _check("frechet_distance", made, real, 2)
    (mean, covariance), (other_mean, other) = map(_moments, (made, real))
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    both = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    apart = (mean - other_mean).square().sum()
    return max(0.0, float(apart + covariance.trace() + other.trace() - 2 * both))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double()
    return features.mean(dim=0), torch.cov(features.mT).reshape(features.shape[1], -1)


def kernel_distance(made: Tensor, real: Tensor) -> float:
    """Return the squared maximum mean discrepancy of features, without bias: it may be below 0.

    The kernel is ``(x · y / A + 1)^3``, that of the kernel inception distance; all pairs are used.

    Args:
        made: ``(N, A)``, N > 1.
        real: ``(M, A)``, M > 1.

    Raises:
        ValueError: If shapes disagree, or there are too few images.
    """
    _check("kernel_distance", made, real, 2)

    def mean(one: Tensor, other: Tensor, same: bool) -> float:
        total = sum(float(_kernel(own, other).sum()) for own in one.double().split(_AT_ONCE))
        if not same:
            return total / (len(one) * len(other))
        own = (one.double().square().sum(dim=1) / one.shape[1] + 1).pow(3).sum()
        return (total - float(own)) / (len(one) * (len(one) - 1))

    return mean(made, made, True) + mean(real, real, True) - 2 * mean(made, real, False)


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.double().mT / one.shape[1] + 1).pow(3)


def precision_and_recall(made: Tensor, real: Tensor, k: int = 3) -> tuple[float, float]:
    """Return how many generated images are like real ones, and the other way round, from 0 to 1.

    A feature is like those of a set if it lies in the ball of one of them, whose radius is the
    distance to the k-th nearest other one.

    Args:
        made: ``(N, A)``, N > k.
        real: ``(M, A)``, M > k.
        k: How many neighbours.

    Raises:
        TypeError: If ``k`` is no int.
        ValueError: If shapes disagree, or there are too few images.
    """
    check_positive_int("precision_and_recall", k=k)
    _check("precision_and_recall", made, real, k + 1)
    return _share_inside(made, real, k), _share_inside(real, made, k)


def _share_inside(one: Tensor, other: Tensor, k: int) -> float:
    radii = torch.cat(
        [
            torch.cdist(own, other.double()).kthvalue(k + 1).values  # the nearest is itself
            for own in other.double().split(_AT_ONCE)
        ]
    )
    inside = [
        (torch.cdist(own, other.double()) <= radii).any(dim=1)
        for own in one.double().split(_AT_ONCE)
    ]
    return float(torch.cat(inside).double().mean())


class Neighbours(NamedTuple):
    """The nearest of some references to each query."""

    distances: Tensor  # (N, k) float64, ascending
    places: Tensor  # (N, k) int64


def nearest_neighbours(queries: Tensor, references: Tensor, k: int = 5) -> Neighbours:
    """Find the nearest references by Euclidean distance, exactly.

    Args:
        queries: ``(N, A)`` features; for pixels ``images.flatten(1)``, of bytes too.
        references: ``(M, A)``, M >= k.
        k: How many.

    Raises:
        TypeError: If ``k`` is no int.
        ValueError: If shapes disagree, or there are too few references.
    """
    check_positive_int("nearest_neighbours", k=k)
    _check("nearest_neighbours", queries, references, 0)
    if len(references) < k:
        raise ValueError(
            f"nearest_neighbours: expected at least {k} references, got {len(references)}"
        )
    found = []
    norms = torch.cat([own.double().square().sum(1) for own in references.split(_AT_ONCE)])
    for own in queries.split(_AT_ONCE):
        squares = torch.cat(
            [own.double() @ part.double().mT for part in references.split(8 * _AT_ONCE)], dim=1
        )
        squares = own.double().square().sum(1, keepdim=True) + norms - 2 * squares
        found.append(squares.topk(k, largest=False))
    values = torch.cat([one.values for one in found]).clamp(min=0).sqrt()
    return Neighbours(values, torch.cat([one.indices for one in found]))


def class_consistency(logits: Tensor, labels: Tensor) -> float:
    """Return the share of generated images whose class a classifier of real images agrees on.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` int64, what the images were made as.

    Raises:
        ValueError: If shapes disagree.
    """
    check_shapes("class_consistency", logits=(logits, "N C"), labels=(labels, "N"))
    return float((logits.argmax(dim=1) == labels).double().mean())


def compare_features(made: Tensor, real: Tensor) -> dict[str, Any]:
    """Return all numbers of two sets of features, by name."""
    precision, recall = precision_and_recall(made, real)
    return {
        "frechet_distance": frechet_distance(made, real),
        "kernel_distance": kernel_distance(made, real),
        "precision": precision,
        "recall": recall,
    }


def _check(function: str, made: Tensor, real: Tensor, fewest: int) -> None:
    """Check features of two sets.

    Raises:
        ValueError: If shapes disagree, or there are too few images.
    """
    check_shapes(function, made=(made, "N A"), real=(real, "M A"))
    if min(len(made), len(real)) < fewest:
        raise ValueError(
            f"{function}: expected at least {fewest} images of each set, got {len(made)} and "
            f"{len(real)}"
        )

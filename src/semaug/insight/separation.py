"""How far features of classes lie apart, in the space of the features itself.

A t-SNE layout is no evidence: it makes clusters of what is hardly apart, and their sizes mean
nothing. These numbers do not change where all features are scaled, moved or rotated alike.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.checks import check_labels, check_positive_int, check_shapes

# N samples, n of them, C classes, A features, K neighbors.

_AT_ONCE = 1000


@dataclass(frozen=True)
class Separation:
    """How far classes lie apart.

    Args:
        neighbor_purity: Share of the K nearest neighbors that are of the class of a sample, mean
            over samples; higher is better.
        scatter_ratio: Mean squared distance to the mean of the own class, over that of these means
            to the mean of all; lower is better.
        silhouette: Of Rousseeuw (1987): (b - a) / max(a, b) for the mean distances a to the own
            class and b to the nearest other class, mean over samples; from -1 to 1, higher is
            better.
    """

    neighbor_purity: float
    scatter_ratio: float
    silhouette: float


@torch.no_grad()
def measure_separation(features: Tensor, labels: Tensor, num_neighbors: int = 10) -> Separation:
    """Measure how far classes lie apart.

    Args:
        features: ``(N, A)``.
        labels: ``(N,)`` int64; of two classes at least.
        num_neighbors: K; fewer where there are fewer other samples.

    Raises:
        TypeError: If the labels are no int64, or the number no int.
        ValueError: If shapes disagree, or there are fewer than two classes or neighbors than one.

    >>> found = measure_separation(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([0, 0, 1]), 1)
    >>> round(found.neighbor_purity, 3), round(found.silhouette, 3)
    (0.667, 0.588)
    """
    name = "measure_separation"
    check_shapes(name, features=(features, "N A"), labels=(labels, "N"))
    check_labels(name, labels)
    (num_neighbors,) = check_positive_int(name, num_neighbors=num_neighbors)
    classes, labels = labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{name}: expected `labels` of two classes, got {len(classes)}")
    features, one_hot = features.double(), F.one_hot(labels).double()
    count = one_hot.sum(dim=0)
    means = one_hot.T @ features / count.unsqueeze(1)
    within = (features - means[labels]).square().sum(dim=1).mean()
    apart = (means - features.mean(dim=0)).square().sum(dim=1)
    purity: list[Tensor] = []
    silhouette: list[Tensor] = []
    nearest = min(num_neighbors, len(features) - 1)
    for own, of in zip(features.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True):
        start = _AT_ONCE * len(purity)
        rows = torch.arange(len(own), device=own.device)
        distances = torch.cdist(own, features, compute_mode="donot_use_mm_for_euclid_dist")
        sums = distances @ one_hot  # (n, C)
        others = (sums / count).scatter(1, of.unsqueeze(1), torch.inf).amin(dim=1)
        mates = (count[of] - 1).clamp(min=1)
        inside = sums[rows, of] / mates
        larger = torch.maximum(inside, others)
        scores = torch.where(larger > 0, (others - inside) / larger, 0)
        silhouette.append(scores.where(count[of] > 1, 0))
        distances[rows, start + rows] = torch.inf
        found = labels[distances.topk(nearest, largest=False).indices]
        purity.append((found == of.unsqueeze(1)).double().mean(dim=1))
    return Separation(
        float(torch.cat(purity).mean()),
        float(within / (apart @ count / len(features))),
        float(torch.cat(silhouette).mean()),
    )

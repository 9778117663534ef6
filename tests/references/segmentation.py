"""One step of segmentation with ISDA, pixel by pixel and class by class, in float64.

Sources: the docstrings of semaug.methods.segmentation and semaug.losses.hard_pixels.
"""

import torch
from torch import Tensor

from tests.references.losses import dense_isda_by_loops, labels_at


def variances_by_loops(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Covariances (C, A, A) of the pixels of each class, zero of absent ones."""
    num_features = features.shape[1]
    found = torch.zeros(num_classes, num_features, num_features, dtype=features.dtype)
    for c in range(num_classes):
        own = torch.stack(
            [
                features[n, :, y, x]
                for n, y, x in torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist()
                if labels[n, y, x] == c
            ]
            or [torch.zeros(num_features, dtype=features.dtype)]
        )
        mean = own.sum(dim=0) / len(own)
        for one in own:
            found[c] += torch.outer(one - mean, one - mean) / len(own)
    return found


def head_by_loops(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    labels: Tensor,
    *,
    strength: float,
    dense: str = "exact",
    diagonal: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """ISDA of a head with the statistics of this step alone, and corners aligned."""
    logits = torch.einsum("nahw,ca->nchw", features, weight) + bias.view(1, -1, 1, 1)
    low = labels_at(labels, *features.shape[2:], None if dense == "faithful" else True)
    covariance = variances_by_loops(features.detach(), low, len(weight))
    if diagonal:
        covariance = torch.stack([one.diagonal().diag() for one in covariance])
    return dense_isda_by_loops(
        logits,
        labels,
        weight,
        covariance,
        strength=strength,
        dense=dense,
        align_corners=True,
        class_weights=class_weights,
    )


def hard_pixels_by_loops(
    losses: Tensor, labels: Tensor, *, threshold: float, kept: int, ignore_index: int = -100
) -> Tensor:
    """Pixels whose class is improbable, or among the k most improbable of every 64th pixel."""
    probs = sorted(
        float((-losses[n, y, x]).exp())
        for n in range(len(losses))
        for y in range(0, losses.shape[1], 8)
        for x in range(0, losses.shape[2], 8)
        if labels[n, y, x] != ignore_index
    )
    k = kept // 64
    bound = threshold
    if k >= len(probs):
        bound = 1.0
    elif k > 0:
        bound = max(threshold, probs[k - 1])
    mask = torch.zeros(labels.shape, dtype=torch.bool)
    for n, y, x in torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist():
        known = labels[n, y, x] != ignore_index
        mask[n, y, x] = known and float((-losses[n, y, x]).exp()) <= bound
    return mask

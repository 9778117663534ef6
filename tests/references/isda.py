"""ISDA, one number at a time.

Source: Wang et al., https://arxiv.org/abs/2007.10538, Eqs. (1) to (3) and (7).
"""

import math

import torch
from torch import Tensor


def covariance_by_loops(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """Count (C,), mean (C, A) and population covariance (C, A, A) of all samples at once."""
    num_features = features.shape[1]
    count = torch.zeros(num_classes, dtype=torch.int64)
    mean = torch.zeros(num_classes, num_features, dtype=features.dtype)
    covariance = torch.zeros(num_classes, num_features, num_features, dtype=features.dtype)
    for c in range(num_classes):
        own = [x for x, y in zip(features, labels.tolist(), strict=True) if y == c]
        count[c] = len(own)
        if own:
            mean[c] = sum(own) / len(own)
            covariance[c] = sum(torch.outer(x - mean[c], x - mean[c]) for x in own) / len(own)
    return count, mean, covariance


def quadratic_form_by_loops(weight: Tensor, covariance: Tensor) -> Tensor:
    """Q[c, j] = (w_j - w_c)^T S_c (w_j - w_c), (C, C)."""
    if covariance.ndim == 2:
        covariance = torch.diag_embed(covariance)
    rows = []
    for c in range(len(weight)):
        differences = [w - weight[c] for w in weight]
        rows.append(torch.stack([v @ covariance[c] @ v for v in differences]))
    return torch.stack(rows)


def isda_loss_by_loops(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor,
    *,
    strength: float,
    reduction: str = "mean",
) -> Tensor:
    """Sum over j of exp(z_j - z_y + strength / 2 v^T S v), its logarithm, for each sample."""
    q = quadratic_form_by_loops(weight, covariance)
    losses = []
    for z, y in zip(logits, labels.tolist(), strict=True):
        terms = [torch.exp(z[j] - z[y] + strength / 2 * q[y, j]) for j in range(len(z))]
        losses.append(torch.log(sum(terms)))
    stacked = torch.stack(losses)
    return {"none": stacked, "sum": stacked.sum(), "mean": stacked.sum() / len(losses)}[reduction]


def expected_cross_entropy(
    features: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor,
    covariance: Tensor,
    *,
    strength: float,
    num_samples: int,
    generator: torch.Generator,
) -> tuple[float, float]:
    """Monte Carlo estimate of the loss over explicit augmentation, and its standard error."""
    root = torch.linalg.cholesky(covariance)[labels]  # (N, A, A)
    noise = torch.randn(
        num_samples, *features.shape, generator=generator, dtype=features.dtype
    ).unsqueeze(-1)
    augmented = features + math.sqrt(strength) * (root @ noise).squeeze(-1)  # (M, N, A)
    logits = augmented @ weight.T + bias
    losses = -logits.log_softmax(-1).gather(2, labels.expand(num_samples, -1).unsqueeze(2))
    means = losses.squeeze(2).mean(dim=1)
    return means.mean().item(), (means.std() / math.sqrt(num_samples)).item()

"""How far the outputs of several views of an image are apart.

With p_i = softmax(z_i) of view i, l_i = log p_i, and means over the views,

    sum over i != j of KL(p_i || p_j) = V * sum over i of (p_i - mean p) . (l_i - mean l)

Nothing large cancels in it, so it is exact for views that agree almost. Its gradient is twofold:
what the second factor gives is that of the KL terms with their targets p_i taken as constants, what
the first one gives is the rest.
"""

import math

import torch
from torch import Tensor

__all__ = [
    "divergence_from_each_other",
    "divergence_from_first",
    "divergence_from_mixture",
    "euclidean_distance",
    "squared_distance",
]

# V views, N samples, C channels or classes. Views are (V, N, C, ...), at least float32, and what
# is returned is (N, ...).


def divergence_from_each_other(logits: Tensor, target_gradient: bool) -> Tensor:
    """``1 / (V - 1)`` times the sum of ``KL(p_i || p_j)`` over i != j."""
    log_probs = logits.log_softmax(dim=2)
    probs = (log_probs if target_gradient else log_probs.detach()).exp()
    losses = (_centred(probs) * _centred(log_probs)).sum(dim=(0, 2))
    return _not_negative(_per_partner(losses, len(logits)))


def divergence_from_mixture(logits: Tensor) -> Tensor:
    """Mean of ``KL(p_i || m)``, m the mean of all p."""
    log_probs = logits.log_softmax(dim=2)
    log_mixture = log_probs.logsumexp(dim=0) - math.log(len(logits))
    log_ratio = log_probs - log_mixture  # at most log V
    # The second term is p - m, of which the sum is 0: without it, terms are of first order in the
    # ratio, and their sum is of second.
    terms = log_probs.exp() * log_ratio - log_mixture.exp() * log_ratio.expm1()
    return _not_negative(terms.sum(dim=(0, 2)) / len(logits))


def divergence_from_first(
    logits: Tensor, target_gradient: bool, temperature: float, threshold: float
) -> Tensor:
    """Mean of ``KL(p_0 || p_j)`` over j > 0, where p_0 is confident enough; elsewhere 0."""
    target = logits[0] if target_gradient else logits[0].detach()
    log_target = (target / temperature).log_softmax(dim=1)
    log_ratio = log_target - logits[1:].log_softmax(dim=2)
    losses = _not_negative((log_target.exp() * log_ratio).sum(dim=2).mean(dim=0))
    if threshold == 0:
        return losses
    confidence = logits[0].detach().softmax(dim=1).amax(dim=1)
    return torch.where(confidence > threshold, losses, 0.0)


def euclidean_distance(views: Tensor) -> Tensor:
    """``1 / (V - 1)`` times the sum of distances over i < j. Views that agree have gradient 0."""
    losses = torch.zeros_like(views[0, :, 0])
    for i in range(len(views) - 1):
        losses = losses + torch.linalg.vector_norm(views[i + 1 :] - views[i], dim=2).sum(dim=0)
    return losses / (len(views) - 1)


def squared_distance(views: Tensor) -> Tensor:
    """``1 / (V - 1)`` times the sum of squared distances over i < j."""
    return _per_partner(_centred(views).square().sum(dim=(0, 2)), len(views))


def _centred(views: Tensor) -> Tensor:
    """Subtract the mean over views; of equal views exactly."""
    views = views - views[0].detach()
    return views - views.mean(dim=0)


def _per_partner(sums: Tensor, num_views: int) -> Tensor:
    """Turn a sum over views of what is centred into one over pairs, for each of V - 1 partners."""
    return sums * (num_views / (num_views - 1))


def _not_negative(losses: Tensor) -> Tensor:
    """Take away what rounding puts below zero, and nothing from the gradient."""
    return losses - losses.detach().clamp(max=0)

"""The robust losses, one sample, one class and one number at a time.

Sources: the docstrings of semaug.losses.
"""

import math

import torch
from torch import Tensor

from tests.references.losses import reduce, samples_and_targets


def of_probs(logits: Tensor, labels: Tensor, loss, ignore_index: int, reduction: str) -> Tensor:
    """Mean of ``loss(p, k)`` over the classes k of each sample or pixel, with their shares."""
    losses, divisor = [], 0
    for _, z, target in samples_and_targets(logits, labels):
        if not target.is_floating_point() and target == ignore_index:
            losses.append(z.new_zeros(()))
            continue
        shares = target if target.is_floating_point() else torch.eye(len(z))[target]
        probs = z.softmax(dim=0)
        losses.append(
            sum(t * loss(p, k) for k, (t, p) in enumerate(zip(shares, probs, strict=True)))
        )
        divisor += 1
    return reduce(torch.stack(losses).view(len(logits), *logits.shape[2:]), reduction, divisor)


def focal_by_loops(
    logits, labels, *, gamma=2.0, alpha=1.0, ignore_index=-100, reduction="mean"
) -> Tensor:
    """``-alpha (1 - p)^gamma log p``."""

    def loss(p, k):
        own = alpha[k] if isinstance(alpha, Tensor) else alpha
        return -own * (1 - p) ** gamma * p.log()

    return of_probs(logits, labels, loss, ignore_index, reduction)


def lq_by_loops(
    logits, labels, *, q=0.7, truncation=0.0, ignore_index=-100, reduction="mean"
) -> Tensor:
    """``(1 - p^q) / q``, with p of at least ``truncation``."""

    def loss(p, k):
        p = p if p > truncation else torch.tensor(truncation, dtype=p.dtype)
        return (1 - p**q) / q if q else -p.log()

    return of_probs(logits, labels, loss, ignore_index, reduction)


def disturbed_label_probs(label: int, num_classes: int, rate: float, include_true: bool) -> Tensor:
    """Probability of each class to be the label that a sample gets."""
    others = num_classes - 1
    share = rate / num_classes if include_true else rate / others
    probs = torch.full((num_classes,), share, dtype=torch.float64)
    probs[label] = 1 - others * share
    return probs


def psi_of_angle(theta: Tensor, margin: int) -> Tensor:
    """``(-1)^k cos(m theta) - 2 k`` for theta between k pi / m and (k + 1) pi / m."""
    k = min(int(theta * margin / math.pi), margin - 1)
    return (-1) ** k * (margin * theta).cos() - 2 * k


def large_margin_by_loops(
    logits, labels, features, weight, *, margin, annealing=0.0, ignore_index=-100, reduction="mean"
) -> Tensor:
    """The form of the source, of a classifier without bias; the logits are not looked at."""
    losses, divisor = [], 0
    for a, label in zip(features, labels, strict=True):
        if label == ignore_index:
            losses.append(a.new_zeros(()))
            continue
        z = torch.stack([w @ a for w in weight])
        norms = weight[label].norm() * a.norm()
        cosine = z[label] / norms
        psi = psi_of_angle(cosine.acos(), margin)
        own = norms * (annealing * cosine + psi) / (1 + annealing)
        rows = torch.stack([own if k == label else z[k] for k in range(len(z))])
        losses.append(rows.logsumexp(dim=0) - own)
        divisor += 1
    return reduce(torch.stack(losses), reduction, divisor)


def center_by_loops(logits, labels, features, centers, *, strength, ignore_index=-100) -> Tensor:
    """Cross-entropy and half the mean squared distance to the centers."""
    losses = []
    for z, label, a in zip(logits, labels, features, strict=True):
        if label != ignore_index:
            distance = sum((x - c) ** 2 for x, c in zip(a, centers[label], strict=True))
            losses.append(z.logsumexp(dim=0) - z[label] + strength / 2 * distance)
    return torch.stack(losses).mean()


def moved_centers(labels, features, centers, *, center_lr, update) -> Tensor:
    """Centers after a step by one of the two rules."""
    moved = centers.clone()
    for k in range(len(centers)):
        own = features[labels == k]
        if update == "paper":
            step = (centers[k] - own).sum(dim=0) / (1 + len(own))
        else:
            step = 2 * (centers[k] - own).sum(dim=0) / len(labels)
        moved[k] = centers[k] - center_lr * step
    return moved


def distribution_net_by_loops(
    logits, labels, weight, std, noise, *, threshold, sampled_weight, entropy_weight
) -> Tensor:
    """Cross-entropies of features and of their draws, and the hinge of each sample's entropy."""
    total = 0.0
    enough = 0.5 * (1 + math.log(2 * math.pi)) + math.log(threshold)
    for z, label, s, e in zip(logits, labels, std, noise, strict=True):
        drawn = z + weight @ (s * e)
        entropy = (0.5 * (1 + math.log(2 * math.pi)) + s.log()).mean()
        total = total + z.logsumexp(dim=0) - z[label]
        total = total + sampled_weight * (drawn.logsumexp(dim=0) - drawn[label])
        total = total + entropy_weight * max(enough - entropy, z.new_zeros(()))
    return total / len(logits)

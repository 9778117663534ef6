"""The losses, one sample, one class and one number at a time.

Covariances are matrices (C, A, A). Sources: https://arxiv.org/abs/2007.10538, Eqs. (7) and
(15), and the docstrings of semaug.losses.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.references.isda import quadratic_form_by_loops


def bound_of_class(
    z: Tensor,
    y: int,
    q: Tensor,
    strength: float,
    class_weights: Tensor,
    label_smoothing: float,
) -> Tensor:
    """Smoothed, weighted bound for one sample of class y with logits z (C,)."""
    num_classes = len(z)
    log_sum = (z + strength / 2 * q[y]).logsumexp(dim=0)
    loss = z.new_zeros(())
    for k in range(num_classes):
        target = (1 - label_smoothing) * (k == y) + label_smoothing / num_classes
        loss = loss + target * class_weights[k] * (log_sum - z[k])
    return loss


def isda_by_loops(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor,
    *,
    strength: float | list[float],
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """ISDA of class ids or of soft targets, of samples or of pixels."""
    class_weights = torch.ones(len(weight)) if class_weights is None else class_weights
    strengths = strength if isinstance(strength, list) else [strength] * len(logits)
    q = quadratic_form_by_loops(weight, covariance)
    losses, divisor = [], 0.0
    for n, z, target in samples_and_targets(logits, labels):

        def bound(y: int, smoothing: float = label_smoothing, z: Tensor = z, n: int = n) -> Tensor:
            return bound_of_class(z, y, q, strengths[n], class_weights, smoothing)

        if target.is_floating_point():  # of class k with probability own[k], and smoothed
            part = len(target) * min(target.tolist())
            part = part if 0 < part < 0.99 else 0.0
            own = (target - part / len(target)) / (1 - part)
            smoothing = part + label_smoothing - part * label_smoothing
            losses.append(sum(t * bound(k, smoothing) for k, t in enumerate(own)))
            divisor = divisor + 1
        elif target == ignore_index:
            losses.append(z.new_zeros(()))
        else:
            losses.append(bound(int(target)))
            divisor = divisor + class_weights[target]
    return reduce(torch.stack(losses).view(len(logits), *logits.shape[2:]), reduction, divisor)


def samples_and_targets(logits: Tensor, labels: Tensor) -> Iterable[tuple[int, Tensor, Tensor]]:
    """Index of the image, logits (C,) and target of each sample or pixel."""
    for n in range(len(logits)):
        if logits.ndim == 2:
            yield n, logits[n], labels[n]
            continue
        height, width = logits.shape[2:]
        for y in range(height):
            for x in range(width):
                if labels.is_floating_point():
                    yield n, logits[n, :, y, x], labels[n, :, y, x]
                    continue
                row, column = y * labels.shape[1] // height, x * labels.shape[2] // width
                yield n, logits[n, :, y, x], labels[n, row, column]


def reduce(losses: Tensor, reduction: str, divisor: float | Tensor) -> Tensor:
    """Losses themselves, their sum, or that over a divisor."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / divisor


def dense_isda_by_loops(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor,
    *,
    strength: float,
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    dense: str = "exact",
    align_corners: bool = False,
) -> Tensor:
    """Logits raised and interpolated, or interpolated and raised, or raised as they are."""
    class_weights = torch.ones(len(weight)) if class_weights is None else class_weights
    q = quadratic_form_by_loops(weight, covariance)
    height, width = logits.shape[2:]
    if dense != "exact":
        low = labels_at(labels, height, width, None if dense == "faithful" else align_corners)
    if dense == "features":
        labels = low
    size = labels.shape[1:]
    clean = F.interpolate(logits, size, mode="bilinear", align_corners=align_corners)
    raised = logits.clone() if dense == "faithful" else clean.clone()
    at = low if dense == "faithful" else labels
    for n, y, x in torch.cartesian_prod(*map(torch.arange, at.shape)).tolist():
        if at[n, y, x] != ignore_index:
            raised[n, :, y, x] += strength / 2 * q[at[n, y, x]]
    raised = F.interpolate(raised, size, mode="bilinear", align_corners=align_corners)
    losses, divisor = torch.zeros(labels.shape, dtype=logits.dtype), 0.0
    for n, y, x in torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist():
        label = int(labels[n, y, x])
        if label == ignore_index:
            continue
        log_sum = raised[n, :, y, x].logsumexp(dim=0)
        loss = (1 - label_smoothing) * class_weights[label] * (log_sum - raised[n, label, y, x])
        for k in range(len(weight)):
            smoothed = class_weights[k] * (log_sum - clean[n, k, y, x])
            loss = loss + label_smoothing / len(weight) * smoothed
        losses[n, y, x] = loss
        divisor = divisor + class_weights[label]
    return reduce(losses, reduction, divisor)


def labels_at(labels: Tensor, height: int, width: int, align_corners: bool | None) -> Tensor:
    """Take the label nearest to the place of each pixel; None: the one above and left of it."""

    def place(index: int, new: int, old: int) -> int:
        if align_corners is None:
            return math.floor(index * old / new)
        if align_corners:
            return math.floor(index * (old - 1) / max(new - 1, 1) + 0.5)
        return math.floor((index + 0.5) * old / new)

    rows = [place(y, height, labels.shape[1]) for y in range(height)]
    columns = [place(x, width, labels.shape[2]) for x in range(width)]
    return labels[:, rows][:, :, columns]


def multi_label_by_loops(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    covariance: Tensor,
    *,
    strength: float | list[float],
    class_weights: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of each logit, moved toward the mistake."""
    class_weights = torch.ones(len(weight)) if class_weights is None else class_weights
    pos_weight = torch.ones(len(weight)) if pos_weight is None else pos_weight
    strengths = strength if isinstance(strength, list) else [strength] * len(logits)
    losses = []
    for n, (z, t) in enumerate(zip(logits, targets, strict=True)):
        own = mean_covariance(t, covariance)
        for j in range(len(z)):
            r = strengths[n] / 2 * (weight[j] @ own @ weight[j])
            positive, negative = torch.log1p((r - z[j]).exp()), torch.log1p((z[j] + r).exp())
            loss = pos_weight[j] * t[j] * positive + (1 - t[j]) * negative
            losses.append(class_weights[j] * loss)
    return reduce(torch.stack(losses).view_as(logits), reduction, logits.numel())


def mean_covariance(targets: Tensor, covariance: Tensor) -> Tensor:
    """Mean over the labels of one sample, weighted by its targets (C,); nothing if it has none."""
    if targets.sum() == 0:
        return torch.zeros_like(covariance[0])
    return sum(t * s for t, s in zip(targets, covariance, strict=True)) / targets.sum()


def consistency_by_loops(
    logits: Tensor,
    weight: Tensor,
    covariance: Tensor,
    *,
    strength: float,
    probs: Tensor | None = None,
    reference: str = "every",
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy between a prediction, taken as constant, and that of augmented features."""
    losses = []
    for n, z in enumerate(logits):
        p = (z.softmax(dim=0) if probs is None else probs[n]).detach()
        y = int(p.argmax())
        loss = z.new_zeros(())
        for k in range(len(z)):
            one = k if reference == "every" else y
            differences = [w - weight[one] for w in weight]
            variance = torch.stack([v @ covariance[y] @ v for v in differences])
            loss = loss + p[k] * ((z + strength / 2 * variance).logsumexp(dim=0) - z[k])
        losses.append(loss)
    return reduce(torch.stack(losses), reduction, len(losses))


def root_of(covariance: Tensor) -> Tensor:
    """L with L L^T = S, also where S is singular."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt().unsqueeze(-2)


def noisy_logits(
    logits: Tensor,
    weight: Tensor,
    covariance: Tensor,
    strength: float,
    num_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Logits (M, N, C) of features with noise N(0, strength * S_n), for one S_n (N, A, A) each."""
    shape = num_samples, len(logits), weight.shape[1], 1
    noise = torch.randn(*shape, generator=generator, dtype=logits.dtype)
    return logits + math.sqrt(strength) * (root_of(covariance) @ noise).squeeze(-1) @ weight.T


def estimate(losses: Tensor) -> tuple[float, float]:
    """Mean of draws (M, ...), averaged over the rest, and its standard error."""
    means = losses.flatten(1).mean(dim=1)
    return means.mean().item(), (means.std() / math.sqrt(len(means))).item()

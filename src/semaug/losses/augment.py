"""Logits raised by the variance of augmented features.

With features that move by noise N(0, strength * S_y), S_y the covariance of the
sample's own class y, the logits become

    z'[n, j] = z[n, j] + strength / 2 * (w_j - w_y)^T S_y (w_j - w_y)

and cross-entropy on z' bounds, from above, the expected cross-entropy over all noise.

Source: Wang et al., NeurIPS 2019, https://arxiv.org/abs/1909.12220, Eq. (6); Eq. (7)
of https://arxiv.org/abs/2007.10538.
"""

import torch
from torch import Tensor

from semaug._checks import (
    check_at_least,
    check_floating,
    check_labels,
    check_same_device,
    check_shapes,
)
from semaug._classes import ClassRows
from semaug.covariance import ClassCovariance
from semaug.quadratic_form import check_weight_and_covariance, logit_variance

__all__ = ["augment_logits"]

# N samples, C classes, A features.


def augment_logits(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
) -> Tensor:
    """Raise the logits by half the variance that augmentation gives them.

    The common core of ISDA and its relatives: put any loss on top of it.

    Args:
        logits: ``(N, C)`` of the clean features.
        labels: ``(N,)`` int64 class ids.
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, one matrix for each class, or ``(C, A)`` variances, or
            an estimator; treated as constant.
        strength: lambda of the paper, at least 0; a tensor is not checked, because that
            would make an accelerator wait.

    Returns:
        ``(N, C)``, at least float32. The logit of a sample's own class is unchanged.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree or ``strength`` is negative.

    >>> logits, weight = torch.zeros(1, 2), torch.eye(2)
    >>> augment_logits(logits, torch.tensor([0]), weight, torch.ones(2, 2), strength=1.0)
    tensor([[0., 1.]])
    """
    check_logits_and_labels("augment_logits", logits, labels, weight)
    check_at_least("augment_logits", "strength", strength, 0)
    if isinstance(covariance, ClassCovariance):
        covariance = covariance.covariance
    check_weight_and_covariance("augment_logits", weight, covariance)
    return raise_logits(logits, labels, weight, covariance, strength)


def raise_logits(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor,
    strength: float | Tensor,
    rows: ClassRows | None = None,
) -> Tensor:
    """:func:`augment_logits` without the checks, for callers that may know the rows."""
    variance = logit_variance(weight, covariance, labels, rows)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits + variance * (0.5 * strength)


def check_logits_and_labels(
    function: str, logits: Tensor, labels: Tensor, weight: Tensor, **others: tuple[Tensor, str]
) -> None:
    """Check what every loss on labeled logits is given."""
    tensors = {"logits": logits, "labels": labels, "weight": weight}
    patterns = {"logits": "N C", "labels": "N", "weight": "C A"}
    check_shapes(function, **{k: (t, patterns[k]) for k, t in tensors.items()}, **others)
    check_labels(function, labels)
    check_floating(function, logits=logits, **{k: t for k, (t, _) in others.items()})
    check_same_device(function, **tensors, **{k: t for k, (t, _) in others.items()})

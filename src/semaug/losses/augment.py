"""Logits raised by the variance of augmented features.

With features that move by m and noise N(0, strength * S_y), S_y the covariance of the
sample's own class y, the logits become

    z'[n, j] = z[n, j] + (w_j - w_y)^T m_n + strength_n / 2 * (w_j - w_y)^T S_y (w_j - w_y)

and cross-entropy on z' bounds, from above, the expected cross-entropy over all noise.

Source: Proposition 1 of Wang et al., NeurIPS 2019, https://arxiv.org/abs/1909.12220, and T-PAMI
2021, https://arxiv.org/abs/2007.10538, where it is Eq. (7). A shift m: Li et al., CVPR 2021 (TSA).

Literal form: tests/references/isda.py, ``isda_loss_by_loops``.
"""

import torch
from torch import Tensor

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_tensors
from semaug.covariance import ClassCovariance
from semaug.covariance.batch import IGNORE_INDEX, nearest_labels
from semaug.covariance.form import class_variance
from semaug.covariance.quadratic_form import as_form
from semaug.covariance.rows import ClassRows, class_rows
from semaug.losses._arguments import check_logits_and_labels, checked_strength

__all__ = ["augment_logits"]

# N samples, C classes, A features, H x W pixels of labels, h x w pixels of logits.


def augment_logits(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
    mean_shift: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Raise the logits by half the variance that augmentation gives them.

    The common core of ISDA and its relatives: put any loss on top of it.

    Args:
        logits: ``(N, C)`` of the clean features, or ``(N, C, h, w)``.
        labels: ``(N,)`` int64 class ids, or ``(N, H, W)``, of which the pixels nearest to
            those of the logits count.
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, a symmetric positive semi-definite matrix for each class, or
            ``(C, A)`` variances, treated as constant; or an estimator.
        strength: lambda of the paper, at least 0, or ``(N,)``, one for each sample; a tensor
            is not checked, because that would make an accelerator wait.
        mean_shift: ``(N, A)``, where the augmented features of each sample have their mean,
            less its own features. Not for dense logits.
        ignore_index: Samples of this label keep their logits.

    Returns:
        The shape of ``logits``, at least float32. The logit of a sample's own class is
        unchanged.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree or ``strength`` is negative.

    >>> logits, weight = torch.zeros(1, 2), torch.eye(2)
    >>> augment_logits(logits, torch.tensor([0]), weight, torch.ones(2, 2), strength=1.0)
    tensor([[0., 1.]])
    """
    name = "augment_logits"
    check_logits_and_labels(name, logits, labels, weight)
    strength = checked_strength(name, strength, logits)
    if mean_shift is not None:
        shapes = {"weight": (weight, "C A"), "mean_shift": (mean_shift, "N A")}
        check_tensors(name, logits=(logits, "N C"), **shapes)
    form = as_form(name, weight, covariance)
    labels = nearest_labels(labels, logits.shape[2:]).flatten()
    rows = class_rows(labels, len(weight), ignore_index)
    variance = rows.per_sample(class_variance(weight, form, rows), logits)
    raised = logits + strength / 2 * variance
    if mean_shift is None:
        return raised
    return raised + _logit_shift(weight, mean_shift.to(raised.dtype), labels, rows)


def _logit_shift(weight: Tensor, shift: Tensor, labels: Tensor, rows: ClassRows) -> Tensor:
    """``(w_j - w_y)^T m``, (N, C)."""
    with without_autocast(shift.device):
        shift = shift @ weight.to(shift.dtype).T
    if rows.kept is not None:
        labels = torch.where(rows.kept, labels, 0)
        shift = torch.where(rows.kept.unsqueeze(1), shift, 0.0)
    return shift - shift.gather(1, labels.unsqueeze(1))

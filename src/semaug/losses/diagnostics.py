"""What ISDA does to a batch, in a few numbers for the log. Nothing here is trained on.

    penalty[n, c] = strength / 2 * Q[y_n, c]            added to logit c of sample n
    gap           = strength / 2 * mean_n u_n^T S u_n   with u_n = sum_c p_nc w_c - w_{y_n}

The gap is what the bound lies above the expected loss, to first order in the strength; p are
the probabilities after the penalty, S the covariance of the sample's class.

Source: Proposition 1 of Wang et al., NeurIPS 2019, https://arxiv.org/abs/1909.12220; the gap is the
second-order term that Jensen's inequality drops in its proof, Eq. (6).
"""

import torch
from torch import Tensor

from semaug._torch.autocast import without_autocast
from semaug.covariance import ClassCovariance
from semaug.covariance.diagonal import Diagonal
from semaug.covariance.form import Form, at_working_precision
from semaug.covariance.full import Full
from semaug.covariance.quadratic_form import check_fits
from semaug.covariance.rows import class_rows
from semaug.covariance.shared import Shared
from semaug.losses._arguments import check_logits_and_labels, checked_strength

__all__ = ["isda_diagnostics"]

# N samples, C classes, A features.


@torch.no_grad()
def isda_diagnostics(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    estimator: ClassCovariance,
    strength: float | Tensor,
) -> dict[str, Tensor]:
    """Describe what :class:`~semaug.losses.ISDALoss` does to a batch; its state stays as it is.

    Args:
        logits: ``(N, C)``, N at least 1; a few dozen samples are enough.
        labels: ``(N,)`` int64 class ids.
        weight: ``(C, A)`` of the classifier.
        estimator: Statistics of the loss; not sharded.
        strength: lambda of the paper, now.

    Returns:
        Scalars: ``mean_penalty`` over all logits but those of the labels; ``bound_gap``;
        ``order_changed``, the share of logits whose rank among those of their sample the
        penalties change; ``fewest_samples``, of a class in the statistics; and, for full,
        diagonal and shared covariances without shrinkage, ``effective_rank``: trace² / sum of
        squares, which is the number of directions if all vary alike, as a mean over classes that
        vary at all.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, the strength is negative or not one number, or
            the estimator is sharded.
    """
    name = "isda_diagnostics"
    check_logits_and_labels(name, logits, labels, weight, dense=False)
    checked_strength(name, strength)
    check_fits(name, weight, estimator)
    if estimator.sharded:  # whose matrices would meet the samples of other ranks
        raise ValueError(f"{name}: expected an `estimator` with sharded=False")
    with without_autocast(logits.device):
        return _described(logits, labels, weight, estimator, strength)


def _described(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    estimator: ClassCovariance,
    strength: float | Tensor,
) -> dict[str, Tensor]:
    weight, form = at_working_precision(weight, estimator.form())
    logits = logits.to(weight.dtype)
    rows = class_rows(labels, estimator.num_classes)
    penalty = strength / 2 * rows.per_sample(form.differences(weight, rows), logits)
    raised = logits + penalty
    own = labels.unsqueeze(1)
    mistakes = raised.softmax(dim=1).scatter(1, own, 0.0)
    # p less one for the label, which is minus the rest: 1 - p would have lost the digits.
    spread = mistakes.scatter(1, own, -mistakes.sum(dim=1, keepdim=True)) @ weight  # u, (N, A)
    variance = form.variance(spread, rows.classes)[rows.position, torch.arange(len(labels))]
    ranks, new_ranks = (x.argsort(dim=1).argsort(dim=1) for x in (logits, raised))
    result = {
        "mean_penalty": penalty.sum() / (len(labels) * max(logits.shape[1] - 1, 1)),
        "bound_gap": 0.5 * strength * variance.mean(),
        "order_changed": (ranks != new_ranks).to(weight.dtype).mean(),
        "fewest_samples": estimator.count.min().to(weight.dtype),
    }
    effective = _effective_rank(form)
    return result if effective is None else result | {"effective_rank": effective}


def _effective_rank(form: Form) -> Tensor | None:
    if isinstance(form, Diagonal):
        trace, squares = form.variances.sum(dim=1), form.variances.square().sum(dim=1)
    elif isinstance(form, Full):
        trace = form.matrices.diagonal(dim1=1, dim2=2).sum(dim=1)
        squares = torch.linalg.vector_norm(form.matrices, dim=(1, 2)).square()
    elif isinstance(form, Shared):
        trace = form.matrix.trace().view(1)
        squares = torch.linalg.vector_norm(form.matrix).square().view(1)
    else:
        return None
    varies = squares > 0
    ranks = torch.where(varies, trace.square() / torch.where(varies, squares, 1), 0)
    return ranks.sum() / varies.sum().clamp(min=1)

"""How much augmented features disturb the logits, for each pair of classes.

Features of class c that move by noise of covariance S_c change the difference of the
logits j and c by a normal variable of variance

    Q[c, j] = (w_j - w_c)^T S_c (w_j - w_c)

with w the rows of the classifier. No sample appears in it, so a batch needs one row
of Q for each class it holds, not a product for each sample.

Source: Wang et al., "Regularizing Deep Networks with Semantic Data Augmentation",
https://arxiv.org/abs/2007.10538, the quadratic term of Eq. (7).

Literal form: tests/references/isda.py, ``quadratic_form_by_loops``.
"""

from typing import Any

import torch
from torch import Tensor

from semaug._torch.checks import check_floating, check_shapes, check_tensors
from semaug.covariance.diagonal import Diagonal
from semaug.covariance.form import Form, class_variance
from semaug.covariance.full import Full
from semaug.covariance.rows import all_classes

__all__ = ["as_form", "check_fits", "quadratic_form"]

# N samples, C classes, A features, R rows of a table of classes.


def quadratic_form(weight: Tensor, covariance: Any) -> Tensor:
    """Variance of every logit difference, for every class of origin.

    Args:
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, symmetric positive semi-definite, or ``(C, A)`` for diagonal
            matrices, treated as constant; or a :class:`semaug.ClassCovariance`. Symmetry is not
            checked; the gradient relies on it.

    Returns:
        ``(C, C)`` matrix Q with ``Q[c, j] = (w_j - w_c)^T S_c (w_j - w_c)``, at least
        float32. Differentiable in ``weight``, twice as well, and by ``torch.func.grad``; not by
        ``vmap`` or forward mode.

    Raises:
        TypeError: If an argument is not a floating-point tensor.
        ValueError: If shapes or devices disagree.

    >>> weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> quadratic_form(weight, torch.stack([torch.eye(2), 3 * torch.eye(2)]))
    tensor([[ 0.,  5.],
            [15.,  0.]])
    """
    form = as_form("quadratic_form", weight, covariance)
    labels = torch.arange(len(weight), device=weight.device)
    return class_variance(weight, form, all_classes(len(weight), labels))


def as_form(function: str, weight: Tensor, covariance: Any) -> Form:
    """Check covariances against the weight of a classifier, and take them as a form.

    Args:
        function: Name for messages.
        weight: ``(C, A)``.
        covariance: ``(C, A, A)``, symmetric positive semi-definite, or ``(C, A)``, or a
            :class:`semaug.ClassCovariance`.

    Raises:
        TypeError: If a dtype or type is wrong.
        ValueError: If shapes or devices disagree.
    """
    if not isinstance(covariance, Tensor) and hasattr(covariance, "form"):
        check_fits(function, weight, covariance)
        form: Form = covariance.form()
        return form
    full = isinstance(covariance, Tensor) and covariance.ndim == 3
    check_tensors(
        function, weight=(weight, "C A"), covariance=(covariance, "C A A" if full else "C A")
    )
    return Full(covariance.detach()) if full else Diagonal(covariance.detach())


def check_fits(function: str, weight: Tensor, estimator: Any) -> None:
    """Check the weight of a classifier against an estimator, whose form is not needed yet.

    Raises:
        TypeError: If a dtype or type is wrong.
        ValueError: If shapes or devices disagree.
    """
    check_shapes(function, weight=(weight, "C A"))
    num_classes, num_features = estimator.num_classes, estimator.num_features
    if weight.shape != (num_classes, num_features):
        raise ValueError(
            f"{function}: expected `weight` of shape (C={num_classes}, A={num_features}) of "
            f"the statistics, got {tuple(weight.shape)}"
        )
    check_floating(function, weight=weight)
    if estimator.mean.device != weight.device:
        raise ValueError(
            f"{function}: expected `covariance` on the device of `weight` "
            f"({weight.device}), got {estimator.mean.device}"
        )

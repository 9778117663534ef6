"""How much augmented features disturb the logits, for each pair of classes.

Features of class c that move by noise of covariance S_c change the difference of the
logits j and c by a normal variable of variance

    Q[c, j] = (w_j - w_c)^T S_c (w_j - w_c)

with w the rows of the classifier. No sample appears in it, so a batch needs one row
of Q for each class it holds, not a product for each sample.

Gradients with respect to the weight, for an upstream gradient g of the shape of Q:
``dQ[c, j] / dw_j = 2 S_c (w_j - w_c)``, and minus the same for ``w_c``. The product
is kept from the forward pass, so the backward pass is a weighted sum.

Source: Wang et al., "Regularizing Deep Networks with Semantic Data Augmentation",
https://arxiv.org/abs/2007.10538, the quadratic term of Eq. (7).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from semaug._autocast import without_autocast
from semaug._checks import check_floating, check_same_device, check_shapes
from semaug._classes import ClassRows, all_classes, class_rows, is_static
from semaug._compile import settled

__all__ = ["logit_variance", "quadratic_form"]

# N samples, C classes, A features, R rows of a table of classes.

# Elements that a chunk of classes may take: what caches hold on a CPU, where larger chunks
# are slower; on an accelerator, and for the length of a compiled graph, a bound on memory.
CHUNK_ELEMENTS = 2**20
CHUNK_ELEMENTS_STATIC = 2**25


def quadratic_form(weight: Tensor, covariance: Tensor) -> Tensor:
    """Variance of every logit difference, for every class of origin.

    Args:
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, or ``(C, A)`` for diagonal matrices; treated as
            constant.

    Returns:
        ``(C, C)`` matrix Q with ``Q[c, j] = (w_j - w_c)^T S_c (w_j - w_c)``, at least
        float32. Differentiable once in ``weight``.

    Raises:
        TypeError: If an argument is not a floating-point tensor.
        ValueError: If shapes or devices disagree.

    >>> weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> quadratic_form(weight, torch.stack([torch.eye(2), 3 * torch.eye(2)]))
    tensor([[ 0.,  5.],
            [15.,  0.]])
    """
    check_weight_and_covariance("quadratic_form", weight, covariance)
    labels = torch.arange(len(weight), device=weight.device)
    return _rows_of_q(weight, covariance, all_classes(len(weight), labels))


def logit_variance(
    weight: Tensor, covariance: Tensor, labels: Tensor, rows: ClassRows | None = None
) -> Tensor:
    """Rows of :func:`quadratic_form` for the classes of a batch.

    Args:
        weight: ``(C, A)``.
        covariance: ``(C, A, A)`` or ``(C, A)``.
        labels: ``(N,)`` int64.
        rows: The classes of ``labels``, where known already.

    Returns:
        ``(N, C)``: ``Q[labels]``, computed for the classes that occur.
    """
    rows = rows or class_rows(labels, len(weight))
    return _rows_of_q(weight, covariance, rows).index_select(0, rows.position)


def check_weight_and_covariance(function: str, weight: Tensor, covariance: Tensor) -> None:
    """Check a classifier's weight against a covariance of either shape."""
    full = isinstance(covariance, Tensor) and covariance.ndim == 3
    check_shapes(
        function, weight=(weight, "C A"), covariance=(covariance, "C A A" if full else "C A")
    )
    check_floating(function, weight=weight, covariance=covariance)
    check_same_device(function, weight=weight, covariance=covariance)


def _rows_of_q(weight: Tensor, covariance: Tensor, rows: ClassRows) -> Tensor:
    """``(R, C)`` rows of Q, computed in float32 or better whatever autocast does."""
    dtype = torch.promote_types(torch.promote_types(weight.dtype, covariance.dtype), torch.float32)
    if covariance.ndim == 2:
        covariance = settled(covariance)
    form = _FullForm if covariance.ndim == 3 else _DiagonalForm
    with without_autocast(weight.device):
        return form.apply(
            weight.to(dtype), covariance.detach().to(dtype), rows.classes, rows.complete
        )


class _FullForm(torch.autograd.Function):
    """Q for full covariances, a chunk of classes at a time."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, covariance: Tensor, classes: Tensor, complete: bool
    ) -> Tensor:
        num_rows, (num_classes, num_features) = len(classes), weight.shape
        q, products = [], []
        for start, stop in chunks(num_rows, num_features * (num_features + num_classes), weight):
            chunk = classes[start:stop]
            delta = weight - weight[chunk].unsqueeze(1)  # (r, C, A)
            matrices = covariance[start:stop] if complete else select(covariance, chunk)
            product = torch.bmm(delta, matrices)
            q.append(delta.mul_(product).sum(dim=2))
            products.append(product)
        ctx.save_for_backward(classes, *products)
        return q[0] if len(q) == 1 else torch.cat(q)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        classes, *products = ctx.saved_tensors
        with without_autocast(grad.device):
            grad = 2 * grad
            if len(products) == 1:
                weighted = products[0] * grad.unsqueeze(2)  # (R, C, A)
                every, own = weighted.sum(dim=0), weighted.sum(dim=1)
            else:
                every, own = _sums_by_class(products, grad)
            return every.index_add_(0, classes, own, alpha=-1), None, None, None


def _sums_by_class(products: list[Tensor], grad: Tensor) -> tuple[Tensor, Tensor]:
    """Weigh products (R, C, A) by grad (R, C); sum over R, (C, A), and over C, (R, A).

    On a CPU, large products are read once and not copied.
    """
    every, own = torch.zeros_like(products[0][0]), []
    for product, g in zip(products, grad.split([len(p) for p in products]), strict=True):
        own.append(torch.bmm(g.unsqueeze(1), product).squeeze(1))
        if is_static(grad.device):
            every.add_(torch.einsum("rc,rca->ca", g, product))
            continue
        for class_product, class_g in zip(product, g, strict=True):
            every.addcmul_(class_product, class_g.unsqueeze(1))
    return every, torch.cat(own)


class _DiagonalForm(torch.autograd.Function):
    """Q for variances: three terms of the square, each a matrix product."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, variance: Tensor, classes: Tensor, complete: bool
    ) -> Tensor:
        # Differences do not see a common offset, but the three terms would cancel it badly.
        centred = weight - weight.mean(dim=0)
        # A copy, since the estimator may move on before the backward pass.
        rows = variance.clone() if complete else variance[classes]  # (R, A)
        own = centred[classes]
        scaled = rows * own
        square = (scaled * own).sum(dim=1, keepdim=True).expand(-1, len(centred))
        q = torch.addmm(square, scaled, centred.T, alpha=-2).addmm_(rows, centred.square().T)
        ctx.save_for_backward(centred, rows, classes)
        return q.clamp(min=0).scatter(1, classes.unsqueeze(1), 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        centred, rows, classes = ctx.saved_tensors
        own = centred[classes]
        with without_autocast(grad.device):
            grad_weight = torch.mm(grad.T, rows).mul_(centred).sub_(grad.T @ (rows * own))
            grad_own = torch.mm(grad, centred).sub_(grad.sum(dim=1, keepdim=True) * own)
            grad_own.mul_(rows)  # (R, A)
            grad_weight.index_add_(0, classes, grad_own, alpha=-1).mul_(2)
        return grad_weight, None, None, None


def chunks(num_rows: int, elements_per_row: int, like: Tensor) -> list[tuple[int, int]]:
    """Split rows into runs whose working memory stays bounded; no rows are one empty run."""
    budget = CHUNK_ELEMENTS_STATIC if is_static(like.device) else CHUNK_ELEMENTS
    # A large class goes alone: its matrix is a view then, where two would be copied together.
    size = budget // elements_per_row if elements_per_row <= budget // 4 else 1
    return [(start, min(start + size, num_rows)) for start in range(0, max(num_rows, 1), size)]


def select(matrices: Tensor, classes: Tensor) -> Tensor:
    """Rows of a per-class tensor; a single one on a CPU is a view, not a copy."""
    if len(classes) == 1 and not is_static(classes.device):
        return matrices.narrow(0, int(classes), 1)
    return matrices.index_select(0, classes)

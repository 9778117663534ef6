"""A whole matrix for each class.

For an upstream gradient g of the shape of Q, ``dQ[c, j] / dw_j = 2 S_c (w_j - w_c)``, and
minus the same for ``w_c``, because S_c is symmetric. The product is kept from the forward pass,
so the backward pass is a weighted sum. Beyond ``KEPT_ELEMENTS`` it is computed again instead,
which bounds the memory; the statistics must not change in between then, and an error says so if
they do. While compiling it is always kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from semaug._torch.autocast import without_autocast
from semaug._torch.autograd import known_signature, version
from semaug._torch.compile import settled
from semaug.covariance.batch import Scatter
from semaug.covariance.form import Form, KindState, Noise, State
from semaug.covariance.rows import ClassRows, chunks, is_static, select

__all__ = ["Full", "FullKind", "draw_from_roots", "root", "symmetric_root"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.

# Above this many elements, products of the forward pass are not kept for the backward pass.
KEPT_ELEMENTS = 2**26
# Below this many elements of covariance, one batched product beats a loop over classes.
BATCHED_ELEMENTS = 2**20


@dataclass(frozen=True, eq=False)
class Full(Form):
    """Form of full covariances."""

    matrices: Tensor  # (C, A, A), symmetric, which the gradient relies on

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        keep = torch.is_grad_enabled() and weight.requires_grad  # else no backward pass comes
        keep = keep and len(rows.classes) * weight.numel() <= KEPT_ELEMENTS
        keep = keep or torch.compiler.is_compiling()
        return _Differences.apply(weight, self.matrices, rows.classes, rows.complete, keep)[0]

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        parts = self._parts(classes, len(references))
        return torch.cat([(references @ own) @ weight.T for own in parts])

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        parts = self._parts(classes, len(weight))
        # Not a sum of products: compiled by torch 2.11, its gradient writes where it must not.
        return torch.cat([torch.einsum("rca,ca->rc", weight @ own, weight) for own in parts])

    def _parts(self, classes: Tensor, num_vectors: int) -> Iterator[Tensor]:
        """Matrices of ``classes``, a few at a time, copied if that is affordable.

        Copies, since the estimator may move on before the backward pass; torch says so if
        it did and there was none.
        """
        num_features = self.matrices.shape[1]
        affordable = len(classes) * num_features**2 <= KEPT_ELEMENTS
        size = num_features * (num_features + num_vectors)
        for start, stop in chunks(len(classes), size, self.matrices):
            own = settled(select(self.matrices, classes[start:stop]))
            yield own.clone() if affordable and own._base is not None else own

    @override
    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        return draw_from_roots(noise, root(self.matrices.index_select(0, classes)), position)

    @override
    def dense(self) -> Tensor:
        return self.matrices


class FullKind(KindState):
    """How full covariances are kept: the buffer ``covariance`` ``(C, A, A)``."""

    @override
    def buffers(self, num_rows: int, num_features: int) -> State:
        return {"covariance": torch.zeros(num_rows, num_features, num_features)}

    @override
    def form(self, state: State) -> Form:
        return Full(state["covariance"])

    @override
    def add(self, state: State, rows: ClassRows, scatter: Scatter) -> None:
        add = _add_products_static if scatter.samples is None else _add_products
        add(state["covariance"], rows, scatter)

    @override
    def merge(self, state: State, other: State, share: Tensor, drift: Tensor) -> None:
        covariance = state["covariance"]
        covariance.lerp_(other["covariance"].to(covariance), share.view(-1, 1, 1))
        covariance.baddbmm_(drift.unsqueeze(2), drift.unsqueeze(1))


class _Differences(torch.autograd.Function):
    """Q for full covariances, a chunk of classes at a time."""

    @staticmethod
    @known_signature
    def forward(
        weight: Tensor, matrices: Tensor, classes: Tensor, complete: bool, keep: bool
    ) -> tuple[Tensor, ...]:
        q, products = [], []
        for start, stop in _class_chunks(classes, weight):
            chunk = classes[start:stop]
            delta = weight - weight[chunk].unsqueeze(1)  # (r, C, A)
            own = matrices[start:stop] if complete else select(matrices, chunk)
            product = torch.bmm(delta, own)
            q.append(delta.mul_(product).sum(dim=2))
            if keep:
                products.append(product)
        return (q[0] if len(q) == 1 else torch.cat(q), *products)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        weight, matrices, classes, ctx.complete, ctx.keep = inputs
        _, *products = output
        ctx.mark_non_differentiable(*products)
        ctx.set_materialize_grads(False)
        if not torch.compiler.is_compiling():
            # Not saved, for saved tensors must not change, and the statistics may well move on
            # before the backward pass. Only what needs them looks whether they did.
            ctx.matrices, ctx.version = matrices, version(matrices)
        ctx.save_for_backward(weight, classes, *products)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None, None
        weight, classes, *products = ctx.saved_tensors
        twice = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if (twice or not ctx.keep) and version(ctx.matrices) != ctx.version:
            raise RuntimeError(
                "semaug: expected the backward pass before the next update of the statistics, "
                "because it is itself to be differentiated, or because the "
                f"{len(classes)} x {weight.numel()} numbers that would have to be kept "
                f"are more than {KEPT_ELEMENTS} (semaug.covariance.full.KEPT_ELEMENTS)"
            )
        with without_autocast(grad.device):
            if twice:
                own_matrices = ctx.matrices.index_select(0, classes)
                weighted = (weight - weight[classes].unsqueeze(1)) @ own_matrices
                weighted = 2 * grad.unsqueeze(2) * weighted
                every, own = weighted.sum(dim=0), weighted.sum(dim=1)
            elif ctx.keep:
                every, own = _sums_by_class(products, 2 * grad)
            else:
                every, own = _sums_again(weight, ctx.matrices, classes, ctx.complete, 2 * grad)
            grad_weight = every.index_add(0, classes, own, alpha=-1)
            return grad_weight, None, None, None, None


def _class_chunks(classes: Tensor, weight: Tensor) -> list[tuple[int, int]]:
    return chunks(len(classes), weight.shape[1] * sum(weight.shape), weight)


def _sums_by_class(products: list[Tensor], grad: Tensor) -> tuple[Tensor, Tensor]:
    """Weigh products (R, C, A) by grad (R, C); sum over R, (C, A), and over C, (R, A).

    On a CPU, large products are read once and not copied.
    """
    if len(products) == 1:
        weighted = products[0] * grad.unsqueeze(2)
        return weighted.sum(dim=0), weighted.sum(dim=1)
    every, own = torch.zeros_like(products[0][0]), []
    for product, g in zip(products, grad.split([len(p) for p in products]), strict=True):
        own.append(torch.bmm(g.unsqueeze(1), product).squeeze(1))
        if is_static(grad.device):
            every.add_(torch.einsum("rc,rca->ca", g, product))
            continue
        for class_product, class_g in zip(product, g, strict=True):
            every.addcmul_(class_product, class_g.unsqueeze(1))
    return every, torch.cat(own)


def _sums_again(
    weight: Tensor, matrices: Tensor, classes: Tensor, complete: bool, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Do what :func:`_sums_by_class` does with products that were not kept."""
    every, own = torch.zeros_like(weight), []
    for start, stop in _class_chunks(classes, weight):
        chunk, g = classes[start:stop], grad[start:stop].unsqueeze(2)
        # sum over j of g_j (w_j - w_c): the product with the matrix comes last, for one row.
        delta = (weight - weight[chunk].unsqueeze(1)).mul_(g)
        matrix = matrices[start:stop] if complete else select(matrices, chunk)
        product = torch.bmm(delta, matrix)
        every.add_(product.sum(dim=0))
        own.append(product.sum(dim=1))
    return every, torch.cat(own)


def draw_from_roots(noise: Noise, roots: Tensor, position: Tensor) -> Tensor:
    """Draw ``(M, N, C)`` for roots ``(R, C, d)``, sample n with the covariance of its position."""
    num_rows, length = roots.shape[1:]
    standard = noise(roots, len(position), length).transpose(0, 1)  # (N, M, d)
    parts = [
        standard[start:stop] @ roots.index_select(0, position[start:stop]).mT
        for start, stop in chunks(len(position), num_rows * length, roots)
    ]
    return torch.cat(parts).transpose(0, 1)


def root(matrices: Tensor) -> Tensor:
    """Square roots L with L L^T = S of symmetric positive semi-definite matrices (R, A, A).

    Cholesky factors where possible, with 1e-6 of the largest variance added to the
    diagonal; else, and while compiling, from eigenvalues, negative ones taken for the rounding
    errors they are.
    """
    if torch.compiler.is_compiling():  # which cannot look for those that failed
        return symmetric_root(matrices)
    largest = matrices.diagonal(dim1=1, dim2=2).amax(dim=1, keepdim=True)  # (R, 1)
    jitter = torch.diag_embed((1e-6 * largest).expand(matrices.shape[:2]))
    factor, info = torch.linalg.cholesky_ex(matrices + jitter)
    failed = info.nonzero().squeeze(1)
    if len(failed) > 0:
        factor[failed] = symmetric_root(matrices[failed])
    return factor


def symmetric_root(matrices: Tensor) -> Tensor:
    """Symmetric roots ``(R, A, A)`` from eigenvalues, negative ones taken for rounding errors.

    The signs of eigenvectors, which are any, cancel.
    """
    values, vectors = torch.linalg.eigh(matrices)
    return (vectors * values.clamp(min=0).sqrt().unsqueeze(1)) @ vectors.mT


def _add_products(covariance: Tensor, rows: ClassRows, scatter: Scatter) -> None:
    """Scale the matrices of ``rows`` by 1 - share and add the products of their samples.

    The drift of a class stands behind its samples, so that a class costs one product in
    place; small matrices go through one batched product.
    """
    deviation, _, drift, share, new, _ = scatter
    assert new is not None  # on a CPU
    num_rows, num_features = drift.shape
    longest = int(new.max()) + 1  # the drift behind the samples
    even = num_rows * longest <= 8 * (len(deviation) + num_rows)  # else padding takes the memory
    if even and num_rows * num_features**2 <= BATCHED_ELEMENTS:
        padded = _padded(scatter, longest)
        matrices = rows.take(covariance).mul_((1 - share).view(-1, 1, 1))
        matrices.baddbmm_(padded.mT, padded)
        if not rows.complete:
            covariance.index_copy_(0, rows.classes, matrices)
        return
    samples = deviation.split(new.tolist())
    keep = (1 - share).tolist()
    for r, c in enumerate(rows.classes.tolist()):
        if len(samples[r]) > num_features:  # not worth a copy
            covariance[c].addmm_(samples[r].T, samples[r], beta=keep[r])
            covariance[c].addr_(drift[r], drift[r])
        else:
            own = torch.cat([samples[r], drift[r : r + 1]])
            covariance[c].addmm_(own.T, own, beta=keep[r])


def _padded(scatter: Scatter, longest: int) -> Tensor:
    """Deviations of each row, zeros, and its drift: ``(R, longest, A)``; on a CPU."""
    deviation, row, drift, _, new, _ = scatter
    assert new is not None
    start = torch.arange(len(new)).mul_(longest).sub_(new.cumsum(0)).add_(new)
    place = torch.arange(len(deviation)).add_(start[row])
    padded = drift.new_zeros(len(new) * longest, drift.shape[1])
    padded.index_copy_(0, place, deviation)
    padded = padded.view(len(new), longest, -1)
    padded[:, -1] = drift
    return padded


def _add_products_static(covariance: Tensor, rows: ClassRows, scatter: Scatter) -> None:
    """Do what :func:`_add_products` does with shapes that no value decides."""
    deviation, position, drift, share, *_ = scatter
    num_rows, num_features = drift.shape
    mask = torch.arange(num_rows, device=drift.device).unsqueeze(1) == position
    for start, stop in chunks(num_rows, num_features * (num_features + len(deviation)), covariance):
        own = mask[start:stop].unsqueeze(1) * deviation.T  # (r, A, N)
        added = torch.matmul(own, deviation)
        added.baddbmm_(drift[start:stop].unsqueeze(2), drift[start:stop].unsqueeze(1))
        factor = share[start:stop].view(-1, 1, 1)
        if rows.complete:
            covariance[start:stop].mul_(1 - factor).add_(added)
        else:
            chunk = rows.classes[start:stop]
            covariance.index_add_(0, chunk, added.sub_(factor * covariance[chunk]))

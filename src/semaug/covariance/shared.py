"""One matrix for all classes: the covariance of all features about their one mean.

The row "single covariance matrix" of Table 8 of https://arxiv.org/abs/2007.10538. It holds
the distances between classes too, which the covariances of single classes do not.

Its product P = W S with all weights costs more than all else, and serves the backward pass as
well: for an upstream gradient g of the shape of Q, ``dQ[c, j] / dw_j = 2 (P_j - P_c)``, because S
is symmetric, and minus the same for ``w_c``.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from semaug._torch.autocast import without_autocast
from semaug._torch.autograd import known_signature, version
from semaug._torch.compile import snapshot
from semaug.covariance.form import Form, Noise, State, centred, difference_form
from semaug.covariance.full import FullKind, root
from semaug.covariance.rows import ClassRows

__all__ = ["Shared", "SharedKind"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


@dataclass(frozen=True, eq=False)
class Shared(Form):
    """Form of one matrix that stands for every class."""

    matrix: Tensor  # (A, A)
    num_classes: int

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        return _Differences.apply(centred(weight), self.matrix, rows.classes)[0]

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        gram = (references @ snapshot(self.matrix)) @ weight.T
        return gram.expand(len(classes), -1, -1)

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        variance = ((weight @ snapshot(self.matrix)) * weight).sum(dim=1)
        return variance.expand(len(classes), -1)

    @override
    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        return (
            noise(self.matrix, len(position), len(self.matrix))
            @ root(self.matrix.unsqueeze(0))[0].T
        )

    @override
    def dense(self) -> Tensor:
        return self.matrix.expand(self.num_classes, -1, -1)


class SharedKind(FullKind):
    """How it is kept: as the full covariance of a single class, ``covariance`` ``(1, A, A)``."""

    @override
    def form(self, state: State) -> Shared:
        return Shared(state["covariance"][0], self.num_classes)


class _Differences(torch.autograd.Function):
    """Q for one matrix."""

    @staticmethod
    @known_signature
    def forward(weight: Tensor, matrix: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        product = weight @ matrix
        square = (product * weight).sum(dim=1)
        inner = product.index_select(0, classes) @ weight.T
        return difference_form(square[classes].unsqueeze(1), square, inner, classes), product

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        weight, matrix, classes = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        if not torch.compiler.is_compiling():
            # Not saved, for the statistics may well move on before the backward pass, which needs
            # them only where it is itself to be differentiated.
            ctx.matrix, ctx.version = matrix, version(matrix)
        ctx.save_for_backward(weight, classes, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None
        weight, classes, product = ctx.saved_tensors
        with without_autocast(grad.device):
            if torch.is_grad_enabled() and not torch.compiler.is_compiling():
                if version(ctx.matrix) != ctx.version:
                    raise RuntimeError(
                        "semaug: expected the backward pass before the next update of the "
                        "statistics, because it is itself to be differentiated"
                    )
                product = weight @ ctx.matrix
            own, grad = product.index_select(0, classes), 2 * grad
            every = product * grad.sum(dim=0).unsqueeze(1) - grad.T @ own
            away = own * grad.sum(dim=1).unsqueeze(1) - grad @ product
            return every.index_add(0, classes, away), None, None

"""The variance of each feature for each class; features are taken as uncorrelated.

``Q[c, j] = sum over a of s_c[a] (w_j[a] - w_c[a])^2`` is three matrix products.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from semaug._torch.autocast import without_autocast
from semaug._torch.autograd import known_signature
from semaug._torch.compile import settled, snapshot
from semaug.covariance.batch import Scatter
from semaug.covariance.form import Form, KindState, Noise, State, centred
from semaug.covariance.rows import ClassRows

__all__ = ["Diagonal", "DiagonalKind", "add_squares", "diagonal_differences"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


@dataclass(frozen=True, eq=False)
class Diagonal(Form):
    """Form of diagonal covariances."""

    variances: Tensor  # (C, A)

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        # A copy, since the estimator may move on before the backward pass.
        own = snapshot(self.variances) if rows.complete else self._rows(rows.classes)
        return diagonal_differences(weight, own, rows.classes)

    def _rows(self, classes: Tensor) -> Tensor:
        return settled(self.variances.index_select(0, classes))

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        own = self._rows(classes)
        return (references * own.unsqueeze(1)) @ weight.T

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        return self._rows(classes) @ weight.square().T

    @override
    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        own = self._rows(classes).sqrt().index_select(0, position)
        return noise(own, len(position), own.shape[1]) * own

    @override
    def dense(self) -> Tensor:
        return torch.diag_embed(self.variances)


class DiagonalKind(KindState):
    """How variances are kept: the buffer ``covariance`` ``(C, A)``."""

    @override
    def buffers(self, num_rows: int, num_features: int) -> State:
        return {"covariance": torch.zeros(num_rows, num_features)}

    @override
    def form(self, state: State) -> Diagonal:
        return Diagonal(state["covariance"])

    @override
    def add(self, state: State, rows: ClassRows, scatter: Scatter) -> None:
        scatter.deviation.square_()  # in place: there may be many, and they end here
        _add(state["covariance"], rows, scatter)

    @override
    def merge(self, state: State, other: State, share: Tensor, drift: Tensor) -> None:
        merge_variances(state["covariance"], other["covariance"], share, drift)


def merge_variances(variances: Tensor, other: Tensor, share: Tensor, drift: Tensor) -> None:
    """Add other variances (C, A), of weight ``share`` (C,), and the squares of ``drift``."""
    variances.lerp_(other.to(variances), share.unsqueeze(1)).addcmul_(drift, drift)


def add_squares(variances: Tensor, rows: ClassRows, scatter: Scatter) -> None:
    """Update variances (C, A), and leave the scatter as it is."""
    _add(variances, rows, scatter._replace(deviation=scatter.deviation.square()))


def _add(variances: Tensor, rows: ClassRows, scatter: Scatter) -> None:
    added = scatter.drift.square().index_add_(0, scatter.position, scatter.deviation)
    rows.add_to(variances, added.sub_(rows.take(variances) * scatter.share.unsqueeze(1)))


def diagonal_differences(weight: Tensor, variances: Tensor, classes: Tensor) -> Tensor:
    """Rows ``(R, C)`` of Q for variances ``(R, A)`` of ``classes`` ``(R,)``."""
    return _Differences.apply(centred(weight), variances, classes)


class _Differences(torch.autograd.Function):
    """``u'u + v'v - 2 u'v`` in the metric of each row."""

    @staticmethod
    @known_signature
    def forward(weight: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
        own = weight[classes]
        scaled = rows * own
        square = (scaled * own).sum(dim=1, keepdim=True).expand(-1, len(weight))
        q = torch.addmm(square, scaled, weight.T, alpha=-2).addmm_(rows, weight.square().T)
        return q.clamp(min=0).scatter(1, classes.unsqueeze(1), 0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        weight, rows, classes = ctx.saved_tensors
        own = weight[classes]
        with without_autocast(grad.device):
            grad_weight = (grad.T @ rows) * weight - grad.T @ (rows * own)
            grad_own = (grad @ weight - grad.sum(dim=1, keepdim=True) * own) * rows  # (R, A)
            return 2 * grad_weight.index_add(0, classes, grad_own, alpha=-1), None, None

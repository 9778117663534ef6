"""Covariances S_c = D_c D_c^T that gradients change, as in section 6.5.3.

The gradient of the loss always shrinks S, so the feature uncertainty loss of
DistributionNet (Yu et al., ICCV 2019) holds against it: ``max(0, margin - h)`` with h the
mean entropy of the distributions that a batch draws from, here in nats per feature:
``h_c = log(2 pi e) / 2 + log |det D_c| / A``.

Source: section 6.5.3 and Fig. 10 of https://arxiv.org/abs/2007.10538, where statistics of
features do better.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from semaug._torch.distributed import mean_gradient
from semaug.covariance.batch import Scatter
from semaug.covariance.diagonal import add_squares, merge_variances
from semaug.covariance.form import Form, KindState, Noise, State
from semaug.covariance.rows import ClassRows

__all__ = ["UNIT_ENTROPY", "Learned", "LearnedKind", "uncertainty_loss"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.

UNIT_ENTROPY = math.log(2 * math.pi * math.e) / 2  # of a normal variable of variance 1, in nats


@dataclass(frozen=True, eq=False)
class Learned(Form):
    """Form of covariances by their factors, which get gradients."""

    factor: Tensor  # (C, A, A)

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        delta = weight - weight[rows.classes].unsqueeze(1)  # (R, C, A)
        return (delta @ rows.take(self.factor)).square().sum(dim=2)

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        factor = self.factor.index_select(0, classes)
        return (references @ factor) @ (weight @ factor).mT

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        return (weight @ self.factor.index_select(0, classes)).square().sum(dim=2)

    @override
    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        # The reparametrization: gradients reach the factor through the sample.
        standard = noise(self.factor, len(position), self.factor.shape[1]).transpose(
            0, 1
        )  # (N, M, A)
        factor = self.factor.index_select(0, classes).index_select(0, position)
        return (standard @ factor.mT).transpose(0, 1)

    @override
    def dense(self) -> Tensor:
        return self.factor @ self.factor.mT


class LearnedKind(KindState):
    """How factors are kept: the parameter ``factor`` ``(C, A, A)``, identities at first.

    And the buffer ``variance`` ``(C, A)`` of the features, for the scale of an entropy.
    """

    @override
    def buffers(self, num_rows: int, num_features: int) -> State:
        return {"variance": torch.zeros(num_rows, num_features)}

    @override
    def add(self, state: State, rows: ClassRows, scatter: Scatter) -> None:
        add_squares(state["variance"], rows, scatter)

    @override
    def merge(self, state: State, other: State, share: Tensor, drift: Tensor) -> None:
        merge_variances(state["variance"], other["variance"], share, drift)

    @override
    def parameters(self, num_features: int) -> State:
        return {"factor": torch.eye(num_features).repeat(self.num_classes, 1, 1)}

    @override
    def form(self, state: State) -> Learned:
        return Learned(mean_gradient(state["factor"]))


def uncertainty_loss(
    factor: Tensor, rows: ClassRows, margin: float | Tensor = UNIT_ENTROPY
) -> Tensor:
    """Feature uncertainty loss of the distributions of a batch.

    Args:
        factor: ``(C, A, A)``.
        rows: The classes of the batch.
        margin: Entropy in nats per feature that is enough; that of unit variance. A number or a
            scalar tensor.

    Returns:
        A scalar, at least 0; 0 without samples.
    """
    own = factor.index_select(0, rows.classes)
    entropy = UNIT_ENTROPY + torch.linalg.slogdet(own).logabsdet / factor.shape[1]
    excess = (margin - entropy).index_select(0, rows.position)
    kept = torch.ones_like(rows.position) if rows.kept is None else rows.kept
    mean = torch.where(kept.bool(), excess, 0.0).sum() / kept.sum().clamp(min=1)
    return mean.clamp(min=0)

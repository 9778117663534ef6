"""Covariances of rare classes, shrunk toward the covariance that all classes share.

``(1 - g_c) S_c + g_c S`` with ``g_c = k / (n_c + k)`` for n_c samples of the class: after k
samples a class counts as much as the rest. S is the mean of the covariances of all classes,
weighted by their samples (within classes, so distances between them are not in it).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from semaug._torch.distributed import is_first_rank, sum_over_ranks
from semaug.covariance.batch import Scatter
from semaug.covariance.form import Form, Noise
from semaug.covariance.rows import ClassRows

__all__ = ["Blend", "add_to_pooled", "merge_pooled"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


@dataclass(frozen=True, eq=False)
class Blend(Form):
    """Form of weighted means of two forms."""

    own: Form
    other: Form
    amount: Tensor  # (C,) of the other

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        own, other = self.own.differences(weight, rows), self.other.differences(weight, rows)
        return torch.lerp(own, other, rows.take(self.amount).unsqueeze(1))

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        own = self.own.gram(weight, classes, references)
        other = self.other.gram(weight, classes, references)
        return torch.lerp(own, other, self.amount[classes].view(-1, 1, 1))

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        own, other = self.own.variance(weight, classes), self.other.variance(weight, classes)
        return torch.lerp(own, other, self.amount[classes].unsqueeze(1))

    @override
    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        amount = self.amount[classes][position].unsqueeze(1)
        own = self.own.draw(noise, classes, position) * (1 - amount).sqrt()
        return own + self.other.draw(noise, classes, position) * amount.sqrt()

    @override
    def dense(self) -> Tensor:
        return torch.lerp(self.own.dense(), self.other.dense(), self.amount.view(-1, 1, 1))


def add_to_pooled(
    pooled: Tensor,
    weights: Tensor,
    rows: ClassRows,
    scatter: Scatter,
    total: Tensor,
    *,
    in_sums: bool,
) -> None:
    """Update the mean covariance of all classes with a batch.

    Where memory fades, the mean fades at one rate, that of all samples together.

    Args:
        pooled: ``(A, A)``, or ``(A,)`` variances; changed.
        weights: ``(C,)`` of the classes before the batch.
        rows: The classes of the batch.
        scatter: What it adds to their covariances.
        total: ``(R,)`` weights after the batch.
        in_sums: Whether other ranks add deviations too.
    """
    weights = weights.to(total)
    # Of equal rows only the first has a difference.
    everything = (weights.sum() + (total - rows.take(weights)).sum()).clamp(min=1)
    old = everything - (total * scatter.share).sum()  # share times total is what is new
    scale = (total / everything).sqrt().unsqueeze(1)
    deviation = scatter.deviation * scale[scatter.position]
    drift = scatter.drift * scale
    if in_sums and not is_first_rank():
        drift = torch.zeros_like(drift)
    if pooled.ndim == 1:
        added = deviation.square().sum(dim=0) + drift.square().sum(dim=0)
    else:
        added = torch.addmm(drift.T @ drift, deviation.T, deviation)
    if in_sums:
        sum_over_ranks(added)
    pooled.mul_(old / everything).add_(added)


def merge_pooled(
    pooled: Tensor, other: Tensor, mine: Tensor, theirs: Tensor, drift: Tensor
) -> None:
    """Add the mean covariance of another estimator.

    Args:
        pooled: ``(A, A)``, or ``(A,)``; changed.
        other: That of the other.
        mine: ``(C,)`` weights.
        theirs: ``(C,)`` weights of the other.
        drift: ``(C, A)``, rows whose products come to each class by the merger.
    """
    total = (mine + theirs).to(pooled)
    everything = total.sum().clamp(min=1)
    drift = drift * (total / everything).sqrt().unsqueeze(1)
    pooled.lerp_(other.to(pooled), theirs.sum().to(pooled) / everything)
    pooled.add_(drift.square().sum(dim=0) if pooled.ndim == 1 else drift.T @ drift)

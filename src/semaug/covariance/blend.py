"""Covariances of rare classes, shrunk toward the covariance that all classes share.

``(1 - g_c) S_c + g_c S`` with ``g_c = k / (n_c + k)`` for n_c samples of the class: after k
samples a class counts as much as the rest. S is the mean of the covariances of all classes,
weighted by their samples (within classes, so distances between them are not in it).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from semaug._classes import ClassRows
from semaug.covariance.form import Form, Noise

__all__ = ["Blend"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


class Blend(NamedTuple):
    """Form of weighted means of two forms."""

    own: Form
    other: Form
    amount: Tensor  # (C,) of the other

    @property
    def dtype(self) -> torch.dtype:  # noqa: D102
        return self.own.dtype

    @property
    def device(self) -> torch.device:  # noqa: D102
        return self.own.device

    @property
    def shape(self) -> tuple[int, int]:  # noqa: D102
        return self.own.shape

    def to(self, dtype: torch.dtype) -> "Blend":  # noqa: D102
        return Blend(self.own.to(dtype), self.other.to(dtype), self.amount.to(dtype))

    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:  # noqa: D102
        own, other = self.own.differences(weight, rows), self.other.differences(weight, rows)
        return torch.lerp(own, other, rows.take(self.amount).unsqueeze(1))

    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:  # noqa: D102
        own = self.own.gram(weight, classes, references)
        other = self.other.gram(weight, classes, references)
        return torch.lerp(own, other, self.amount[classes].view(-1, 1, 1))

    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:  # noqa: D102
        own, other = self.own.variance(weight, classes), self.other.variance(weight, classes)
        return torch.lerp(own, other, self.amount[classes].unsqueeze(1))

    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:  # noqa: D102
        amount = self.amount[classes][position].unsqueeze(1)
        own = self.own.draw(noise, classes, position) * (1 - amount).sqrt()
        return own + self.other.draw(noise, classes, position) * amount.sqrt()

    def dense(self) -> Tensor:  # noqa: D102
        return torch.lerp(self.own.dense(), self.other.dense(), self.amount.view(-1, 1, 1))

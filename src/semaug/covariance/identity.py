"""The identity matrix for every class: noise that knows nothing of the features.

The row "identity matrix" of Table 8 of https://arxiv.org/abs/2007.10538.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from semaug.covariance.form import Form, KindState, Noise, State, centred, difference_form
from semaug.covariance.rows import ClassRows

__all__ = ["Identity", "IdentityKind"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


@dataclass(frozen=True, eq=False)
class Identity(Form):
    """Form of identity matrices."""

    like: Tensor  # (C, A), its values do not matter

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        weight = centred(weight)
        square, classes = weight.square().sum(dim=1), rows.classes
        product = weight[classes] @ weight.T
        return difference_form(square[classes].unsqueeze(1), square, product, classes)

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        return (references @ weight.T).expand(len(classes), -1, -1)

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        return weight.square().sum(dim=1).expand(len(classes), -1)

    @override
    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        return noise(self.like, len(position), self.like.shape[1])

    @override
    def dense(self) -> Tensor:
        eye = torch.eye(self.like.shape[1], dtype=self.like.dtype, device=self.like.device)
        return eye.expand(len(self.like), -1, -1)


class IdentityKind(KindState):
    """Nothing is kept but count and mean."""

    @override
    def form(self, state: State) -> Identity:
        return Identity(state["mean"])

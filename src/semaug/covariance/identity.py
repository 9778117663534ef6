"""The identity matrix for every class: noise that knows nothing of the features.

The row "identity matrix" of Table 8 of https://arxiv.org/abs/2007.10538.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from semaug.covariance.form import Form, Noise, centred, difference_form
from semaug.covariance.rows import ClassRows
from semaug.covariance.scatter import Scatter

__all__ = ["Identity", "IdentityKind"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


class Identity(NamedTuple):
    """Form of identity matrices."""

    like: Tensor  # (C, A), its values do not matter

    @property
    def shape(self) -> tuple[int, int]:  # noqa: D102
        return self.like.shape[0], self.like.shape[1]

    def to(self, dtype: torch.dtype) -> "Identity":  # noqa: D102
        return Identity(self.like.to(dtype))

    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:  # noqa: D102
        weight = centred(weight)
        square, classes = weight.square().sum(dim=1), rows.classes
        product = weight[classes] @ weight.T
        return difference_form(square[classes].unsqueeze(1), square, product, classes)

    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:  # noqa: D102
        return (references @ weight.T).expand(len(classes), -1, -1)

    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:  # noqa: D102
        return weight.square().sum(dim=1).expand(len(classes), -1)

    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:  # noqa: D102
        return noise(len(position), self.shape[1])

    def dense(self) -> Tensor:  # noqa: D102
        eye = torch.eye(self.shape[1], dtype=self.like.dtype, device=self.like.device)
        return eye.expand(self.shape[0], -1, -1)


class IdentityKind:
    """Nothing is kept but count and mean."""

    sums_over_ranks = True

    def buffers(self, num_classes: int, num_features: int) -> dict[str, Tensor]:
        """Create the state."""
        return {}

    def form(self, state: dict[str, Tensor]) -> Form:
        """Show the state to losses."""
        return Identity(state["mean"])

    def add(self, state: dict[str, Tensor], rows: ClassRows, scatter: Scatter) -> None:
        """Do nothing."""

    def merge(
        self, state: dict[str, Tensor], other: dict[str, Tensor], share: Tensor, drift: Tensor
    ) -> None:
        """Do nothing."""

"""One matrix for all classes: the covariance of all features about their one mean.

The row "single covariance matrix" of Table 8 of https://arxiv.org/abs/2007.10538. It holds
the distances between classes too, which the covariances of single classes do not.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from semaug._torch.compile import snapshot
from semaug.covariance.form import Noise, centred, difference_form
from semaug.covariance.full import FullKind, root
from semaug.covariance.rows import ClassRows

__all__ = ["Shared", "SharedKind"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


class Shared(NamedTuple):
    """Form of one matrix that stands for every class."""

    matrix: Tensor  # (A, A)
    num_classes: int

    @property
    def like(self) -> Tensor:  # noqa: D102
        return self.matrix

    @property
    def shape(self) -> tuple[int, int]:  # noqa: D102
        return self.num_classes, len(self.matrix)

    def to(self, dtype: torch.dtype) -> "Shared":  # noqa: D102
        return Shared(self.matrix.to(dtype), self.num_classes)

    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:  # noqa: D102
        weight = centred(weight)
        product = weight @ snapshot(self.matrix)  # the estimator may move on
        square = (product * weight).sum(dim=1)
        own, classes = product.index_select(0, rows.classes), rows.classes
        return difference_form(square[classes].unsqueeze(1), square, own @ weight.T, classes)

    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:  # noqa: D102
        gram = (references @ snapshot(self.matrix)) @ weight.T
        return gram.expand(len(classes), -1, -1)

    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:  # noqa: D102
        variance = ((weight @ snapshot(self.matrix)) * weight).sum(dim=1)
        return variance.expand(len(classes), -1)

    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:  # noqa: D102
        return noise(len(position), len(self.matrix)) @ root(self.matrix.unsqueeze(0))[0].T

    def dense(self) -> Tensor:  # noqa: D102
        return self.matrix.expand(self.num_classes, -1, -1)


class SharedKind(FullKind):
    """How it is kept: as the full covariance of a single class, ``covariance`` ``(1, A, A)``."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def form(self, state: dict[str, Tensor]) -> Shared:
        """Show the state to losses."""
        return Shared(state["covariance"][0], self.num_classes)

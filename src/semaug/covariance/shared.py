"""One matrix for all classes: the covariance of all features about their one mean.

The row "single covariance matrix" of Table 8 of https://arxiv.org/abs/2007.10538. It holds
the distances between classes too, which the covariances of single classes do not.
"""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

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
        weight = centred(weight)
        product = weight @ snapshot(self.matrix)  # the estimator may move on
        square = (product * weight).sum(dim=1)
        own, classes = product.index_select(0, rows.classes), rows.classes
        return difference_form(square[classes].unsqueeze(1), square, own @ weight.T, classes)

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

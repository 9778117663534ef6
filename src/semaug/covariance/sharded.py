"""Full covariances of which each rank holds those of some classes.

Rank r of K holds classes r C / K to (r + 1) C / K. Every rank sees the samples of all ranks
and updates its own classes. What a loss asks is computed by the rank that holds the class,
for the classes that any rank asks for, and summed over ranks, which are zero but for one.
In the backward pass gradients are summed likewise, so a rank's gradient of the weight is that
of its own classes in the losses of all ranks: the mean over ranks, which
``DistributedDataParallel`` takes, is that of data parallel training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from semaug._torch.autograd import known_signature
from semaug._torch.distributed import max_over_ranks, rank_and_size, sum_over_ranks
from semaug.covariance.batch import Scatter
from semaug.covariance.form import Form, Noise, State
from semaug.covariance.full import Full, FullKind
from semaug.covariance.rows import ClassRows, is_static

__all__ = ["Sharded", "ShardedKind"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes.


@dataclass(frozen=True, eq=False)
class Sharded(Form):
    """Form of full covariances, some of them on other ranks. All ranks must ask together."""

    own: Full  # of classes first to first + len(own)
    first: int
    num_classes: int

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        # Our classes come first in a rolled weight, as they do in our matrices.
        rolled = weight.roll(-self.first, 0)

        def of_own(classes: Tensor) -> Tensor:
            own = ClassRows(classes, classes[:0], complete=False)
            return self.own.differences(rolled, own).roll(self.first, 1)

        return self._from_all_ranks(of_own, rows.classes)

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        return self._from_all_ranks(lambda own: self.own.gram(weight, own, references), classes)

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        return self._from_all_ranks(lambda own: self.own.variance(weight, own), classes)

    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        """Refuse: samples would need matrices that other ranks hold."""
        raise ValueError(
            "ClassCovariance: expected no draws from sharded covariances, whose matrices are on "
            "other ranks; use kind='low_rank', or sharded=False"
        )

    def dense(self) -> Tensor:
        """Gather ``(C, A, A)``: as large as no single rank may hold."""
        whole = self.own.matrices.new_zeros(self.num_classes, *self.own.matrices.shape[1:])
        whole[self.first : self.first + len(self.own.matrices)] = self.own.matrices
        return sum_over_ranks(whole)

    def _from_all_ranks(self, compute: Callable[[Tensor], Tensor], classes: Tensor) -> Tensor:
        """Rows (R, ...) for ``classes``, from a function of indices into our own matrices."""
        union = self._union(classes)
        last = self.first + len(self.own.matrices)
        if is_static(classes.device):
            before, own = self.first, union[self.first : last]
        else:
            own = union[(union >= self.first) & (union < last)]
            before = int((union < self.first).sum())
        rows = compute(own - self.first)
        after = len(union) - before - len(own)
        padded = torch.cat(
            [rows.new_zeros(before, *rows.shape[1:]), rows, rows.new_zeros(after, *rows.shape[1:])]
        )
        return _SumOverRanks.apply(padded).index_select(0, torch.searchsorted(union, classes))

    def _union(self, classes: Tensor) -> Tensor:
        """Classes that any rank asks for, ascending; all, where looking would make wait."""
        every = torch.arange(self.num_classes, device=classes.device)
        if is_static(classes.device):
            return every
        asked = torch.zeros_like(every).index_fill_(0, classes, 1)
        return every[max_over_ranks(asked).bool()]


class ShardedKind(FullKind):
    """How they are kept: the buffer ``covariance`` holds the matrices of our own classes."""

    sums_over_ranks = False  # a rank has no place for the products of all classes

    def __init__(self, num_classes: int, rank: int = 0) -> None:
        super().__init__(num_classes)
        process, self.num_ranks = rank_and_size()
        self.first = process * num_classes // self.num_ranks
        self.last = (process + 1) * num_classes // self.num_ranks

    @override
    def buffers(self, num_rows: int, num_features: int) -> State:
        return super().buffers(self.last - self.first, num_features)

    @override
    def form(self, state: State) -> Sharded:
        self._check_ranks()
        return Sharded(Full(state["covariance"]), self.first, self.num_classes)

    @override
    def add(self, state: State, rows: ClassRows, scatter: Scatter) -> None:
        self._check_ranks()
        restrict = self._restricted_static if scatter.samples is None else self._restricted
        own_rows, own = restrict(rows, scatter)
        if self.first < self.last and len(own_rows.classes) > 0:
            super().add(state, own_rows, own)

    def _restricted(self, rows: ClassRows, scatter: Scatter) -> tuple[ClassRows, Scatter]:
        """On a CPU: rows of our classes, which stand together, as do their samples."""
        samples = scatter.samples
        assert samples is not None  # on a CPU
        first = int((rows.classes < self.first).sum())
        last = int((rows.classes < self.last).sum())
        start = int(samples[:first].sum())
        stop = start + int(samples[first:last].sum())
        own_rows = rows._replace(
            classes=rows.classes[first:last] - self.first,
            complete=last - first == self.last - self.first,
            samples=samples[first:last],
        )
        own = scatter._replace(
            deviation=scatter.deviation[start:stop],
            position=scatter.position[start:stop] - first,
            drift=scatter.drift[first:last],
            share=scatter.share[first:last],
            samples=samples[first:last],
        )
        return own_rows, own

    def _restricted_static(self, rows: ClassRows, scatter: Scatter) -> tuple[ClassRows, Scatter]:
        """Elsewhere: a slice of all classes, or all rows with nothing new in those of others."""
        if rows.complete:
            own = slice(self.first, self.last)
            rows = rows._replace(classes=rows.classes[own] - self.first)
            scatter = scatter._replace(
                position=scatter.position - self.first,
                drift=scatter.drift[own],
                share=scatter.share[own],
            )
            return rows, scatter
        ours = (rows.classes >= self.first) & (rows.classes < self.last)
        classes = torch.where(ours, rows.classes - self.first, 0)
        scatter = scatter._replace(
            deviation=scatter.deviation * ours[scatter.position].unsqueeze(1),
            drift=scatter.drift * ours.unsqueeze(1),
            share=scatter.share * ours,
        )
        return rows._replace(classes=classes), scatter

    def _check_ranks(self) -> None:
        if rank_and_size()[1] != self.num_ranks:
            raise RuntimeError(
                f"ClassCovariance: expected {self.num_ranks} process(es), as when the sharded "
                f"estimator was created, got {rank_and_size()[1]}; create it after the group"
            )

    def gathered(self, covariance: Tensor) -> Tensor:
        """Matrices of all classes, on the CPU; they pass the device one after the other."""
        self._check_ranks()
        whole = torch.empty(self.num_classes, *covariance.shape[1:], dtype=covariance.dtype)
        for c in range(self.num_classes):
            ours = self.first <= c < self.last
            matrix = covariance[c - self.first] if ours else torch.zeros_like(whole[0])
            whole[c] = sum_over_ranks(matrix.detach().to(covariance.device, copy=True))
        return whole

    @override
    def merge(self, state: State, other: State, share: Tensor, drift: Tensor) -> None:
        own = slice(self.first, self.last)
        super().merge(state, other, share[own], drift[own])


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(rows: Tensor) -> Tensor:
        return sum_over_ranks(rows.clone())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad.clone())

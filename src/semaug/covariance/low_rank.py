"""The r strongest directions of each class, and the remaining variance of each feature.

    S_c ~ B_c^T B_c + diag(s_c - diag(B_c^T B_c)),   B_c (r, A),  s_c the exact variances

After each batch, the basis and the new rows of a class are stacked, k = r + m + 1 of them,
and the r strongest singular directions of the stack are kept: eigenvectors of a (k, k)
matrix. What is cut off moves to the diagonal, so trace and diagonal are always exact, and

    |v^T (S - approximation) v| <= trace(cut) |v|^2,   trace(cut) = sum(s_c) - |B_c|^2

holds at any time, by numbers that are in the state: see ``captured``. On an accelerator, where
the number of rows is fixed, samples of a class that has more than four times its share of a
batch are cut off too.

Relatives: incremental singular value decomposition (Brand, 2002; Ross et al., 2008) and
Frequent Directions (Liberty, 2013), which bounds the error beforehand and pays with a bias.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from semaug._torch.compile import settled
from semaug.covariance.batch import Scatter
from semaug.covariance.diagonal import add_squares, diagonal_differences
from semaug.covariance.form import Form, KindState, Noise, State, centred
from semaug.covariance.rows import ClassRows, chunks

__all__ = ["LowRank", "LowRankKind"]

# N samples, C classes, A features, r rank, R rows of a table of classes, K reference classes,
# M draws.

BLOCK = 64  # rows of a class that join the basis at once, at most


@dataclass(frozen=True, eq=False)
class LowRank(Form):
    """Form of low-rank covariances with a diagonal remainder."""

    basis: Tensor  # (C, r, A)
    variances: Tensor  # (C, A), the whole diagonal

    def _rows(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Basis (R, r, A) and remainder (R, A) as copies, since the estimator may move on."""
        basis = settled(self.basis.index_select(0, classes))
        return basis, _remainder(settled(self.variances.index_select(0, classes)), basis)

    @override
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        basis, remainder = self._rows(rows.classes)
        projected = basis.flatten(0, 1) @ centred(weight).T  # (R r, C)
        projected = projected.unflatten(0, basis.shape[:2])
        index = rows.classes.view(-1, 1, 1).expand(-1, basis.shape[1], 1)
        along = (projected - projected.gather(2, index)).square().sum(dim=1)
        return along + diagonal_differences(weight, remainder, rows.classes)

    @override
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        basis, remainder = self._rows(classes)
        gram = (references @ basis.mT) @ (weight @ basis.mT).mT
        return gram + (references * remainder.unsqueeze(1)) @ weight.T

    @override
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        basis, remainder = self._rows(classes)
        return (weight @ basis.mT).square().sum(dim=2) + remainder @ weight.square().T

    @override
    def draw(self, noise: Noise, classes: Tensor, position: Tensor) -> Tensor:
        basis, remainder = self._rows(classes)
        along = noise(basis, len(position), basis.shape[1]).transpose(0, 1)  # (N, M, r)
        along = (along @ basis.index_select(0, position)).transpose(0, 1)
        return along + noise(basis, len(position), basis.shape[2]) * remainder.sqrt()[position]

    @override
    def dense(self) -> Tensor:
        return self.basis.mT @ self.basis + torch.diag_embed(_remainder(self.variances, self.basis))


def _remainder(variances: Tensor, basis: Tensor) -> Tensor:
    return (variances - basis.square().sum(dim=1)).clamp(min=0)


class LowRankKind(KindState):
    """How they are kept: the buffers ``basis`` ``(C, r, A)`` and ``variance`` ``(C, A)``."""

    sums_over_ranks = False  # the strongest directions of a sum are not a sum

    @override
    def buffers(self, num_rows: int, num_features: int) -> State:
        return {
            "basis": torch.zeros(num_rows, self.rank, num_features),
            "variance": torch.zeros(num_rows, num_features),
        }

    @override
    def form(self, state: State) -> LowRank:
        return LowRank(state["basis"], state["variance"])

    @override
    def add(self, state: State, rows: ClassRows, scatter: Scatter) -> None:
        add_squares(state["variance"], rows, scatter)
        share = scatter.share
        kept = (1 - share).sqrt()
        if scatter.samples is None:
            for new in _static_blocks(scatter):
                self._join(state["basis"], rows, share > 0, kept, new)
                kept = torch.ones_like(kept)
            return
        for present, new in _blocks(scatter):
            own = rows._replace(classes=rows.classes[present], complete=False)
            self._join(state["basis"], own, share[present] > 0, kept[present], new)
            kept = torch.ones_like(kept)

    def _join(
        self, basis: Tensor, rows: ClassRows, changed: Tensor, kept: Tensor, new: Tensor
    ) -> None:
        """Replace the bases of ``rows``, scaled by ``kept`` (R,), by those with ``new`` (R, m, A).

        Only where something ``changed`` (R,): of several rows of a class that is its first.
        """
        num_rows, _, num_features = new.shape
        size = num_features * (self.rank + new.shape[1])
        for start, stop in chunks(num_rows, size, basis):
            chunk = rows.classes[start:stop]
            old = basis.index_select(0, chunk)
            scaled = old * kept[start:stop].view(-1, 1, 1)
            stack = torch.cat([scaled, new[start:stop]], dim=1)  # (r', k, A)
            joined = _strongest(stack, self.rank)
            joined = torch.where(changed[start:stop].view(-1, 1, 1), joined, old)
            if rows.complete:
                basis[start:stop] = joined
            elif rows.samples is not None:
                basis.index_copy_(0, chunk, joined)
            else:
                basis.index_add_(0, chunk, joined - old)

    @override
    def merge(self, state: State, other: State, share: Tensor, drift: Tensor) -> None:
        basis, variance = state["basis"], state["variance"]
        variance.lerp_(other["variance"].to(variance), share.unsqueeze(1))
        variance.addcmul_(drift, drift)
        for start, stop in chunks(len(basis), 2 * basis[0].numel(), basis):
            part = share[start:stop].view(-1, 1, 1)
            theirs = other["basis"][start:stop].to(basis) * part.sqrt()
            mine = basis[start:stop] * (1 - part).sqrt()
            stack = torch.cat([mine, theirs, drift[start:stop].unsqueeze(1)], dim=1)
            basis[start:stop] = _strongest(stack, self.rank)


def _strongest(stack: Tensor, rank: int) -> Tensor:
    """Rows (R, r, A) whose products come closest to those of a stack (R, k, A)."""
    # In float64: squares lose half of the digits and may overflow, and the matrices are small.
    wide = stack.double()
    _, vectors = torch.linalg.eigh(wide @ wide.mT)  # ascending
    strongest = vectors[:, :, -rank:].to(stack.dtype)
    return strongest.mT @ stack


def _blocks(scatter: Scatter) -> Iterator[tuple[Tensor, Tensor]]:
    """New rows of the classes that have them, at most ``BLOCK`` at a time; on a CPU.

    Yields:
        Rows ``(R',)`` of the table, and what they get, ``(R', m, A)``.
    """
    deviation, row, drift, _, new, _ = scatter
    assert new is not None
    number = torch.arange(len(row)).sub_((new.cumsum(0) - new)[row])  # within its class
    present = torch.arange(len(new))
    for start in range(0, max(int(new.max()), 1), BLOCK):
        if start > 0:
            present = (new > start).nonzero().squeeze(1)
        inside = ((number >= start) & (number < start + BLOCK)).nonzero().squeeze(1)
        length = min(BLOCK, int(new.max()) - start) + (start == 0)  # with the drift at first
        slot_of_row = torch.zeros_like(new).index_copy_(0, present, torch.arange(len(present)))
        padded = drift.new_zeros(len(present) * length, drift.shape[1])
        place = slot_of_row[row[inside]] * length + (number[inside] - start)
        padded.index_copy_(0, place, deviation[inside])
        padded = padded.view(len(present), length, -1)
        if start == 0:
            padded[:, -1] = drift
        yield present, padded


def _static_blocks(scatter: Scatter) -> list[Tensor]:
    """New rows of each class with shapes that no value decides.

    Each class has slots for four times its share of the batch, 8 at least. Should it have
    more samples, the others count in its variances alone.
    """
    deviation, position, drift, _, _, usable = scatter
    num_samples, num_rows = len(deviation), len(drift)
    slots = min(max(num_samples, 1), max(8, -(-4 * num_samples // max(num_rows, 1))))
    if usable is not None:
        position = torch.where(usable, position, num_rows)  # out of the way
    row, order = position.sort(stable=True)
    samples = row.new_zeros(num_rows + 1).index_add_(0, row, torch.ones_like(row))
    start = samples.cumsum(0) - samples
    number = torch.arange(num_samples, device=row.device) - start[row]  # within its class
    inside = (number < slots).to(deviation.dtype)
    new = deviation.new_zeros((num_rows + 1) * slots, deviation.shape[1])
    new.index_add_(0, row * slots + number % slots, deviation[order] * inside.unsqueeze(1))
    new = new.unflatten(0, (num_rows + 1, slots))[:-1]
    return list(torch.cat([new, drift.unsqueeze(1)], dim=1).split(BLOCK, dim=1))

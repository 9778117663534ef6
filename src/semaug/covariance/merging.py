"""Samples, or other statistics, merged into statistics.

A batch that holds m samples of a class, with mean mu' and population covariance S',
meets a state of n samples, mean mu and covariance S. With w = m / (n + m) and
d = mu' - mu:

    mu <- mu + w d
    S  <- (1 - w) S + w S' + w (1 - w) d d^T
    n  <- n + m

which is exact: any split of the samples into batches gives the covariance of all of
them at once. A convex combination, so S stays positive semi-definite.

Source: Wang et al., https://arxiv.org/abs/2007.10538, Eqs. (1) to (3); merging two
states: Chan, Golub and LeVeque, 1979.

Literal form: tests/references/isda.py, ``covariance_by_loops``; with all options
tests/references/covariance.py, ``covariances_by_loops``.
"""

import torch
from torch import Tensor

from semaug._torch.distributed import is_first_rank, sum_over_ranks
from semaug.covariance.batch import Samples, Scatter, deviations
from semaug.covariance.form import KindState, State
from semaug.covariance.rows import ClassRows
from semaug.covariance.shrinkage import add_to_pooled, merge_pooled

__all__ = ["merge_samples", "merge_states", "one_class"]

# N samples, C classes, A features, R rows of a table of classes.


def merge_samples(
    kind: KindState, count: Tensor, state: State, samples: Samples, memory: float | str | None
) -> None:
    """Merge the samples of a batch.

    Args:
        kind: How covariances are kept.
        count: ``(C,)``, changed.
        state: The rest, changed.
        samples: Whose features are ours to change.
        memory: See :class:`semaug.ClassCovariance`.
    """
    rows, usable, in_sums = samples.rows, samples.usable, samples.in_sums
    num_rows, num_features = len(rows.classes), samples.features.shape[1]
    new = rows.samples
    if new is None:
        counted = torch.ones_like(rows.position) if usable is None else usable.long()
        new = torch.zeros_like(rows.classes).index_add_(0, rows.position, counted)
    sums = samples.features.new_zeros(num_rows, num_features)
    sums.index_add_(0, rows.position, samples.features)
    if in_sums:
        new = sum_over_ranks(new.clone())
        sum_over_ranks(sums)

    old = rows.take(count)
    if isinstance(memory, float):
        weight = rows.take(state["sample_weight"])
        old = weight * memory ** new.to(weight)
    size = new.to(sums.dtype)
    total = old + size
    share = size / total.clamp(min=1)  # w; 0 if nothing is new
    size.clamp_(min=1)
    batch_mean = sums.div_(size.unsqueeze(1))
    shift = batch_mean - rows.take(state["mean"])  # d
    factor = (share / size).sqrt_()
    deviation = deviations(samples, batch_mean, factor)
    drift = shift * (share * (1 - share)).sqrt_().unsqueeze(1)
    scatter = Scatter(deviation, rows.position, drift, share, rows.samples, usable)

    if "pooled" in state:
        weights = state.get("sample_weight", count)
        add_to_pooled(state["pooled"], weights, rows, scatter, total, in_sums=in_sums)
    if in_sums:
        _add_in_sums(kind, state, rows, scatter)
    else:
        kind.add(state, rows, scatter)
    rows.add_to(state["mean"], shift.mul_(share.unsqueeze(1)))
    rows.add_to(count, new)
    if isinstance(memory, float):
        rows.add_to(state["sample_weight"], torch.where(new > 0, total - weight, 0.0))


_SUMS = ("covariance", "variance")  # what kinds keep whose ranks share sums


def _add_in_sums(kind: KindState, state: State, rows: ClassRows, scatter: Scatter) -> None:
    """Add the products of all ranks: those of this rank, on nothing, and then their sum."""
    once = scatter.drift if is_first_rank() else torch.zeros_like(scatter.drift)
    everything = torch.ones_like(scatter.share)
    added = {name: torch.zeros_like(x) for name, x in state.items() if name in _SUMS}
    kind.add(added, rows, scatter._replace(drift=once, share=everything))
    for name, tensor in added.items():
        rest = (1 - scatter.share).view(-1, *[1] * (tensor.ndim - 1))
        state[name].mul_(rest).add_(sum_over_ranks(tensor))


def merge_states(
    kind: KindState, count: Tensor, state: State, other_count: Tensor, other: State
) -> None:
    """Merge the samples of another state, which may be on another device.

    Args:
        kind: How covariances are kept.
        count: ``(C,)``, changed.
        state: The rest, changed.
        other_count: ``(C,)`` of the other.
        other: The rest of the other, with the same names.
    """
    mean = state["mean"]
    mine = state.get("sample_weight", count)
    theirs = other.get("sample_weight", other_count).to(mean.device)
    total = (mine + theirs).to(mean)
    share = theirs / total.clamp(min=1)
    shift = other["mean"].to(mean) - mean
    drift = shift * (share * (1 - share)).sqrt().unsqueeze(1)
    if "pooled" in state:
        merge_pooled(state["pooled"], other["pooled"], mine, theirs, drift)
    kind.merge(state, other, share, drift)
    mean.add_(shift * share.unsqueeze(1))
    count.add_(other_count.to(count.device))
    if "sample_weight" in state:
        state["sample_weight"].copy_(total)


def one_class(rows: ClassRows) -> ClassRows:
    """All samples as those of class 0."""
    samples = None if rows.samples is None else rows.samples.sum().unsqueeze(0)
    return ClassRows(
        rows.classes.new_zeros(1), torch.zeros_like(rows.position), complete=True, samples=samples
    )

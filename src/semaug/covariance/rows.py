"""Which classes a batch needs, as rows of a small table.

Everything that semaug computes per class depends on the sample through its label
alone, so work is done once for each row of a table of classes and then indexed by
sample. On a CPU the rows are the classes present. On an accelerator, or while
compiling, counting the classes present would make the host wait, so the number of
rows is fixed: all classes when there are no more of them than samples, else one row
for each sample.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ClassRows", "all_classes", "chunks", "class_rows", "is_static", "select"]

# N samples, C classes, R rows.

# Elements that a chunk of classes may take: what caches hold on a CPU, where larger chunks
# are slower; on an accelerator, and for the length of a compiled graph, a bound on memory.
CHUNK_ELEMENTS = 2**20
CHUNK_ELEMENTS_STATIC = 2**25

ALWAYS_STATIC = False  # the tests' switch for what a CPU otherwise runs only while compiling


class ClassRows(NamedTuple):
    """A table of classes and where each sample stands in it."""

    classes: Tensor  # (R,) int64; may repeat a class, but samples then use its first row only
    position: Tensor  # (N,) int64, row of each sample: classes[position] == labels
    complete: bool  # classes is 0..C-1, so a per-class tensor is its own table
    samples: Tensor | None = None  # (R,) int64, how many each row has, where free to know
    kept: Tensor | None = None  # (N,) bool, False for ignored samples, whose position is any

    def take(self, per_class: Tensor) -> Tensor:
        """Rows (R, ...) of a per-class tensor (C, ...); a view where it can be."""
        return per_class if self.complete else per_class.index_select(0, self.classes)

    def per_sample(self, table: Tensor, logits: Tensor) -> Tensor:
        """Spread the rows (R, C) of a table over samples.

        Args:
            table: ``(R, C)``.
            logits: ``(N, C)`` of the samples, or ``(N, C, h, w)``, whose pixels are the samples.

        Returns:
            The shape of the logits; zeros for samples that are ignored.
        """
        own = table.index_select(0, self.position)
        if self.kept is not None:
            own = torch.where(self.kept.unsqueeze(1), own, 0.0)
        if logits.ndim == 2:
            return own
        return own.unflatten(0, (len(logits), *logits.shape[2:])).movedim(3, 1)

    def add_to(self, per_class: Tensor, change: Tensor) -> None:
        """Add (R, ...) to the rows of a per-class tensor, in place."""
        if self.complete:
            per_class.add_(change)
        else:
            per_class.index_add_(0, self.classes, change)


def is_static(device: torch.device) -> bool:
    """Whether shapes must not depend on values: on accelerators and while compiling."""
    return device.type != "cpu" or torch.compiler.is_compiling() or ALWAYS_STATIC


def all_classes(num_classes: int, labels: Tensor) -> ClassRows:
    """Build the table that holds every class; labels of ignored samples may be anything."""
    return ClassRows(torch.arange(num_classes, device=labels.device), labels, complete=True)


def class_rows(labels: Tensor, num_classes: int, ignore_index: int | None = None) -> ClassRows:
    """Build the table for ``labels`` of shape (N,).

    Args:
        labels: ``(N,)`` int64.
        num_classes: C.
        ignore_index: Label of samples that are not to be looked at.

    Raises:
        ValueError: If a label is out of range; on a CPU only, where looking is free.
    """
    if not is_static(labels.device):
        return _present_classes(labels, num_classes, ignore_index)
    kept = None
    if ignore_index is not None:
        kept = labels != ignore_index
        labels = torch.where(kept, labels, 0)
    if num_classes <= len(labels):
        return all_classes(num_classes, labels)._replace(kept=kept)
    if len(labels) == 0:
        return ClassRows(labels, labels, complete=False)
    first = (labels[:, None] == labels).to(torch.uint8).argmax(dim=1)
    return ClassRows(labels, first, complete=False, kept=kept)


def _present_classes(labels: Tensor, num_classes: int, ignore_index: int | None) -> ClassRows:
    count = _count(labels, num_classes)
    kept = None
    if ignore_index is not None and (count is None or 0 <= ignore_index < num_classes):
        kept = labels != ignore_index
        labels, everything = torch.where(kept, labels, 0), labels
        count = _count(everything[kept], num_classes)
    if count is None:
        shown = labels if kept is None else labels[kept]
        ignored = "" if ignore_index is None else f"; only {ignore_index} is ignored"
        raise ValueError(
            f"semaug: expected `labels` between 0 and {num_classes - 1}, "
            f"got {int(shown.min())} to {int(shown.max())}{ignored}"
        )
    classes = count.nonzero().squeeze(1)
    if len(classes) == 0 and len(labels) > 0:
        classes = classes.new_zeros(1)  # all are ignored, and yet stand somewhere
    if len(classes) == num_classes:
        return ClassRows(classes, labels, complete=True, samples=count, kept=kept)
    row_of_class = (count > 0).cumsum(0).sub_(1).clamp_(min=0)
    return ClassRows(classes, row_of_class[labels], False, samples=count[classes], kept=kept)


def _count(labels: Tensor, num_classes: int) -> Tensor | None:
    """Samples of each class, (C,); None if a label is out of range."""
    if len(labels) > 0:
        lowest, highest = labels.aminmax()  # first: the counts take as much memory as the highest
        if lowest < 0 or highest >= num_classes:
            return None
    return torch.bincount(labels, minlength=num_classes)


def chunks(num_rows: int, elements_per_row: int, like: Tensor) -> list[tuple[int, int]]:
    """Split rows into runs whose working memory stays bounded; no rows are one empty run."""
    budget = CHUNK_ELEMENTS_STATIC if is_static(like.device) else CHUNK_ELEMENTS
    # A large class goes alone: its matrix is a view then, where two would be copied together.
    size = budget // elements_per_row if elements_per_row <= budget // 4 else 1
    return [(start, min(start + size, num_rows)) for start in range(0, max(num_rows, 1), size)]


def select(matrices: Tensor, classes: Tensor) -> Tensor:
    """Rows of a per-class tensor; a single one on a CPU is a view, not a copy."""
    if len(classes) == 1 and not is_static(classes.device):
        return matrices.narrow(0, int(classes), 1)
    return matrices.index_select(0, classes)

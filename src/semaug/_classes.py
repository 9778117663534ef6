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

__all__ = ["ClassRows", "all_classes", "class_rows", "is_static"]

# N samples, C classes, R rows.


class ClassRows(NamedTuple):
    """A table of classes and where each sample stands in it."""

    classes: Tensor  # (R,) int64; may repeat a class, but samples then use its first row only
    position: Tensor  # (N,) int64, row of each sample: classes[position] == labels
    complete: bool  # classes is 0..C-1, so a per-class tensor is its own table
    samples: Tensor | None = None  # (R,) int64, how many each row has, where free to know

    def take(self, per_class: Tensor) -> Tensor:
        """Rows (R, ...) of a per-class tensor (C, ...); a view where it can be."""
        return per_class if self.complete else per_class.index_select(0, self.classes)

    def add_to(self, per_class: Tensor, change: Tensor) -> None:
        """Add (R, ...) to the rows of a per-class tensor, in place."""
        if self.complete:
            per_class.add_(change)
        else:
            per_class.index_add_(0, self.classes, change)


def is_static(device: torch.device) -> bool:
    """Whether shapes must not depend on values: on accelerators and while compiling."""
    return device.type != "cpu" or torch.compiler.is_compiling()


def all_classes(num_classes: int, labels: Tensor) -> ClassRows:
    """Build the table that holds every class."""
    return ClassRows(torch.arange(num_classes, device=labels.device), labels, complete=True)


def class_rows(labels: Tensor, num_classes: int) -> ClassRows:
    """Build the table for ``labels`` of shape (N,).

    Raises:
        ValueError: If a label is out of range; on a CPU only, where looking is free.
    """
    if not is_static(labels.device):
        return _present_classes(labels, num_classes)
    if num_classes <= len(labels):
        return all_classes(num_classes, labels)
    if len(labels) == 0:
        return ClassRows(labels, labels, complete=False)
    first = (labels[:, None] == labels).to(torch.uint8).argmax(dim=1)
    return ClassRows(labels, first, complete=False)


def _present_classes(labels: Tensor, num_classes: int) -> ClassRows:
    try:
        count = torch.bincount(labels, minlength=num_classes)
    except RuntimeError:  # a negative label
        count = labels.new_empty(0)
    if len(count) != num_classes:
        raise ValueError(
            f"semaug: expected `labels` between 0 and {num_classes - 1}, "
            f"got {int(labels.min())} to {int(labels.max())}"
        )
    classes = count.nonzero().squeeze(1)
    if len(classes) == num_classes:
        return ClassRows(classes, labels, complete=True, samples=count)
    row_of_class = (count > 0).cumsum(0).sub_(1)
    return ClassRows(classes, row_of_class[labels], complete=False, samples=count[classes])

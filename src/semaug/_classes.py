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

__all__ = ["ClassRows", "class_rows", "is_static"]

# N samples, C classes, R rows.


class ClassRows(NamedTuple):
    """A table of classes and where each sample stands in it."""

    classes: Tensor  # (R,) int64; may repeat a class, but samples then use its first row only
    index: Tensor  # (N,) int64, row of each sample: classes[index] == labels
    all_classes: bool  # classes is 0..C-1, so rows of a per-class tensor need no gather


def is_static(device: torch.device) -> bool:
    """Whether shapes must not depend on values: on accelerators and while compiling."""
    return device.type != "cpu" or torch.compiler.is_compiling()


def class_rows(labels: Tensor, num_classes: int) -> ClassRows:
    """Build the table for ``labels`` of shape (N,)."""
    if not is_static(labels.device):
        classes, index = torch.unique(labels, return_inverse=True)
        return ClassRows(classes, index, all_classes=len(classes) == num_classes)
    if num_classes <= len(labels):
        classes = torch.arange(num_classes, device=labels.device)
        return ClassRows(classes, labels, all_classes=True)
    first = (labels[:, None] == labels).to(torch.uint8).argmax(dim=1)
    return ClassRows(labels, first, all_classes=False)

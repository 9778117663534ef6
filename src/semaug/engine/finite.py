"""Find weights that are no finite numbers."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from semaug._torch.distributed import own_piece
from semaug.engine.processes import Processes


def non_finite_weight(objects: Iterable[Any], processes: Processes) -> str | None:
    """Return the name of the first parameter that is not finite, in any process; None without one.

    All processes must call it. It waits for an accelerator.

    Args:
        objects: Those that are modules are looked through.
        processes: Those that train together, each perhaps with pieces of parameters.
    """
    found = [
        named
        for part in objects
        if isinstance(part, nn.Module)
        for named in part.named_parameters()
    ]
    if not found:
        return None
    names, parameters = zip(*found, strict=True)
    bad = torch.stack([(~own_piece(parameter).isfinite()).sum() for parameter in parameters])
    counts = processes.sum_tensor(bad).tolist()
    return next((name for name, count in zip(names, counts, strict=True) if count), None)

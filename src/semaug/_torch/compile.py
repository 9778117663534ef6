"""State that changes inside a compiled training step."""

import torch
from torch import Tensor


def settled(value: Tensor) -> Tensor:
    """Return the value of changed state as the backward pass must see it.

    ``torch.compile`` may recompute cheap values in the backward pass instead of keeping
    them. What it derives from a buffer that the same graph changes in place comes out
    wrong then (seen in torch 2.15: a step counter is counted twice), so such values go
    through an operation that it does not look into and therefore keeps.
    """
    return _settled(value) if torch.compiler.is_compiling() else value


def snapshot(value: Tensor) -> Tensor:
    """Copy state that may change before the backward pass."""
    return _settled(value) if torch.compiler.is_compiling() else value.clone()


@torch.library.custom_op("semaug::settled", mutates_args=())
def _settled(value: Tensor) -> Tensor:
    return value.clone()


@_settled.register_fake
def _(value: Tensor) -> Tensor:
    return torch.empty_like(value)

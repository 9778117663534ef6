"""Whole training steps as contestants."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from measure import alternate, median_interval, spread
from semaug.methods import Batch, Method

__all__ = ["compare_two", "make_step"]


def make_step(
    method: Method, batches: Sequence[Batch], precision: str, device: torch.device
) -> Callable[[], None]:
    """Return a function that trains one step, on one batch after the other.

    Args:
        method: What is trained; it is moved to the device.
        batches: On the device.
        precision: ``"32"`` or ``"bf16"``.
        device: Where.
    """
    method.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        method.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True
    )
    state = {"turn": 0}

    def run() -> None:
        batch = batches[state["turn"] % len(batches)]
        state["turn"] += 1
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = method.loss(batch)
        output.loss.backward()
        optimizer.step()

    return run


def compare_two(
    contestants: dict[str, Callable[[], None]], device: torch.device, *, seconds: float
) -> dict[str, Any]:
    """Let two take turns, and return the seconds of both and the ratio, second over first.

    The ratio has the 95 % interval of its median beside it.
    """
    times = alternate(contestants, device, seconds=seconds)
    # Neighbours in time share what else the machine does, so their ratio is steadier.
    ratios = [b / a for a, b in zip(*times.values(), strict=True)]
    return {
        "seconds": {name: spread(own) for name, own in times.items()},
        "ratio": spread(ratios) | {"interval": median_interval(ratios)},
    }

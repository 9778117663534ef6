"""What the folder of a run holds, as objects: its data set, and its method with trained weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from semaug.average import WeightAverage
from semaug.data import DataSet
from semaug.engine.build import Builder
from semaug.engine.preprocessing import form_of
from semaug.errors import as_user_error
from semaug.methods import Method


class RecordedData:
    """The data set of a run as its folder describes it; anything else is read when asked for.

    Args:
        name: Of the data set.
        facts: As :func:`semaug.engine.images.describe_input` returns them.
        read_data: Reads the data set.
    """

    def __init__(self, name: str, facts: Mapping[str, Any], read_data: Callable[[], DataSet]):
        self.name = name
        self.classes = tuple(facts["classes"])
        self.mean, self.std, self.pixels = facts["mean"], facts["std"], facts.get("pixels")
        self.num_classes, self.num_images = len(self.classes), facts["train"]
        masks = facts.get("masks")
        self.has_masks = masks is not None
        self.colors, self.ids = (masks or {}).get("colors"), (masks or {}).get("ids")
        self._read_data = read_data

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of Python, such as those that copies look for
            raise AttributeError(name)
        return getattr(self._read_data(), name)


def restore_method(
    builder: Builder,
    device: torch.device,
    state: Mapping[str, Any],
    path: Path,
    ema_decay: float | None = None,
) -> Method:
    """Build a method with the weights of a checkpoint, in evaluation mode and without gradients.

    Args:
        builder: Of the run.
        device: Where the networks are to be.
        state: Of the objects in the checkpoint, by name.
        path: Of the checkpoint, for messages.
        ema_decay: Of the averaged weights to take; None takes those that the loss saw.

    Raises:
        UserError: If the state does not fit the method.
    """
    with torch.random.fork_rng(devices=[]):
        method = builder.method()
    layout, dtype = form_of(builder.recipe)
    method.to(device, dtype).to(memory_format=layout)
    context = f"{path}: holds the state of another version: "
    with as_user_error(context, KeyError, RuntimeError, ValueError):
        method.load_state_dict(state["method"])
        if ema_decay is not None:
            networks = nn.ModuleList(method.networks())
            average = WeightAverage(networks, ema_decay)
            average.load_state_dict(state["average"])
            networks.load_state_dict(average.averaged.state_dict())
    return method.eval().requires_grad_(False)

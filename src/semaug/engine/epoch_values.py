"""What is measured while an epoch is trained: values of its steps, and metrics of its images."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from semaug.engine.processes import Processes
from semaug.recipe.plan import Plan
from semaug.runs.record import finite_or_none


class EpochValues:
    """Losses and logs of each step of an epoch, kept on the device, and metrics of its images.

    Nothing waits for an accelerator until :meth:`losses` or :meth:`means` are asked for.

    Args:
        plan: Numbers of steps, and sizes of batches.
        processes: Those that train together.
        device: Where values are kept.
        metrics: Of the training images, by the name of their column; the loop counts with them.
        main: Name of the main metric of the run.
    """

    def __init__(
        self,
        plan: Plan,
        processes: Processes,
        device: torch.device,
        metrics: nn.ModuleDict,
        main: str,
    ) -> None:
        self._plan, self._processes, self._device = plan, processes, device
        self._metrics: Any = metrics
        self._main = main
        self._sums: dict[str, Tensor] = {}  # (steps_per_epoch,) float32 by name

    def add(self, step: int, values: Mapping[str, Tensor], share: float) -> None:
        """Keep the values of a step.

        Args:
            step: Of the epoch, from 0.
            values: Scalars, means over the images of this process.
            share: Which part of the joint batch those are.
        """
        for name, value in values.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros(self._plan.steps_per_epoch, device=self._device)
            self._sums[name][step] = value.detach() * share

    def losses(self, num_steps: int) -> Tensor:
        """Return the losses ``(num_steps,)`` of the first steps, zeros where none was counted."""
        return self._sums.get("loss", torch.zeros(self._plan.steps_per_epoch))[:num_steps]

    def means(self, num_steps: int, *, joint: bool) -> dict[str, float | None]:
        """Return the mean of each value over the images of the first steps, and the metrics.

        Args:
            num_steps: Of this epoch so far.
            joint: Whether of all processes, which must all call this; else what this one saw
                stands for all.
        """
        scale = 1 if joint else self._processes.size
        sizes = torch.tensor(
            [self._plan.joint_size(self._plan.counted, step) for step in range(num_steps)],
            dtype=torch.float64,
        )
        found: dict[str, float | None] = {}
        for name, values in self._sums.items():
            own = values[:num_steps]
            own = self._processes.sum_tensor(own) if joint else own * scale
            found[name] = float(own.double().cpu() @ sizes) / float(sizes.sum())
        for name, metric in self._metrics.items():
            if joint:
                metric.merge(self._processes.sum_tensor)
            value = metric.compute()
            if math.isfinite(value) or name == self._main:
                found[name] = finite_or_none(value)  # of other streams only what was counted
        return found

    def reset(self) -> None:
        """Begin another epoch."""
        self._sums = {}
        for metric in self._metrics.values():
            metric.reset()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return what all processes counted together. All must call this."""
        sum_tensor = self._processes.sum_tensor
        return {
            "sums": {name: sum_tensor(values) for name, values in self._sums.items()},
            "training": {name: sum_tensor(x) for name, x in self._metrics.state_dict().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state: the first process all of it, so that sums stay what they were.

        Raises:
            KeyError: If something is missing.
            RuntimeError: If the metrics are others.
        """
        is_first = self._processes.is_first
        if is_first:
            self._metrics.load_state_dict(state["training"])
        for name, values in state["sums"].items():
            kept = values if is_first else torch.zeros_like(values)
            self._sums[name] = kept.to(self._device)

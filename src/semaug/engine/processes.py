"""Several processes that train one run together, each on a piece of every batch.

They are started by ``torchrun``, on one machine or many. Each has its own copy of network and
loss; gradients are averaged, and statistics of features are those of the joint batch. Only the
first process writes files and shows progress.
"""

import inspect
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from semaug._torch.distributed import sum_over_ranks
from semaug.engine.torchrun import num_processes, process_rank
from semaug.errors import UserError
from semaug.recipe.plan import Plan

T = TypeVar("T")

# As Fabric calls the precisions of recipes.
_FABRIC_PRECISION: dict[str, Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]] = {
    "32": "32-true",
    "64": "64-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


# Fabric would say the precision whenever a network is loaded; recipes say it.
logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)


class Processes:
    """This process among those that train together.

    Made in all of them at once: it waits until all have come.

    Args:
        device: Of this process.
        precision: Of the recipe. A CPU tests networks of ``"fp16"`` in float32, for Fabric has fp16
            on GPUs alone.
        fsdp: Whether parameters are shared out; see :mod:`semaug.engine.fsdp`.

    Raises:
        UserError: If there are more processes on this machine than GPUs, or a single one is to
            share parameters out.
    """

    def __init__(self, device: torch.device, precision: str, *, fsdp: bool = False) -> None:
        self.size = num_processes()
        self.fsdp = fsdp
        self.rank = process_rank()
        self.is_first = self.rank == 0
        self.seconds_waited = 0.0  # for the others, in `any`
        on_cpu = precision == "fp16" and device.type == "cpu"
        chosen = _FABRIC_PRECISION["32" if on_cpu else precision]
        if self.size == 1:
            if fsdp:
                raise UserError(
                    "train: fsdp needs several processes to share parameters out to; start them "
                    "with torchrun --nproc-per-node 2 -m semaug train ..."
                )
            devices = 1 if device.index is None else [device.index]
            self.fabric = Fabric(accelerator=device.type, devices=devices, precision=chosen)
            return
        local = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        if device.type == "cuda" and local > torch.cuda.device_count():
            raise UserError(
                f"train: expected one GPU for each of {local} processes on this machine, got "
                f"{torch.cuda.device_count()}; start fewer with --nproc-per-node"
            )
        self.fabric = Fabric(
            accelerator=device.type,
            devices=local,
            num_nodes=self.size // local,
            strategy=DDPStrategy(**_without_sending_buffers()),
            precision=chosen,
        )
        self.fabric.launch()
        # For words about when to stop: a GPU would be waited for.
        self._words: Any = dist.new_group(backend="gloo")

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is up in any process. All must call this."""
        if self.size == 1:
            return flags
        raised, begin = torch.tensor(flags, dtype=torch.uint8), time.monotonic()
        dist.all_reduce(raised, dist.ReduceOp.MAX, group=self._words)
        self.seconds_waited += time.monotonic() - begin
        return tuple(bool(flag) for flag in raised.tolist())

    def wait_for_all(self) -> None:
        """Wait until all processes have come here. All must call this."""
        if self.size > 1:
            dist.barrier(group=self._words)

    def gather(self, value: float) -> list[float]:
        """Return the number of each process, in their order. All must call this."""
        values = torch.zeros(self.size, dtype=torch.float64)
        values[self.rank] = value
        if self.size > 1:
            dist.all_reduce(values, group=self._words)
        return values.tolist()

    def reduce_in_first(self, value: Any, of_all: Callable[[list[Any]], T]) -> T:
        """Return what the first process makes of plain data of all. All must call this.

        Args:
            value: Of this process.
            of_all: Called in the first process, with the values in the order of processes.
        """
        if self.size == 1:
            return of_all([value])
        values: Any = [None] * self.size if self.is_first else None
        dist.gather_object(value, values, group=self._words)
        answer: Any = [of_all(values) if self.is_first else None]
        dist.broadcast_object_list(answer, group=self._words)
        found: T = answer[0]
        return found

    def average_buffers(self, networks: Iterable[nn.Module]) -> None:
        """Give all processes the mean of what batch norms have seen. All must call this.

        Running statistics are linear in those of each batch, so it does not matter when.
        """
        buffers = [
            buffer
            for network in networks
            for buffer in network.buffers()
            if buffer.is_floating_point()
        ]
        if self.size == 1 or not buffers:
            return
        joined = torch.cat([buffer.flatten().double() for buffer in buffers])
        means = (sum_over_ranks(joined) / self.size).split([buffer.numel() for buffer in buffers])
        for buffer, mean in zip(buffers, means, strict=True):
            buffer.copy_(mean.view_as(buffer))

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes. All must call this."""
        return sum_over_ranks(tensor.clone())

    def check_batches(self, plan: Plan) -> None:
        """Check that each process gets an image of every batch.

        Raises:
            UserError: If one would get none.
        """
        for name, (num_images, batch_size, _) in plan.streams.items():
            fewest = min(plan.joint_size(name, 0), plan.joint_size(name, plan.steps_per_epoch - 1))
            if fewest < self.size:
                raise UserError(
                    f"train: expected an image of every batch for each of {self.size} processes, "
                    f"but with batch_size={batch_size} a step has {fewest} of {num_images} "
                    "training images; choose another batch_size or fewer processes"
                )


def _without_sending_buffers() -> dict[str, Any]:
    """Return the argument of DistributedDataParallel.

    The statistics of the loss are the same everywhere already, and too large to be sent.
    """
    known = inspect.signature(DistributedDataParallel).parameters
    new = "forward_sync_buffers"  # torch 2.15 warns of the old name
    return {new if new in known else "broadcast_buffers": False}

"""Processes that train together, for tests: they share one import of torch."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["run_together"]


def run_together(function: Callable[..., None], num_processes: int, *args: Any) -> None:
    """Call ``function(rank, num_processes, *args)`` in so many fresh processes, and wait for them.

    They come from a server that has imported what takes long, and has computed nothing yet.
    """
    multiprocessing.set_forkserver_preload(["torch._dynamo", "semaug.features", "semaug.losses"])
    torch.multiprocessing.start_processes(
        function, (num_processes, *args), nprocs=num_processes, start_method="forkserver"
    )

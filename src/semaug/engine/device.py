"""Choose a device and what suits it."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from semaug._torch.depthwise import DepthwiseGradients, has_depthwise
from semaug.errors import UserError
from semaug.recipe.quick import step_cost

_MOST_WORKERS = 16  # more of them wait for memory and disk
_FEW = 1e9  # multiply-adds of a step, which a core does in some 20 to 50 ms


def choose_device(name: str) -> torch.device:
    """Return the device for ``"auto"``, ``"cpu"``, ``"cuda"`` or one GPU such as ``"cuda:1"``.

    Raises:
        UserError: If the name is unknown, or there is no such device.
    """
    kind, colon, index = name.partition(":")
    numbered = kind == "cuda" and index.isdecimal()
    if kind not in ("auto", "cpu", "cuda") or (colon and not numbered):
        apple = "; MPS has no float64, in which losses count" if kind == "mps" else ""
        raise UserError(
            f"semaug: expected `device` to be auto, cpu, cuda, or one GPU such as cuda:1, got "
            f"{name!r}{apple}"
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"semaug: expected a CUDA device, but torch {torch.__version__} finds none here; "
            "choose --device cpu"
        )
    if kind == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if not colon:  # torchrun starts a process for each of them
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if "LOCAL_RANK" in os.environ:
        raise UserError(
            f"semaug: expected --device cuda, for torchrun gives each process its GPU, got "
            f"{name!r}; choose GPUs with the variable CUDA_VISIBLE_DEVICES"
        )
    if int(index) >= (count := torch.cuda.device_count()):
        raise UserError(
            f"semaug: expected one of {count} GPUs, from cuda:0 to cuda:{count - 1}, got {name!r}; "
            "the variable CUDA_VISIBLE_DEVICES says which GPUs torch sees"
        )
    return torch.device("cuda", int(index))


def settle(recipe: Any, device: torch.device) -> Any:
    """Replace ``"auto"`` by what suits the device: bf16 on a GPU built for it, channels last.

    On a CPU float32 stays the default. There bf16 is faster only on processors with
    AVX512-BF16 or AMX (1.6 times on one of them), and what a recipe means must not depend
    on the processor. On GPUs neither choice has been measured yet.
    """
    if recipe.precision == "auto":
        # Older GPUs emulate bf16, slower than they compute in float32.
        cuda = device.type == "cuda"
        built_for_it = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        recipe = replace(recipe, precision="bf16" if built_for_it else "32")
    if recipe.channels_last == "auto":
        recipe = replace(recipe, channels_last=True)
    return recipe


def count_workers(wanted: int | None) -> int:
    """Return how many processes decode images: as wanted, or one for each core but one."""
    return max(1, min(_MOST_WORKERS, _num_cores() - 1)) if wanted is None else wanted


def count_threads(recipe: Any, wanted: int | None) -> int:
    """Return how many CPU threads train a recipe: as wanted, or one for small work.

    Work is small where a step takes fewer than 10^9 multiply-adds. More threads would gain nothing
    there, and where others use the machine they wait for each other, for longer than the work
    takes. All other work, and that of networks from outside, is done by the threads that torch has.
    """
    if wanted is not None:
        return wanted
    return 1 if 0 < step_cost(recipe) < _FEW else torch.get_num_threads()


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Compute with so many CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gradients(recipe: Any, device: torch.device, method: nn.Module) -> AbstractContextManager[Any]:
    """Return the context of a training step's forward pass, where a faster one is known.

    Depthwise convolutions in bf16 on a CPU have one, which makes a training step of an EfficientNet
    1.7 times as fast.
    """
    slow = device.type == "cpu" and recipe.precision == "bf16" and has_depthwise(method)
    return DepthwiseGradients() if slow and not recipe.compile else nullcontext()


@contextmanager
def operators(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Choose the operators of torch for a while: the fastest, or those that repeat themselves.

    Raises:
        RuntimeError: In the ``with`` block, if torch has no deterministic form of an operator.
    """
    benchmark = torch.backends.cudnn.benchmark
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
    torch.backends.cudnn.benchmark = not deterministic  # the shapes of a run hardly change
    if deterministic:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(was_deterministic, warn_only=warn_only)


def _num_cores() -> int:
    """Count the cores that this process may use, not those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

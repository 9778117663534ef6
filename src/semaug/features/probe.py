"""Run a model once, leave no trace in it, and see which layers worked on what."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Linear = nn.Linear | nn.Conv2d
Candidates = dict[str, Linear]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Capture(NamedTuple):
    """A layer at work in one forward."""

    module: Linear
    inputs: Tensor
    output: Tensor
    weight: Tensor
    version: int | None  # of the output, which operations in place raise; None if unknown


def captured(module: Linear, args: Args, kwargs: Kwargs, output: Tensor, weight: Tensor) -> Capture:
    """Note what a Linear or a convolution was called with, and the version of its output."""
    unversioned = torch.compiler.is_compiling() or output.is_inference()
    version = None if unversioned else output._version
    return Capture(module, args[0] if args else kwargs["input"], output, weight, version)


class Probe(NamedTuple):
    """What one forward showed."""

    output: Any
    calls: list[Capture]  # in order


def run_probe(model: nn.Module, images: Tensor, candidates: Candidates) -> Probe:
    """Run the model once in evaluation mode and leave no trace in it.

    Candidates are looked for with gradients, since the graph shows what became of an output.
    """
    calls: list[Capture] = []
    looking = bool(candidates)

    def record(module: Linear, args: Args, kwargs: Kwargs, output: Tensor) -> None:
        calls.append(captured(module, args, kwargs, output, module.weight))

    if looking and images.is_floating_point():
        images = images.detach().requires_grad_().clone()  # a copy may be changed in place
    # Few models draw while evaluating; only CPU and CUDA generators can be saved one by one.
    devices = [images.device] if images.is_cuda else []
    with ExitStack() as stack:
        stack.callback(_reshard, model)
        for module in candidates.values():
            stack.callback(module.register_forward_hook(record, with_kwargs=True).remove)
        stack.enter_context(torch.set_grad_enabled(looking))
        with evaluating(model), torch.random.fork_rng(devices), _not_compiled():
            return Probe(model(images), calls)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode while the block runs."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def _reshard(model: nn.Module) -> None:
    # FSDP2 leaves the root gathered after a forward until the next backward; a step of the
    # optimizer in between would train with the old weights.
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None:
        for module in model.modules():
            if isinstance(module, fsdp.FSDPModule):
                module.reshard()


def _not_compiled() -> AbstractContextManager[Any]:
    # A hook added after the first compiled call is never seen, so the probe must not be that
    # call. Where dynamo was not imported nothing is compiled, and importing it takes seconds.
    return (
        torch.compiler.set_stance("force_eager")
        if "torch._dynamo" in sys.modules
        else nullcontext()
    )


def probe_images(model: nn.Module, given: Tensor | None, size: Sequence[int]) -> Tensor:
    """Two images where the parameters are: given ones, or noise of a size."""
    parameter = next(p for p in model.parameters() if p.is_floating_point())
    if given is not None:
        dtype = parameter.dtype if given.is_floating_point() else given.dtype
        return given[:2].to(parameter.device, dtype)
    noise = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    return noise.to(parameter.device, parameter.dtype)


def declared_size(model: nn.Module) -> tuple[int, ...] | None:
    """``(channels, height, width)`` by the configuration that timm or transformers left."""
    timm_size = getattr(getattr(model, "default_cfg", None), "get", lambda _: None)("input_size")
    if timm_size is not None:
        return tuple(timm_size)
    config = getattr(model, "config", None)
    sides = getattr(config, "image_size", None)
    if sides is None:
        return None
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return getattr(config, "num_channels", 3), height, width


GUESSED_SIZE = (3, 224, 224)
PROBE_ERRORS = (RuntimeError, ValueError, TypeError, AssertionError)  # what forwards raise

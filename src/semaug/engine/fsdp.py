"""Parameters that the processes of a run share out, by torch's ``fully_shard`` (FSDP2).

Each process keeps a piece of every parameter, of its gradient and of what the optimizer remembers
of it. A block of a network is gathered while it computes. Checkpoints are those of runs that
share out nothing, so a run goes on either way.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.optim import Optimizer

from semaug.errors import UserError, as_user_error
from semaug.methods import Method

SMALLEST = 1_000_000  # parameters that a block has at least, to be gathered by itself


def share_out(method: Method, copies: Sequence[nn.Module], device: torch.device) -> None:
    """Share the networks of a method out to all processes, and copies of them likewise.

    Args:
        method: Its networks are changed in place, on the device.
        copies: Modules that are never called, such as averages.
        device: Of this process.

    Raises:
        UserError: If a parameter is of the loss, or torch cannot share one out.
    """
    networks = [
        called
        for network in method.networks()
        for called in (network if isinstance(network, nn.ModuleList) else [network])
    ]
    shared = {id(parameter) for network in networks for parameter in network.parameters()}
    for name, parameter in method.named_parameters():
        if id(parameter) not in shared:
            raise UserError(
                f"train: fsdp shares out parameters of networks, got {name!r} outside of them; "
                "train this method or loss without it"
            )
    method.to(memory_format=torch.contiguous_format)  # FSDP2 takes no others
    mesh = DeviceMesh(device.type, list(range(torch.distributed.get_world_size())))
    with as_user_error("train: fsdp: ", NotImplementedError, ValueError):
        for network in networks:
            for block in _find_large_blocks(network):
                fully_shard(block, mesh=mesh)
            fully_shard(network, mesh=mesh)
        for module in (module for copy in copies for module in copy.modules()):
            for name, parameter in module.named_parameters(recurse=False):
                pieces = distribute_tensor(parameter.detach().contiguous(), mesh, [Shard(0)])
                setattr(module, name, nn.Parameter(pieces, requires_grad=False))


def _find_large_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of a network, inner ones first, whose other parameters are many."""
    listed = [
        child
        for module in network.modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        for child in module.children()
    ]
    taken: set[int] = set()
    for block in reversed(listed):  # children come behind their parents
        own = {id(x): x.numel() for x in block.parameters() if id(x) not in taken}
        is_called = not isinstance(block, nn.ModuleList | nn.ModuleDict)
        if is_called and any(block.children()) and sum(own.values()) >= SMALLEST:
            taken |= own.keys()
            yield block


def let_go(networks: Iterable[nn.Module]) -> None:
    """Free what a forward without a backward pass left gathered; no-op for other networks."""
    for module in (module for network in networks for module in network.modules()):
        if isinstance(module, FSDPModule):
            module.reshard()


def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> None:
    """Do what ``torch.nn.utils.clip_grad_norm_`` does, by a norm that all processes have whole.

    torch 2.9 rounds the factor to float32 where a norm is in pieces.
    """
    norm = nn.utils.get_total_norm([x.grad for x in parameters if x.grad is not None])
    whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
    nn.utils.clip_grads_with_norm_(parameters, max_norm, whole)


def has_pieces(part: Any) -> bool:
    """Whether this process has only pieces of a module."""
    return isinstance(part, nn.Module) and any(isinstance(x, DTensor) for x in part.parameters())


def gathered(state: Any, *, keep: bool) -> Any:
    """Return a state with whole tensors, on the CPU where pieces were. All processes must call it.

    Args:
        state: Of a module or an optimizer: dicts and lists of tensors and numbers.
        keep: Whether this process wants them; others get empty tensors in their place.
    """
    if isinstance(state, DTensor):
        whole = state.full_tensor()
        return whole.cpu() if keep else whole.new_empty(0)
    if isinstance(state, Mapping):
        return {name: gathered(part, keep=keep) for name, part in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(gathered(part, keep=keep) for part in state)
    return state


def pieces_of(state: Any, part: Any) -> Any:
    """Return a whole state with this process's pieces where ``part``, its owner, has some."""
    if isinstance(part, Optimizer):
        parameters = [x for group in part.param_groups for x in group["params"]]
        moments = {
            index: {
                name: _distribute_like(value, parameters[index]) for name, value in values.items()
            }
            for index, values in state["state"].items()
        }
        return {**state, "state": moments}
    if isinstance(part, nn.Module):
        own = part.state_dict()
        return {name: _distribute_like(value, own.get(name)) for name, value in state.items()}
    return state


def _distribute_like(value: Any, own: Any) -> Any:
    if not (isinstance(own, DTensor) and isinstance(value, Tensor) and value.shape == own.shape):
        return value
    value = value.to(own.device)
    return distribute_tensor(value, own.device_mesh, own.placements, src_data_rank=None)

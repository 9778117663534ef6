"""Multiply by one random number in the forward pass and by another in the backward pass.

Both numbers are drawn in the forward pass, from torch's generator of the device, as dropout
does. So runs repeat, and gradient checkpointing, which runs the forward pass again with the
same random numbers, finds the same gradients.
"""

from typing import Any

import torch
from torch import Tensor

from semaug._torch.autograd import known_signature

# N images, C channels, H x W pixels.

LEVELS = ("image", "batch")


def uniform(like: Tensor, level: str, num_draws: int) -> tuple[Tensor, ...]:
    """Draw from [0, 1), a few times at once.

    Args:
        like: (N, C, H, W).
        level: ``"image"`` for a number for each image, ``"batch"`` for one.
        num_draws: How many tensors of them.

    Returns:
        Tensors that broadcast over ``like``: (N, 1, 1, 1) or (1, 1, 1, 1).
    """
    length = len(like) if level == "image" else 1
    # All in one call: a compiler would put off those that the forward pass does not need, and
    # draw other numbers than eager execution. Float32, since half precision has few numbers.
    draws = torch.rand(num_draws, length, 1, 1, 1, device=like.device, dtype=torch.float32)
    return draws.to(like.dtype).unbind()


def mix(first: Tensor, second: Tensor, share: Tensor, backward_share: Tensor) -> Tensor:
    """``share * first + (1 - share) * second``, with ``backward_share`` for the gradients.

    Args:
        first: (N, C, H, W).
        second: (N, C, H, W).
        share: Broadcasts over them, as does ``backward_share``; both are constants.
        backward_share: Its part of the gradient reaches ``first``, the rest ``second``.

    Returns:
        (N, C, H, W).
    """
    return _Mix.apply(first, second, share, backward_share)


def scale(x: Tensor, factor: Tensor, backward_factor: Tensor) -> Tensor:
    """``factor * x``, with ``backward_factor`` for the gradient.

    Args:
        x: (N, C, H, W).
        factor: Broadcasts over it, as does ``backward_factor``; both are constants.
        backward_factor: Multiplies the gradient.

    Returns:
        (N, C, H, W).
    """
    return _Scale.apply(x, factor, backward_factor)


class _KeepsLast(torch.autograd.Function):
    """Keeps its last input, a constant, for the backward pass."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[-1])


class _Mix(_KeepsLast):
    @staticmethod
    @known_signature
    def forward(first: Tensor, second: Tensor, share: Tensor, backward_share: Tensor) -> Tensor:
        return torch.lerp(second, first, share)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (backward_share,) = ctx.saved_tensors
        first = grad * backward_share
        return first, grad - first, None, None


class _Scale(_KeepsLast):
    @staticmethod
    @known_signature
    def forward(x: Tensor, factor: Tensor, backward_factor: Tensor) -> Tensor:
        return x * factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (backward_factor,) = ctx.saved_tensors
        return grad * backward_factor, None, None

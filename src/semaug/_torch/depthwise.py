"""Gradients of depthwise convolutions in bf16 on a CPU."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

__all__ = ["DepthwiseGradients", "has_depthwise"]


class DepthwiseGradients(TorchFunctionMode):
    """While it is entered, depthwise convolutions in bf16 compute their gradients in float32.

    oneDNN has no fast kernel of these gradients in bf16. With a larger stride one of them takes up
    to 100 times as long as in float32, and most of a training step of an EfficientNet. Outputs
    stay the same, and gradients are more precise. Only for a CPU.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replace depthwise convolutions."""
        if func is torch.conv2d:
            return _convolution(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def has_depthwise(module: nn.Module) -> bool:
    """Say whether a module has a convolution with a kernel for each channel."""
    convolutions = (one for one in module.modules() if isinstance(one, nn.Conv2d))
    return any(one.groups == one.in_channels > 1 for one in convolutions)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    is_depthwise = groups > 1 and weight.shape[1] == 1 and not isinstance(padding, str)
    if not (is_depthwise and torch.is_autocast_enabled("cpu")):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    cast = [None if one is None else one.to(torch.bfloat16) for one in (input, weight, bias)]
    sizes = [
        (size, size) if isinstance(size, int) else size for size in (stride, padding, dilation)
    ]
    output: Tensor = _Depthwise.apply(*cast, *sizes, groups)
    return output


class _Depthwise(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Any, *geometry: Any) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.geometry = geometry
        return torch.conv2d(images, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        *sizes, groups = ctx.geometry
        operands = [tensor.float() for tensor in (*grads, *ctx.saved_tensors)]
        of_images, *wanted = ctx.needs_input_grad[:3]
        turned = _turned(operands[0], operands[2], *ctx.geometry) if of_images else None
        found = torch.ops.aten.convolution_backward(
            *operands,
            operands[0].shape[1:2],
            *sizes,
            False,
            (0, 0),
            groups,
            (of_images and turned is None, *wanted),
        )
        gradients = (found[0] if turned is None else turned, *found[1:])
        own = (None if one is None else one.to(torch.bfloat16) for one in gradients)
        return *own, None, None, None, None


def _turned(
    gradient: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor | None:
    """Convolve the gradient of outputs with the kernels, turned by 180 degrees.

    oneDNN's own kernel takes ten times as long where a convolution is dilated.

    Returns:
        The gradient of the images; None with a stride, a wide border or several kernels a channel,
        where it is no such convolution.
    """
    reach = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    borders = [all_of_it - own for all_of_it, own in zip(reach, padding, strict=True)]
    if max(stride) > 1 or min(borders) < 0 or len(weight) > groups:
        return None
    return torch.conv2d(gradient, weight.flip(2, 3), None, 1, borders, dilation, groups)

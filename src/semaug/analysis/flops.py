"""What one image costs in the forward pass, in two conventions.

The tables of ISDA count each multiply-add of a convolution or linear layer once, and add
one for each output element of a ReLU and one for each input element of a pooling layer:
69.43 million for ResNet-32 on CIFAR-10. Other activations count nothing, as no network of the
tables has them. Other programs count multiply-adds only, as the tables do for Shake-Shake.

Networks on the meta device are counted without computing anything:

>>> import timm, torch
>>> with torch.device("meta"):
...     network = timm.create_model("resnet50")
>>> paper_flops(network, 224)
4099696128

Source: Wang et al., T-PAMI 2021, Table 3, https://arxiv.org/abs/2007.10538; the convention
is found from its numbers. Its ResNeXt and Shake-Shake are multiply-adds alone.
"""

import math
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from semaug._torch.checks import check_positive_int
from semaug.features.probe import evaluating

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLINGS = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def paper_flops(model: nn.Module, image_size: int, *, num_channels: int = 3) -> int:
    """Count operations for one image as the papers do.

    Only modules are seen: a ReLU or pooling called as a function is not counted.

    Args:
        model: Network for images; its state and mode stay as they are.
        image_size: Height and width of the image.
        num_channels: Channels of the image.

    Returns:
        Multiply-adds of convolutions and linear layers, plus output elements of ReLUs,
        plus input elements of poolings.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1.
    """
    check_positive_int("paper_flops", image_size=image_size, num_channels=num_channels)
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(_operations(module, inputs[0], output))

    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_hook(count).remove)
        _forward_one_image(model, image_size, num_channels)
    return sum(counts)


def multiply_adds(model: nn.Module, image_size: int, *, num_channels: int = 3) -> int:
    """Count multiply-adds for one image by watching the operators of torch.

    Functions and attention are counted too; additions alone are not.

    Args:
        model: Network for images; its state and mode stay as they are.
        image_size: Height and width of the image.
        num_channels: Channels of the image.

    Returns:
        Multiply-adds of convolutions and matrix products.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1.
    """
    check_positive_int("multiply_adds", image_size=image_size, num_channels=num_channels)
    with FlopCounterMode(display=False) as counter:
        _forward_one_image(model, image_size, num_channels)
    return counter.get_total_flops() // 2  # torch counts a multiplication and an addition


def _operations(module: nn.Module, image: Tensor, output: Tensor) -> int:
    if isinstance(module, _CONVOLUTIONS):
        per_output = module.in_channels // module.groups * math.prod(module.kernel_size)
        return output.numel() * per_output
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.ReLU | nn.ReLU6):
        return output.numel()
    if isinstance(module, _POOLINGS):
        return image.numel()
    return 0


def _forward_one_image(model: nn.Module, image_size: int, num_channels: int) -> None:
    like = next(model.parameters(), torch.empty(0))
    image = torch.zeros(
        1, num_channels, image_size, image_size, device=like.device, dtype=like.dtype
    )
    with torch.no_grad(), evaluating(model):
        model(image)

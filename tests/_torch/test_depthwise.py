"""Gradients of depthwise convolutions in bf16 on a CPU."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.depthwise import DepthwiseGradients, has_depthwise

CASES = {
    "stride 1": {"padding": 1, "groups": 6},
    "stride 2": {"stride": 2, "padding": (1, 0), "groups": 6},
    "dilated": {"dilation": 2, "padding": 2, "groups": 6},
    "dilated, of two lengths": {"dilation": (1, 3), "padding": (2, 0), "groups": 6},
    "wide border": {"padding": 3, "groups": 6},
    "two kernels a channel": {"padding": 1, "groups": 3},
    "all channels": {"padding": 1},
    "padding by name": {"padding": "same", "groups": 6},
}


def gradients(mode: bool, dtype: torch.dtype, biased: bool, **case: object) -> list[Tensor]:
    torch.manual_seed(0)
    channels = 3 if case.get("groups") == 3 else 6
    images = torch.randn(4, channels, 9, 9).bfloat16().float().requires_grad_()
    weight = torch.randn(6, 6 if "groups" not in case else 1, 3, 3).bfloat16().float()
    weight.requires_grad_()
    bias = torch.randn(6).bfloat16().float().requires_grad_() if biased else None
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    with autocast, DepthwiseGradients() if mode else nullcontext():
        output = F.conv2d(images, weight, bias, **case)
    output.float().square().sum().backward()
    found = [output, images.grad, weight.grad, *([] if bias is None else [bias.grad])]
    assert all(one is not None for one in found)
    return [one.detach() for one in found if one is not None]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_outputs_stay_and_gradients_are_those_of_float32(name: str, biased: bool) -> None:
    run = partial(gradients, biased=biased, **CASES[name])
    ours, plain, exact = (
        run(True, torch.bfloat16),
        run(False, torch.bfloat16),
        run(False, torch.float32),
    )
    torch.testing.assert_close(ours[0], plain[0], rtol=0, atol=0)
    for found, expected in zip(ours[1:], exact[1:], strict=True):
        assert found.dtype == torch.float32
        size = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=2**-6, atol=2**-7 * size)


def test_without_autocast_a_convolution_is_left_alone() -> None:
    images, weight = torch.randn(2, 4, 5, 5), torch.randn(4, 1, 3, 3)
    expected = F.conv2d(images, weight, groups=4)
    off = torch.autocast("cpu", enabled=False)
    with torch.autocast("cpu", torch.bfloat16), DepthwiseGradients(), off:
        assert torch.equal(F.conv2d(images, weight, groups=4), expected)


def test_frozen_kernels_get_no_gradient() -> None:
    images, weight = torch.randn(2, 4, 5, 5, requires_grad=True), torch.randn(4, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16), DepthwiseGradients():
        F.conv2d(images, weight, groups=4).sum().backward()
    assert images.grad is not None
    assert weight.grad is None


def test_only_a_kernel_for_each_channel_is_depthwise() -> None:
    assert has_depthwise(nn.Sequential(nn.Conv2d(4, 8, 3, groups=4)))
    assert not has_depthwise(nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(1, 8, 3)))

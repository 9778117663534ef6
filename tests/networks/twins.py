"""Give two networks of different hands the same weights."""

import torch
from torch import nn
from torch.testing import assert_close


@torch.no_grad()
def assert_same_logits(network, other):
    """Compare logits in evaluation after copying weights and statistics by their order.

    Args:
        network: Ours.
        other: Of another hand, for 32 x 32 pixels.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.1)
            nn.init.normal_(module.bias, 0.0, 0.1)
    images = torch.randn(4, 3, 32, 32)
    network.train()(images)  # statistics
    pairs = zip(network.state_dict().values(), other.state_dict().items(), strict=True)
    for value, (name, tensor) in pairs:
        assert value.numel() == tensor.numel(), name
        tensor.copy_(value.view_as(tensor))  # a linear layer may be a 1x1 convolution there
    assert_close(network.eval()(images), other.eval()(images))

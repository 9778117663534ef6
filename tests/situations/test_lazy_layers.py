"""Models whose layers find their sizes in the first forward."""

import pytest
import torch
from torch import nn

from semaug.features import attach, with_features
from semaug.losses import ISDALoss

IMAGES = torch.randn(2, 3, 8, 8)


def lazy_model():
    return nn.Sequential(
        nn.LazyConv2d(8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10)
    )


def test_a_model_without_sizes_is_told_to_be_called():
    for reach in (with_features, lambda m: attach(m, ISDALoss(10, 8, strength=0.5))):
        with pytest.raises(ValueError, match="called once, since lazy layers have no size"):
            reach(lazy_model())


@pytest.mark.parametrize("called", [True, False])
def test_a_call_or_an_example_gives_the_sizes(called):
    model = lazy_model()
    if called:
        model(IMAGES)
    net = with_features(model, example_images=None if called else IMAGES)
    assert net(IMAGES)[1].shape == (2, 8)
    assert (net.num_classes, net.num_features) == (10, 8)
    assert net.training

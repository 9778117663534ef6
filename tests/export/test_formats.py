"""Tests of semaug.export.formats."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug.errors import UserError
from semaug.export.formats import FORMATS


@pytest.fixture(params=FORMATS)
def chosen(request):
    """Return each format whose packages are installed."""
    try:
        FORMATS[request.param].check_installed()
    except UserError as error:
        pytest.skip(str(error))
    return FORMATS[request.param]


def small_network():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    )
    network[1].running_mean.normal_()
    return network.eval().requires_grad_(False)


def test_a_network_comes_back_for_batches_of_any_size(chosen, tmp_path):
    network = small_network()
    path = tmp_path / chosen.file
    chosen.save(network, torch.randn(2, 3, 6, 6), path)

    def build():
        return nn.Sequential(*(type(m)(*args) for m, args in zip(network, SIZES, strict=True)))

    again = chosen.load(path, build, torch.device("cpu"))
    for count in (1, 2, 7):
        images = torch.randn(count, 3, 6, 6)
        logits = again(images)
        assert_close(logits, network(images), atol=1e-4, rtol=0)
        assert not logits.requires_grad


SIZES = [(3, 4, 3), (4,), (), (), (64, 5)]


@pytest.mark.parametrize("name", ["safetensors", "state_dict"])
def test_weights_are_written_as_they_are_in_any_memory_format(name, tmp_path):
    network = small_network().double().to(memory_format=torch.channels_last)
    network[0].bias = nn.Parameter(network[1].weight.detach(), requires_grad=False)  # shared
    path = tmp_path / FORMATS[name].file
    FORMATS[name].save(network, torch.randn(2, 3, 6, 6), path)

    def build():
        return nn.Sequential(*(type(m)(*args) for m, args in zip(network, SIZES, strict=True)))

    again = FORMATS[name].load(path, build, torch.device("cpu"))
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
        assert again.state_dict()[key].dtype == value.dtype
    assert not again.training

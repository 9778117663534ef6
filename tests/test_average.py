"""Tests of semaug.average."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug.average import WeightAverage


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def step(network, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    network(torch.randn(5, 3, generator=generator))  # running statistics move too


def floats_of(network):
    state = network.state_dict()
    return {name: value for name, value in state.items() if value.is_floating_point()}


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.9999])
def test_average_is_the_mean_at_first_and_exponential_then(network, decay):
    average = WeightAverage(network, decay)
    expected = None
    for number in range(1, 13):
        step(network, number)
        average.update(network)
        share = min(decay, 1 - 1 / number)
        now = {name: value.clone() for name, value in floats_of(network).items()}
        if expected is None:
            expected = now
        else:
            expected = {name: share * expected[name] + (1 - share) * now[name] for name in now}
    actual = floats_of(average.averaged)
    for name, value in expected.items():
        assert_close(actual[name], value, rtol=1e-4, atol=1e-5)
    seen = average.averaged[1].num_batches_tracked
    assert seen == network[1].num_batches_tracked == 12


def test_network_has_the_averaged_weights_for_a_while(network):
    average = WeightAverage(network, 0.9)
    for number in range(3):
        step(network, number)
        average.update(network)
    own = deepcopy(network.state_dict())
    with average.in_place_of(network):
        inside = deepcopy(network.state_dict())
    for name, value in network.state_dict().items():
        assert torch.equal(value, own[name])
        assert torch.equal(inside[name], average.averaged.state_dict()[name])
    assert not torch.equal(inside["0.weight"], own["0.weight"])


def test_network_gets_its_weights_back_after_an_error(network):
    average = WeightAverage(network, 0.9)
    for number in range(3):
        step(network, number)
        average.update(network)
    own = network[0].weight.clone()
    with pytest.raises(KeyError), average.in_place_of(network):
        raise KeyError
    assert torch.equal(network[0].weight, own)


def test_saved_and_loaded_it_goes_on_alike(network):
    average = WeightAverage(network, 0.9)
    for number in range(4):
        step(network, number)
        average.update(network)
    fresh = WeightAverage(network, 0.9)
    fresh.load_state_dict(average.state_dict())
    step(network, 9)
    average.update(network)
    fresh.update(network)
    assert_close(fresh.state_dict(), average.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("decay", "message"), [(-0.1, "`decay` >= 0, got -0.1"), (1.0, "`decay` < 1, got 1.0")]
)
def test_a_decay_out_of_range_is_named(network, decay, message):
    with pytest.raises(ValueError, match=f"WeightAverage: expected {message}"):
        WeightAverage(network, decay)

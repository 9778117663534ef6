"""Contracts of all listed networks: what they cost, in the papers, here and in the docs."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn

from semaug.analysis import multiply_adds, paper_flops
from semaug.networks import NETWORKS

DOCS = Path(__file__).parents[2] / "docs" / "networks.md"


class Cost(NamedTuple):
    """Of a network with the classes of its data set: 10, or 1000 for ImageNet."""

    parameters: int
    paper_flops: int
    multiply_adds: int
    num_features: int


@cache
def build(name):
    """Build a network without its numbers."""
    with torch.device("meta"):
        return timm.create_model(name)


@cache
def cost(name):
    network = build(name)
    size = network.default_cfg["input_size"][1]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(
        parameters, paper_flops(network, size), multiply_adds(network, size), network.num_features
    )


def biases_of_convolutions(network):
    return sum(m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d))


def shortcuts_without_effect(network):
    """Those of blocks that keep their shape: two halves of a 1x1 convolution, batch norm."""
    channels = [
        block.branch1[-1].num_features
        for block in network.modules()
        if hasattr(block, "branch1") and block.shortcut is None
    ]
    return sum(c * c + 2 * c for c in channels)


def nothing(network):
    return 0


class Published(NamedTuple):
    """What tables print: T-PAMI Tables 1 to 3 (arXiv:2007.10538), NeurIPS Table 1 (1909.12220)."""

    parameters: str
    operations: str | None = None
    convention: str = "paper_flops"
    also_counted: object = nothing  # parameters that the table counts, and the network lacks


PUBLISHED = {
    "resnet50": Published("25.6M", also_counted=biases_of_convolutions),
    "resnet101": Published("44.6M", also_counted=biases_of_convolutions),
    "resnet152": Published("60.3M", also_counted=biases_of_convolutions),
    "densenet121": Published("8.0M"),
    "densenet264": Published("33.3M"),
    "resnext50_32x4d": Published("25.0M"),
    "resnext101_32x8d": Published("88.8M"),
    "resnet32_cifar": Published("0.5M", "69.43M"),
    "resnet110_cifar": Published("1.7M", "254.20M"),
    "se_resnet110_cifar": Published("1.7M", "254.73M"),
    "wide_resnet16_8_cifar": Published("11.0M", "1.55G"),
    "wide_resnet28_10_cifar": Published("36.5M", "5.25G"),
    "resnext29_8x64d_cifar": Published("34.4M", "5.39G", "multiply_adds"),
    "densenet_bc100_12_cifar": Published("0.8M", "292.38M"),
    "densenet_bc190_40_cifar": Published("25.6M"),
    "shake_shake26_2x32d_cifar": Published(
        "3.0M", "426.69M", "multiply_adds", shortcuts_without_effect
    ),
    "shake_shake26_2x112d_cifar": Published(
        "36.4M", "5.13G", "multiply_adds", shortcuts_without_effect
    ),
}


def printed(number, like):
    """Round as the table does: 69431936 is "69.43M" like "69.43M"."""
    digits = len(like.partition(".")[2]) - 1
    return f"{number / {'M': 1e6, 'G': 1e9}[like[-1]]:.{digits}f}{like[-1]}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_parameters_that_the_papers_print(name):
    published = PUBLISHED[name]
    parameters = cost(name).parameters + published.also_counted(build(name))
    assert printed(parameters, published.parameters) == published.parameters


@pytest.mark.parametrize("name", [name for name in PUBLISHED if PUBLISHED[name].operations])
def test_networks_cost_what_the_papers_print(name):
    published = PUBLISHED[name]
    operations = getattr(cost(name), published.convention)
    assert printed(operations, published.operations) == published.operations


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_of_layers_cover_every_parameter_by_depth(name):
    network = build(name)
    names = [name for name, _ in network.named_parameters()]
    for coarse in (False, True):
        groups = group_parameters(network, network.group_matcher(coarse))
        assert sorted(name for group in groups.values() for name in group) == sorted(names)
        first, *between, last = (groups[i] for i in range(len(groups)))
        assert between
        assert first[0] == names[0]
        assert last[-2:] == names[-2:]  # weight and bias of the classifier


@pytest.mark.parametrize("name", NETWORKS)
def test_a_line_describes_each_network(name):
    assert timm.is_model(name)
    assert 10 < len(NETWORKS[name]) < 90
    assert not NETWORKS[name].endswith(".")


def documented():
    """Read the rows of the table that begin with the name of a network."""
    rows = [line.strip("| ").split(" | ") for line in DOCS.read_text("utf-8").splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows if len(row) == 6 and row[0][0] == "`"}


def test_the_code_in_the_docs_runs():
    blocks = DOCS.read_text("utf-8").split("```python\n")[1:]
    names = {}
    for block in blocks:
        exec(block.partition("```")[0], names)
    assert names["logits"].shape == (2, 100)
    assert names["features"].shape == (2, 640)
    assert names["thin"].num_features == 128
    layers = [m for m in names["small"].modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 40


def test_the_docs_list_every_network():
    assert list(documented()) == list(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_docs_say_what_each_network_costs(name):
    millions = (f"{number / 1e6:,.2f}" for number in cost(name)[:3])
    assert documented()[name][1:] == [*millions, str(cost(name).num_features)]

"""Tests of semaug.analysis.isda_cost."""

from functools import cache

import pytest
import timm
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

import semaug
import semaug.networks  # registers with timm
from semaug.analysis import isda_multiply_adds, multiply_adds, paper_flops, paper_isda_cost

COUNTERS = (paper_isda_cost, isda_multiply_adds)

# Table 3 of arXiv:2007.10538: batch size (Table 9), and for CIFAR-10 and CIFAR-100 what ISDA
# adds, absolute (millions) and relative (percent).
TABLE_3 = {
    "resnet32_cifar": (128, ("0.05", "0.07"), ("0.44", "0.63")),
    "resnet110_cifar": (128, ("0.05", "0.02"), ("0.44", "0.17")),
    "se_resnet110_cifar": (128, ("0.05", "0.02"), ("0.44", "0.17")),
    "wide_resnet16_8_cifar": (128, ("2.96", "0.19"), ("27.19", "1.76")),
    "wide_resnet28_10_cifar": (128, ("4.61", "0.09"), ("42.46", "0.81")),
    "resnext29_8x64d_cifar": (128, ("11.80", "0.22"), ("109.00", "2.02")),
    "densenet_bc100_12_cifar": (64, ("1.35", "0.46"), ("12.43", "4.25")),
    "shake_shake26_2x32d_cifar": (64, ("0.19", "0.04"), ("1.76", "0.41")),
    "shake_shake26_2x112d_cifar": (64, ("2.31", "0.05"), ("21.30", "0.42")),
}
CELLS = [
    (name, batch_size, num_classes, *cell)
    for name, (batch_size, *cells) in TABLE_3.items()
    for num_classes, cell in zip((10, 100), cells, strict=True)
]

# Cells that are not the formula's: one cost, and one that is a percentage of a rounded number.
DIFFERENT = {("109.00", "2.02"): ("108.57", "2.01"), ("21.30", "0.42"): ("21.30", "0.41")}

# Table 1: percent of the forward pass at 1000 classes.
TABLE_1 = {
    "resnet50": "0.25",
    "resnet101": "0.13",
    "resnet152": "0.09",
    "resnext50_32x4d": "0.24",
    "resnext101_32x8d": "0.06",
}


@pytest.mark.parametrize(("name", "batch_size", "num_classes", "absolute", "relative"), CELLS)
def test_full_covariances_cost_what_the_papers_print(
    name, batch_size, num_classes, absolute, relative
):
    num_features, whole = features_and_operations(name, 32)
    cost = paper_isda_cost(num_classes, num_features, batch_size)
    counted = f"{cost / 1e6:.2f}", f"{100 * cost / whole:.2f}"
    assert counted == DIFFERENT.get((absolute, relative), (absolute, relative))


@pytest.mark.parametrize(("name", "published"), TABLE_1.items())
def test_diagonal_covariances_cost_the_share_that_the_papers_print(name, published):
    assert share_of_network(name) == published


@pytest.mark.parametrize(
    ("name", "published", "counted"),
    [("densenet121", "0.20", "0.18"), ("densenet264", "0.24", "0.23")],
)
def test_for_dense_networks_the_papers_print_more(name, published, counted):
    assert share_of_network(name) == counted < published


@cache
def features_and_operations(name, image_size):
    with torch.device("meta"):
        network = timm.create_model(name)
    shake = name.startswith("shake_shake")  # of which the papers count multiply-adds only
    return network.num_features, (multiply_adds if shake else paper_flops)(network, image_size)


def share_of_network(name):
    num_features, whole = features_and_operations(name, 224)
    return f"{100 * paper_isda_cost(1000, num_features, 256, 'diagonal') / whole:.2f}"


def products(self_shape, a_shape, b_shape, **_):
    """Count ``a @ b``, which is added in place; torch counts no products in place."""
    return 2 * torch.Size(a_shape).numel() * b_shape[-1]


IN_PLACE = {torch.ops.aten.addmm_: products, torch.ops.aten.baddbmm_: products}


def matrix_products(num_classes, num_features, batch_size, covariance, device):
    """Count those of a real training step: forward (without the classifier), backward."""
    loss = semaug.ISDALoss(num_classes, num_features, strength=0.5, covariance=covariance)
    loss.to(device)
    features = torch.randn(batch_size, num_features, device=device)
    weight = torch.randn(num_classes, num_features, device=device, requires_grad=True)
    logits = torch.randn(batch_size, num_classes, device=device)
    labels = torch.arange(batch_size, device=device) % num_classes  # min(C, N) classes
    counts = []
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        value = loss(logits, labels, features, weight)
    counts.append(counter.get_total_flops() // 2)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        value.backward()
    counts.append(counter.get_total_flops() // 2)
    return counts


SIZES = [(4, 8, 32), (32, 8, 16), (16, 300, 16)]


@pytest.mark.parametrize(("num_classes", "num_features", "batch_size"), SIZES)
@pytest.mark.parametrize("device", ["cpu", "meta"])  # on meta, the path of accelerators
def test_full_covariances_take_these_products(num_classes, num_features, batch_size, device):
    sizes = num_classes, num_features, batch_size
    forward, _ = matrix_products(*sizes, "full", device)
    cost = isda_multiply_adds(*sizes, accelerator=device != "cpu")
    scaling = min(num_classes, batch_size) * num_features**2  # is no product
    assert forward == cost.forward * batch_size - scaling


@pytest.mark.parametrize(("num_classes", "num_features", "batch_size"), SIZES)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_diagonal_covariances_take_these_products(num_classes, num_features, batch_size, device):
    sizes = num_classes, num_features, batch_size
    forward, backward = matrix_products(*sizes, "diagonal", device)
    cost = isda_multiply_adds(*sizes, "diagonal", accelerator=device != "cpu")
    assert forward == cost.form * batch_size
    assert backward == cost.backward * batch_size


def test_the_cost_falls_with_the_batch_here_and_hardly_in_the_papers():
    sizes = 100, 640
    small, large = (isda_multiply_adds(*sizes, n).forward for n in (128, 1024))
    assert large < small / 5
    assert paper_isda_cost(*sizes, 1024) > 0.95 * paper_isda_cost(*sizes, 128)


def test_forward_is_the_form_and_the_statistics():
    cost = isda_multiply_adds(2, 3, 4)
    assert cost == (2 * 2 * 9 / 4, (4 + 4) * 9 / 4, 2 * 2 * 2 * 3 / 4)
    assert_close(cost.forward, cost.form + cost.statistics)


@pytest.mark.parametrize("counter", COUNTERS)
def test_bad_arguments_are_refused(counter):
    with pytest.raises(ValueError, match=f"{counter.__name__}: expected `num_classes` >= 1, got 0"):
        counter(0, 8, 8)
    with pytest.raises(TypeError, match=r"`batch_size` to be an int, got 2\.5"):
        counter(2, 8, 2.5)
    with pytest.raises(ValueError, match="`covariance` to be one of 'full', 'diagonal'; got 'low'"):
        counter(2, 8, 8, "low")

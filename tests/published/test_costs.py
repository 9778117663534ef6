"""Tests of semaug.published.costs."""

import pytest

from semaug.published import find_published, load_published
from semaug.published.costs import count_cost

# Where our count and the print differ; the rest agrees to the last printed digit. Why: see
# semaug.analysis.isda_cost, docs/networks.md and tests/contracts/test_network_costs.py.
DIFFERENT = {
    ("1", "ResNet-101", "Params"): "44.5",
    ("1", "ResNet-152", "Params"): "60.2",
    ("1", "DenseNet-BC-121", "Additional Cost (Theoretical)"): "0.18",
    ("1", "DenseNet-BC-265", "Additional Cost (Theoretical)"): "0.23",
    ("2", "Shake-Shake (26, 2x32d)", "Params"): "2.9",
    ("2", "Shake-Shake (26, 2x112d)", "Params"): "35.6",
    ("3", "ResNeXt-29, 8x64d", "Standard FLOPs"): "5.40",
    ("3", "ResNeXt-29, 8x64d", "CIFAR-100, Additional Cost (Theoretical), Absolute"): "108.57",
    ("3", "ResNeXt-29, 8x64d", "CIFAR-100, Additional Cost (Theoretical), Relative"): "2.01",
    ("3", "Shake-Shake (26, 2x32d)", "Standard FLOPs"): "427.40",
    ("3", "Shake-Shake (26, 2x112d)", "Standard FLOPs"): "5.14",
    ("3", "Shake-Shake (26, 2x112d)", "CIFAR-10, Additional Cost (Theoretical), Relative"): "0.04",
    ("3", "Shake-Shake (26, 2x112d)", "CIFAR-100, Additional Cost (Theoretical), Relative"): "0.41",
}


def test_every_cost_is_counted_and_equal_but_for_those_listed():
    counted = {number: count_cost(number) for number in load_published()}
    counted = {number: cost for number, cost in counted.items() if cost is not None}
    assert len(counted) == 84
    different = {
        (number.table, number.row, number.column): cost
        for number, cost in counted.items()
        if cost != number.mean_text
    }
    assert different == DIFFERENT


@pytest.mark.parametrize(
    ("table", "row", "column", "counted"),
    [
        (3, "ResNet-110", "Standard FLOPs", "254.20"),
        (3, "Wide-ResNet-28-10", "CIFAR-100, Additional Cost (Theoretical), Absolute", "42.46"),
        (3, "DenseNet-BC-100-12", "CIFAR-10, Additional Cost (Theoretical), Relative", "0.46"),
        (3, "Wide-ResNet-16-8", "Standard FLOPs", "1.55"),
        (1, "ResNet-50", "Params", "25.6"),
        (1, "ResNet-50", "Additional Cost (Theoretical)", "0.25"),
    ],
)
def test_costs_are_those_that_the_papers_print(table, row, column, counted):
    (number,) = find_published("isda", table, row=row, column=column)
    assert count_cost(number) == counted == number.mean_text


def test_errors_and_networks_of_others_have_no_cost():
    (number,) = find_published("isda", 2, row="ResNet-32", column="CIFAR-10, ISDA")
    assert count_cost(number) is None
    rest = [number for number in load_published() if number.data in ("coco", "cityscapes")]
    assert rest
    assert all(count_cost(number) is None for number in rest)

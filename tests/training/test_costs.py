"""Tests of semaug.training.costs."""

import pytest

from semaug.results import find_published, load_published
from semaug.training.costs import count_cost

# Where our count and the print differ; the rest agrees to the last printed digit.
DIFFERENT = {
    # Networks of other sizes than printed, as those of timm and of the rows' own sources are.
    ("ResNet-152", "Params"): "60.2",
    ("Shake-Shake (26, 2x32d)", "Params"): "2.9",
    ("Shake-Shake (26, 2x112d)", "Params"): "35.6",
}


def test_costs_of_table_2_are_counted():
    for number in find_published("isda", 2, metric="params_millions"):
        expected = DIFFERENT.get((number.row, number.column), number.mean_text)
        assert count_cost(number) == expected, number.row


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

"""Tests of published.csv against the papers, and of the papers against themselves."""

from collections import Counter
from decimal import Decimal

import pytest

from semaug.published import find_published, load_published

# Lines times columns, in the order of the papers; a dash in a table is no number.
TOTALS = {
    ("isda", "1"): 7 * (1 + 2 + 3 + 2) + 5 * 2,
    ("isda", "2"): 9 * (1 + 4),
    ("isda", "3"): 9 * (1 + 2 * 3),
    ("isda", "4"): 6 * 6,
    ("isda", "5"): 15 * 4 - 3 * 2,
    ("isda", "6"): 8 * 6 - 4,
    ("isda", "7"): 5 * 3 + 2 * 3,
    ("isda", "8"): 6 * 3,
    ("isda", "11"): 3 * 3 * 6,
    ("isda", "12"): 3 * 6,
    ("isda", "fig11"): 2 * 4,
    ("isda", "sec6.4"): 2,
    ("isda-neurips", "1"): 16 * 3,
    ("isda-neurips", "2"): 6 * 4,
    ("isda-neurips", "3"): 13 * 4 - 3 * 2,
    ("isda-neurips", "4"): 6 * 2,
    ("isda-neurips", "5"): 6 * 2,
    ("ait", "1"): 6 * 2 + 2 * 4,
    ("ait", "2"): 6 * 6,
    ("ait", "3"): 3 * 2,
    ("ait", "4"): 3 * 3 * 2,
    ("ait", "5"): 8 * 8 + 3 * 4,
    ("ait", "fig4"): 2,
}

# Read from the papers apart from the file: corners and other places of each table.
SPOTS = """
isda | 1 | ResNet-50 | Params | params_millions | 25.6
isda | 1 | ResNet-50 | Reported in [5], [56] | top5_error_percent | 7.1
isda | 1 | ResNet-101 | ISDA | top1_error_percent | 20.8
isda | 1 | DenseNet-BC-265 | Our Implementation | top5_error_percent | 6.1
isda | 1 | ResNeXt-50, 32x4d | ISDA | top1_error_reduction | 1.2
isda | 1 | ResNeXt-101, 32x8d | Our Implementation | top1_error_percent | 21.1
isda | 1 | ResNeXt-101, 32x8d | ISDA | top5_error_percent | 5.4
isda | 1 | ResNeXt-101, 32x8d | Additional Cost (Theoretical) | extra_flops_percent | 0.06
isda | 1 | ResNet-152 | Additional Cost (Wall Time) | extra_time_percent | 5.4
isda | 2 | ResNet-32 | CIFAR-10, Basic | error_percent | 7.39 ± 0.10
isda | 2 | ResNet-32 | CIFAR-100, ISDA | error_percent | 30.27 ± 0.34
isda | 2 | SE-ResNet-110 | CIFAR-100, Basic | error_percent | 27.30 ± 0.03
isda | 2 | Shake-Shake (26, 2x112d) | Params | params_millions | 36.4
isda | 2 | Shake-Shake (26, 2x112d) | CIFAR-10, ISDA | error_percent | 2.61 ± 0.09
isda | 2 | Shake-Shake (26, 2x112d) | CIFAR-100, ISDA | error_percent | 16.73 ± 0.18
isda | 3 | ResNet-32 | Standard FLOPs | flops_millions | 69.43
isda | 3 | ResNet-110 | CIFAR-10, Additional Cost (Wall Time) | extra_time_percent | 4.48
isda | 3 | ResNeXt-29, 8x64d | CIFAR-100, Additional Cost (Theoretical), Absolute \
| extra_flops_millions | 109.00
isda | 3 | Shake-Shake (26, 2x112d) | Standard FLOPs | flops_billions | 5.13
isda | 3 | Shake-Shake (26, 2x112d) | CIFAR-100, Additional Cost (Wall Time) \
| extra_time_percent | 5.07
isda | 3 | ResNet-32 | CIFAR-100, Additional Cost (Theoretical), Relative \
| extra_flops_percent | 0.63
isda | 4 | CIFAR-10, Wide-ResNet-28-10 | Cutout | error_percent | 2.99 ± 0.06
isda | 4 | CIFAR-10, Wide-ResNet-28-10 | AA + ISDA | error_percent | 2.56 ± 0.01
isda | 4 | CIFAR-10, Shake-Shake (26, 2x112d) | RA + ISDA | error_percent | 1.76
isda | 4 | CIFAR-100, Wide-ResNet-28-10 | RA + ISDA | error_percent | 15.97 ± 0.28
isda | 4 | CIFAR-100, Shake-Shake (26, 2x112d) | Cutout | error_percent | 17.34 ± 0.28
isda | 4 | CIFAR-100, Shake-Shake (26, 2x112d) | AA + ISDA | error_percent | 13.87 ± 0.26
isda | 5 | Large Margin | ResNet-110, CIFAR-10 | error_percent | 6.46 ± 0.20
isda | 5 | Large Margin | Wide-ResNet-28-10, CIFAR-100 | error_percent | 18.48 ± 0.05
isda | 5 | DistributionNet | ResNet-110, CIFAR-100 | error_percent | 28.18 ± 0.44
isda | 5 | WGAN | Wide-ResNet-28-10, CIFAR-10 | error_percent | 3.81 ± 0.08
isda | 5 | ISDA + Dropout | ResNet-110, CIFAR-10 | error_percent | 5.98 ± 0.20
isda | 5 | ISDA + Dropout | Wide-ResNet-28-10, CIFAR-100 | error_percent | 17.98 ± 0.15
isda | 6 | Π-model | CIFAR-10, 1,000 labeled | error_percent | 28.74 ± 0.48
isda | 6 | Π-model | CIFAR-100, 20,000 labeled | error_percent | 30.80 ± 0.18
isda | 6 | Mean Teacher | SVHN, 500 labeled | error_percent | 4.18 ± 0.27
isda | 6 | Temp-ensemble + ISDA | CIFAR-10, 2,000 labeled | error_percent | 14.98 ± 0.73
isda | 6 | VAT + ISDA | CIFAR-10, 1,000 labeled | error_percent | 14.38 ± 0.18
isda | 6 | VAT + ISDA | SVHN, 500 labeled | error_percent | 4.86 ± 0.18
isda | 7 | PSPNet | Single Scale | miou_percent | 77.46
isda | 7 | PSPNet + ISDA | Multi-scale | miou_gain | 1.54
isda | 7 | DeepLab-v3 (Original) | Multi-scale + Flip | miou_percent | 79.30
isda | 7 | DeepLab-v3 + ISDA | Single Scale | miou_percent | 79.41
isda | 7 | DeepLab-v3 + ISDA | Multi-scale + Flip | miou_percent | 80.36
isda | 8 | Basic | CIFAR-10 | error_percent | 3.82 ± 0.15
isda | 8 | Basic | CIFAR-100 + Cutout | error_percent | 18.05 ± 0.25
isda | 8 | Constant λ0 | CIFAR-100 | error_percent | 18.33 ± 0.16
isda | 8 | ISDA | CIFAR-10 | error_percent | 3.58 ± 0.15
isda | 8 | ISDA | CIFAR-100 + Cutout | error_percent | 16.95 ± 0.11
isda | 11 | Faster-RCNN-FPN, ResNet-50 (Original) | mAP | box_ap | 37.4
isda | 11 | Faster-RCNN-FPN, ResNet-50 (Original) | mAPL | box_ap_large | 48.1
isda | 11 | Mask-RCNN-FPN, ResNet-50 (Our Implementation) | AP75 | box_ap75 | 42.4
isda | 11 | Cascade-RCNN-FPN, ResNet-50 + ISDA | mAP | box_ap | 41.4
isda | 11 | Cascade-RCNN-FPN, ResNet-50 + ISDA | mAPL | box_ap_large | 53.8
isda | 12 | Mask-RCNN-FPN, ResNet-50 (Original) | mAP | mask_ap | 34.7
isda | 12 | Mask-RCNN-FPN, ResNet-50 (Original) | mAPL | mask_ap_large | 47.2
isda | 12 | Mask-RCNN-FPN, ResNet-50 (Our Implementation) | AP50 | mask_ap50 | 56.5
isda | 12 | Mask-RCNN-FPN, ResNet-50 + ISDA | mAPS | mask_ap_small | 19.2
isda | 12 | Mask-RCNN-FPN, ResNet-50 + ISDA | mAPL | mask_ap_large | 47.1
isda | fig11 | supervised | robustly superior from | strength | 0.25
isda | fig11 | semi-supervised, 4,000 labeled | slightly worse than baselines | strength | 10
isda | sec6.4 | PSPNet + ISDA | increase in training time | extra_time_percent | 6
isda-neurips | 1 | ResNet-32 | Params | params_millions | 0.5
isda-neurips | 1 | ResNet-32 | CIFAR-100 | error_percent | 31.20 ± 0.41
isda-neurips | 1 | ResNeXt-29, 8x64d + ISDA | CIFAR-100 | error_percent | 17.43 ± 0.25
isda-neurips | 1 | DenseNet-BC-190-40 | CIFAR-10 | error_percent | 3.52
isda-neurips | 1 | DenseNet-BC-190-40 + ISDA | CIFAR-100 | error_percent | 17.42
isda-neurips | 2 | CIFAR-10, Wide-ResNet-28-10 | Cutout | error_percent | 2.99 ± 0.06
isda-neurips | 2 | CIFAR-10, Wide-ResNet-28-10 | AA + ISDA | error_percent | 2.56 ± 0.01
isda-neurips | 2 | CIFAR-100, Wide-ResNet-28-10 | Cutout + ISDA | error_percent | 17.02 ± 0.11
isda-neurips | 2 | CIFAR-100, Shake-Shake (26, 2x112d) | Cutout | error_percent | 17.34 ± 0.28
isda-neurips | 2 | CIFAR-100, Shake-Shake (26, 2x112d) | AA + ISDA | error_percent | 13.87 ± 0.26
isda-neurips | 3 | Large Margin | ResNet-110, CIFAR-10 | error_percent | 6.46 ± 0.20
isda-neurips | 3 | Lq Loss | Wide-ResNet-28-10, CIFAR-100 | error_percent | 18.43 ± 0.37
isda-neurips | 3 | Basic + Dropout | ResNet-110, CIFAR-100 | error_percent | 27.11 ± 0.06
isda-neurips | 3 | ISDA | ResNet-110, CIFAR-100 | error_percent | 27.57 ± 0.46
isda-neurips | 3 | ISDA + Dropout | Wide-ResNet-28-10, CIFAR-100 | error_percent | 17.98 ± 0.15
isda-neurips | 4 | ResNet-50 | Top-1 | top1_error_percent | 23.58
isda-neurips | 4 | ResNet-50 | Top-5 | top5_error_percent | 6.92
isda-neurips | 4 | ResNet-152 + ISDA | Top-5 | top5_error_percent | 5.67
isda-neurips | 4 | ResNeXt-50, 32x4d + ISDA | Top-1 | top1_error_percent | 21.88
isda-neurips | 5 | Basic | CIFAR-100 | error_percent | 18.58 ± 0.10
isda-neurips | 5 | Identity matrix | CIFAR-10 | error_percent | 3.63 ± 0.12
isda-neurips | 5 | Single covariance matrix | CIFAR-100 | error_percent | 18.29 ± 0.13
isda-neurips | 5 | ISDA | CIFAR-10 | error_percent | 3.58 ± 0.15
ait | 1 | CIFAR-10, Resnet32 | Baseline | accuracy_percent | 92.56
ait | 1 | CIFAR-10, MobileNetV2 | AIT | accuracy_percent | 94.57
ait | 1 | CIFAR-100, WRN-28-10 | Baseline | accuracy_percent | 80.50
ait | 1 | ImageNet, Resnet18 | AIT | top1_accuracy_percent | 70.65
ait | 1 | ImageNet, Resnet50 | AIT | top5_accuracy_percent | 93.12
ait | 2 | Resnet32, Resnet32 | Baseline, Net1 | accuracy_percent | 69.83
ait | 2 | Resnet32, Resnet32 | multi-AIT, Net2 | accuracy_percent | 72.13
ait | 2 | Resnet32, WRN-28-10 | DML, Net2 | accuracy_percent | 78.88
ait | 2 | MobileNetV2, WRN-28-10 | DML, Net1 | accuracy_percent | 77.19
ait | 2 | MobileNetV2, WRN-28-10 | multi-AIT, Net2 | accuracy_percent | 81.14
ait | 3 | 20% of the labels corrupted | Baseline | accuracy_percent | 62.20
ait | 3 | 20% of the labels corrupted | AIT | accuracy_percent | 64.68
ait | 3 | 50% of the labels corrupted | AIT | accuracy_percent | 55.11
ait | 3 | 80% of the labels corrupted | AIT | accuracy_percent | 28.08
ait | 4 | 10% of the data | Baseline | top1_accuracy_percent | 46.57
ait | 4 | 10% of the data | Improvement | top1_accuracy_gain | +1.44
ait | 4 | 30% of the data | AIT | top5_accuracy_percent | 84.45
ait | 4 | 50% of the data | Improvement | top5_accuracy_gain | 0.54
ait | 5 | rh | original, Baseline | accuracy_percent | 63.77
ait | 5 | rh | random color, AIT | accuracy_percent | 63.06
ait | 5 | rpgc | grayscale, Baseline | accuracy_percent | 60.27
ait | 5 | rg,rc | original, AIT | accuracy_percent | 66.57
ait | 5 | rg,rc | random color, AIT | accuracy_percent | 66.16
ait | fig4 | CIFAR-100 | best | strength | 1
"""


@pytest.mark.parametrize("line", SPOTS.strip().splitlines())
def test_a_number_stands_where_the_paper_has_it(line):
    paper, table, row, column, metric, text = line.split(" | ")
    (number,) = find_published(paper, table, row=row, column=column, metric=metric)
    assert str(number) == text


def test_every_table_is_whole_and_in_its_place():
    counts = Counter((number.paper, number.table) for number in load_published())
    assert counts == TOTALS
    assert [key for key, total in TOTALS.items() for _ in range(total)] == [
        (number.paper, number.table) for number in load_published()
    ]
    spots = Counter(tuple(line.split(" | ")[:2]) for line in SPOTS.strip().splitlines())
    assert all(spots[key] >= min(4, max(total // 4, 1)) for key, total in TOTALS.items())


def difference(before, after):
    return Decimal(after.mean_text) - Decimal(before.mean_text)


# Where the papers print improvements: of what, which way, and what both numbers share.
IMPROVEMENTS = [
    ("isda", "1", "top1_error_reduction", "top1_error_percent", -1, "row"),
    ("isda", "7", "miou_gain", "miou_percent", 1, "column"),
    ("ait", "4", "top1_accuracy_gain", "top1_accuracy_percent", 1, "row"),
    ("ait", "4", "top5_accuracy_gain", "top5_accuracy_percent", 1, "row"),
]


@pytest.mark.parametrize(("paper", "table", "gain", "metric", "sign", "shared"), IMPROVEMENTS)
def test_improvements_are_the_differences(paper, table, gain, metric, sign, shared):
    gains = find_published(paper, table, metric=gain)
    assert len(gains) == {"isda-1": 7, "isda-7": 6, "ait-4": 3}[f"{paper}-{table}"]
    for printed in gains:
        before, after = (
            next(
                number
                for number in find_published(paper, table, network=printed.network, metric=metric)
                if getattr(number, shared) == getattr(printed, shared) and number.method == method
            )
            for method in ("cross_entropy", printed.method)
        )
        assert sign * difference(before, after) == Decimal(printed.mean_text)


# Differences that the text quotes: paper, table, two places, percentage points.
WRN, SHAKE = "CIFAR-100, Wide-ResNet-28-10", "CIFAR-100, Shake-Shake (26, 2x112d)"
RESNEXT = "ResNeXt-50, 32x4d"
QUOTED = [
    ("isda", 1, ("ResNet-50", "Our Implementation"), ("ResNet-50", "ISDA"), "1.1"),
    ("isda", 4, (SHAKE, "AA"), (SHAKE, "AA + ISDA"), "1.34"),
    ("isda", 4, (WRN, "AA"), (WRN, "AA + ISDA"), "0.98"),
    *(
        ("isda", 6, ("VAT", column), ("VAT + ISDA", column), points)
        for column, points in [
            ("CIFAR-10, 4,000 labeled", "1.38"),
            ("CIFAR-10, 1,000 labeled", "3.74"),
            ("CIFAR-100, 10,000 labeled", "4.08"),
        ]
    ),
    *(
        ("isda", 8, ("Identity matrix", column), ("ISDA", column), points)
        for column, points in [
            ("CIFAR-10", "0.05"),
            ("CIFAR-100", "0.55"),
            ("CIFAR-100 + Cutout", "0.88"),
        ]
    ),
    ("isda-neurips", 4, (RESNEXT, "Top-1"), (f"{RESNEXT} + ISDA", "Top-1"), "0.54"),
    ("ait", 1, ("ImageNet, Resnet18", "AIT"), ("ImageNet, Resnet18", "Baseline"), "0.36"),
    ("ait", 1, ("ImageNet, Resnet50", "AIT"), ("ImageNet, Resnet50", "Baseline"), "0.51"),
]


@pytest.mark.parametrize(("paper", "table", "larger", "smaller", "points"), QUOTED)
def test_differences_are_as_the_text_quotes(paper, table, larger, smaller, points):
    first, second = (
        find_published(paper, table, row=row, column=column)[0] for row, column in (smaller, larger)
    )
    assert difference(first, second) == Decimal(points)


@pytest.mark.parametrize(("data", "said"), [("cifar10", "0.56"), ("cifar100", "1.51")])
def test_averages_of_ait_that_the_text_quotes_are_not_those_of_its_table(data, said):
    baseline, ait = (
        find_published("ait", 1, data=data, method=method) for method in ("cross_entropy", "ait")
    )
    gains = [difference(*pair) for pair in zip(baseline, ait, strict=True)]
    average = (sum(gains) / len(gains)).quantize(Decimal("0.01"))
    assert str(average) == {"cifar10": "0.53", "cifar100": "1.53"}[data] != said
    assert all(f"+{said} on average" in n.note and f"+{average}" in n.note for n in ait)


@pytest.mark.parametrize("network", sorted({n.network for n in find_published("isda", 3)}))
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_relative_costs_are_absolute_ones_over_operations(network, data):
    (operations,) = find_published("isda", 3, network=network, data="cifar")
    absolute, relative, _ = find_published("isda", 3, network=network, data=data)
    unit = {"flops_millions": 1, "flops_billions": 1000}[operations.metric]
    lowest = 100 * (absolute.mean - 0.005) / (operations.mean + 0.005) / unit
    highest = 100 * (absolute.mean + 0.005) / (operations.mean - 0.005) / unit
    assert lowest <= relative.mean + 0.005
    assert relative.mean - 0.005 <= highest


# Tables with the same runs in T-PAMI and NeurIPS, and how many they share.
TWINS = [("2", "1", 14 * 2), ("4", "2", 24), ("5", "3", 46), ("8", "5", 12)]


def errors(paper, table):
    numbers = find_published(paper, table, metric="error_percent")
    return {(n.data, n.network, n.method): str(n) for n in numbers}


def test_both_papers_on_isda_print_the_same_but_for_one_number():
    different = {}
    for table, neurips_table, num_shared in TWINS:
        journal, conference = errors("isda", table), errors("isda-neurips", neurips_table)
        shared = journal.keys() & conference.keys()
        assert len(shared) == num_shared
        assert {key[1] for key in conference.keys() - shared} <= {"densenet_bc190_40_cifar"}
        different |= {k: (journal[k], conference[k]) for k in shared if journal[k] != conference[k]}
    key = "cifar100", "wide_resnet28_10_cifar", "cutout+isda"
    assert different == {key: ("16.95 ± 0.11", "17.02 ± 0.11")}


@pytest.mark.parametrize(
    ("paper", "table", "ablations"), [("isda", "2", "8"), ("isda-neurips", "1", "5")]
)
def test_the_tables_of_ablations_have_another_baseline_on_cifar100(paper, table, ablations):
    main, ablated = errors(paper, table), errors(paper, ablations)
    different = {k: (main[k], ablated[k]) for k in main.keys() & ablated if main[k] != ablated[k]}
    key = "cifar100", "wide_resnet28_10_cifar", "cross_entropy"
    assert different == {key: ("18.53 ± 0.07", "18.58 ± 0.10")}
    (number,) = find_published(paper, ablations, row="Basic", column="CIFAR-100")
    assert "18.53 ± 0.07" in number.note


def test_single_networks_are_the_same_in_all_tables_of_ait():
    table = {(n.network, n.method): str(n) for n in find_published("ait", 1, data="cifar100")}
    single = [
        *find_published("ait", 2, method="cross_entropy"),
        *find_published("ait", 2, method="ait"),
        *find_published("ait", 5, row="rp", column="original, Baseline"),
        *find_published("ait", 5, row="rp", column="original, AIT"),
    ]
    assert len(single) == 6 + 6 + 2
    assert all(str(number) == table[number.network, number.method] for number in single)


def test_neurips_quotes_the_row_with_dropout_as_isda():
    noted = [n for n in find_published("isda-neurips", 3) if "section 4.3" in n.note]
    assert [(n.method, n.mean_text) for n in noted] == [
        ("dropout", "6.23"),
        ("dropout", "27.11"),
        ("isda", "6.33"),
        ("isda", "27.57"),
    ]

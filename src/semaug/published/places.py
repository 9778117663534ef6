"""What stands at a place in a table: the result of which recipe, and what of it.

>>> from semaug.published import find_published
>>> [number] = find_published("isda", 8, row="Diagonal matrix", column="CIFAR-10")
>>> recipe_of(number)
'cifar10_wide_resnet28_10_isda,covariance=diagonal'
>>> [cell.table for cell in cells_of("cifar100_wide_resnet28_10_cutout")]
['4', '8', '2']
"""

from dataclasses import dataclass
from functools import cache

from semaug.detection.recipe import MEASURES
from semaug.published.numbers import PublishedNumber, load_published
from semaug.recipes import ait, find_recipe, recipe_names, split_name
from semaug.registry import Sizes, metrics
from semaug.runs.read import Measure


@dataclass(frozen=True)
class Entry:
    """A place in a table.

    Args:
        row: Label of its row.
        column: Label of its column.
        recipe: That it is a result of, with changes; None if there is none.
        metric: What of its runs is shown; None if a run does not tell.
        predictor: Which of the networks of a run.
        test_set: Which of :data:`semaug.transfer.TEST_SETS` it is an accuracy on; None if the
            usual one.
        accuracy: Whether an accuracy in percent is shown where the metric is an error.
        baseline: Recipe that the difference is taken to, seed by seed; None for none.
        published: What the paper prints; None if it only draws it, or the table is ours.
    """

    row: str
    column: str
    recipe: str | None
    metric: str | None = "error"
    predictor: str = ""
    test_set: str | None = None
    accuracy: bool = False
    baseline: str | None = None
    published: PublishedNumber | None = None

    @property
    def measure(self) -> Measure:
        """Name and unit of what is shown, and which way is better."""
        metric = self.metric or "error"
        if metric in _DETECTION.values():
            return Measure(metric, "%", "higher")
        if self.accuracy:
            return Measure(metric.replace("error", "accuracy"), "%", "higher")
        found = metrics.make(metric).build(Sizes(num_classes=1000))
        return Measure(found.name, found.unit, found.better)


# What a run measures of what the papers print.
_DETECTION = {
    f"{kind}_{name.lower()}": name if kind == "box" else f"{kind}_{name}"
    for kind in ("box", "mask")
    for name in MEASURES
}
_METRICS = _DETECTION | {
    "error_percent": "error",
    "top1_error_percent": "error",
    "top5_error_percent": "top5_error",
    "accuracy_percent": "error",
    "top1_accuracy_percent": "error",
    "top5_accuracy_percent": "top5_error",
    "miou_percent": "miou",
}

# What stands behind DATA_NETWORK, by part of a method in the order of a name.
_PARTS = {
    "cutout": "_cutout",
    "rand_augment": "_randaugment",
    "auto_augment": "_autoaugment",
    "cross_entropy": "",
    "isda": "_isda",
    "isda_identity": "_isda,covariance=identity",
    "isda_diagonal": "_isda,covariance=diagonal",
    "isda_shared": "_isda,covariance=shared",
    "isda_constant_strength": "_isda,ramp=constant",
    "dropout": ",block_drop_rate=0.3",  # Appendix C
}
# Table 5: what changes a baseline. Noise rates, alpha, gamma, q and the learning rate of centers
# are those of Appendix C, which are defaults but for one.
_TABLE_5 = {
    "large_margin": {"loss": "large_margin"},
    "disturb_label": {"loss": "disturb_label"},
    "focal": {"loss": "focal"},
    "center": {"loss": "center"},
    "lq": {"loss": "lq"},
    "label_smoothing": {"label_smoothing": "0.1"},
    "distribution_net": {"loss": "distribution_net"},
    **{name: {"method": "generated"} for name in ("wgan", "cgan", "acgan", "infogan")},
}
# What else changes with some data and networks. The margin has half of its weight when the learning
# rate first falls, and no more with many classes, for which its source warns of divergence.
_WIDE = {"anneal_percent": "25"}
_MANY_CLASSES = {"anneal_minimum": "1"}
_OF_CELL = {
    ("large_margin", "cifar100", "resnet110"): _MANY_CLASSES,
    ("large_margin", "cifar10", "wide_resnet28_10"): _WIDE,
    ("large_margin", "cifar100", "wide_resnet28_10"): _WIDE | _MANY_CLASSES,
    ("disturb_label", "cifar100", "resnet110"): {"rate": "0.1"},
}
# How columns of segmentation are tested; section 6.4.
_TESTS = {
    "Multi-scale": ",scales=0.75,1,1.25,1.5",
    "Multi-scale + Flip": ",mirror=true,scales=0.75,1,1.25,1.5",
}
# Backbones of detectors: of torchvision, which the recipe has, and the paper's own.
_BACKBONES = {
    "cross_entropy_by_others": {},
    "cross_entropy": {"weights": "imagenet_resnet50"},
    "isda": {"weights": "imagenet_resnet50_isda"},
}
# All results with this network are with dropout, whether their row says so or not.
_WITH_DROPOUT = "wide_resnet28_10_cifar"


def entry_of(number: PublishedNumber) -> Entry:
    """Return the place of a published number.

    >>> from semaug.published import find_published
    >>> [*_, last] = map(entry_of, find_published("ait", 2, row="Resnet32, Resnet32"))
    >>> last.recipe, last.metric, last.predictor
    ('cifar100_resnet32_single,method=multi_ait,peers=resnet32_cifar', 'error', 'network 2')
    """
    recipe = recipe_of(number)
    return Entry(
        number.row,
        number.column,
        recipe,
        _METRICS.get(number.metric),
        "network 2" if number.column.endswith("Net2") else "",
        number.column.rpartition(", ")[0].replace(" ", "_") if _is_transfer(number) else None,
        "accuracy" in number.metric,
        _baseline_of(number, recipe),
        published=number,
    )


def recipe_of(number: PublishedNumber) -> str | None:
    """Return the recipe that a published error or accuracy is a result of, with its changes.

    None for what is neither, for methods and data without a recipe, and for results by others, but
    those of detectors, whose backbone is torchvision's.
    None, too, for ImageNet in the NeurIPS paper, which prints other errors for the networks of
    T-PAMI, so that its settings are not those of our recipes.
    """
    if number.metric not in _METRICS or (number.paper, number.data) == ("isda-neurips", "imagenet"):
        return None
    start = f"{number.data}_{number.network.removesuffix('_cifar')}"
    if number.paper == "ait":
        name = _ait_recipe(number, start)
    elif _is_semi_supervised(number):
        name = _semi_supervised_recipe(number)
    elif number.metric in _DETECTION:
        name = with_changes(start.removesuffix("_fpn"), **_BACKBONES[number.method])
    else:
        methods = [
            method
            for method in number.method.split("+")
            if (method, number.network) != ("dropout", _WITH_DROPOUT)
        ]
        if not set(methods) <= _PARTS.keys() | _TABLE_5.keys():
            return None
        name = start + "".join(part for method, part in _PARTS.items() if method in methods)
        for method in methods:
            name = with_method_of_table_5(name, method) if method in _TABLE_5 else name
        name += _TESTS.get(number.column, "") if number.data == "cityscapes" else ""
    return name if split_name(name)[0] in recipe_names() else None


def with_method_of_table_5(recipe: str, method: str) -> str:
    """Return the name of a baseline with another loss of Table 5, or images of a generator of it.

    >>> with_method_of_table_5("cifar100_resnet110,block_drop_rate=0.3", "disturb_label")
    'cifar100_resnet110,block_drop_rate=0.3,loss=disturb_label,rate=0.1'
    >>> with_method_of_table_5("cifar100_resnet110", "acgan")
    'cifar100_resnet110,generator=cifar100_acgan,method=generated'
    """
    data, _, network = split_name(recipe)[0].partition("_")
    changes = _TABLE_5[method] | _OF_CELL.get((method, data, network), {})
    if "method" in changes:
        changes |= {"generator": f"{data}_{method}"}
    return with_changes(recipe, **changes)


def with_changes(recipe: str, **options: str) -> str:
    """Return a name with more changes, in the order of the name of a run's folder.

    >>> with_changes("cifar10_resnet110,loss=focal", block_drop_rate="0.3")
    'cifar10_resnet110,block_drop_rate=0.3,loss=focal'
    """
    name, changes = split_name(recipe)
    return ",".join([name, *(f"{k}={v}" for k, v in sorted({**changes, **options}.items()))])


def _baseline_of(number: PublishedNumber, recipe: str | None) -> str | None:
    """Return what a difference is taken to: the same network, or backbone, with cross-entropy."""
    if recipe is None:
        return None
    if number.metric in _DETECTION:
        own = with_changes(split_name(recipe)[0], **_BACKBONES["cross_entropy"])
        return own if number.method == "isda" else None
    if _is_semi_supervised(number):
        return recipe.removesuffix("_isda") if number.method.endswith("+isda") else None
    if (number.paper, number.table) not in (("isda", "5"), ("isda-neurips", "3")):
        return None
    plain = f"{number.data}_{number.network.removesuffix('_cifar')}"
    dropout = "dropout+" in number.method and number.network != _WITH_DROPOUT
    baseline = with_changes(plain, block_drop_rate="0.3") if dropout else plain
    return baseline if baseline != recipe else None


# Semi-supervised learning.


def _is_semi_supervised(number: PublishedNumber) -> bool:
    return (number.paper, number.table) == ("isda", "6")


def _semi_supervised_recipe(number: PublishedNumber) -> str:
    """Return the recipe of a column such as ``"CIFAR-10, 4,000 labeled"``."""
    labels = number.column.partition(", ")[2].removesuffix(" labeled").replace(",", "")
    host, *isda = number.method.split("+")
    host = {"temporal_ensemble": "temporal_ensembling"}.get(host, host)
    return "_".join([number.data, labels, host, *isda])


# AIT.

_NETWORKS = {
    "Resnet32": "resnet32",
    "MobileNetV2": "mobilenetv2_relu",
    "WRN-28-10": "wide_resnet28_10",
}
_CHANGED_PERCENT = {"3": "corrupt_percent", "4": "train_percent"}  # by number of the table


def _is_transfer(number: PublishedNumber) -> bool:
    return (number.paper, number.table) == ("ait", "5")


def _ait_recipe(number: PublishedNumber, start: str) -> str:
    """Return the recipe that a number of AIT has, if there is one."""
    if number.method in ("dml", "multi_ait"):
        first, second = (_NETWORKS[label] for label in number.row.split(", "))
        return f"{number.data}_{first}_single,method={number.method}{_beside(first, second)}"
    method = {"cross_entropy": "single"}.get(number.method, number.method)
    changes = augmented(number.row) if _is_transfer(number) else ""
    if number.table in _CHANGED_PERCENT:
        changes = f",{_CHANGED_PERCENT[number.table]}={number.row.partition('%')[0]}"
    return f"{start}_{method}{changes}"


def _beside(first: str, second: str) -> str:
    """Return the changes that train a second network beside a first, with its own weight decay."""
    own, peer = (ait.NETWORKS[name][1].optimizer.weight_decay for name in (first, second))
    decay = "" if own == peer else f",peer_weight_decay={peer}"
    return f"{decay},peers={second}_cifar"


def augmented(row: str) -> str:
    """Return the changes that an augmentation of Table 5 of AIT is; two have a view for each.

    It is r, then letters of p (crop), g (grayscale) and c (color jitter), or h for none of them;
    all flip. The jitter of the released code turns hues by 0.1, too, of which section 4.4 says
    nothing.

    >>> augmented("rp"), augmented("rg"), augmented("rp,rg")
    ('', ',grayscale=0.1,padding=0', ',grayscale=0.1,view_augments=rp,rg')
    """
    changes = {
        ",grayscale=0.1": "g" in row,
        ",jitter=0.1,0.1,0.1": "c" in row,
        ",padding=0": "p" not in row,
        f",view_augments={row}": "," in row,
    }
    return "".join(change for change, holds in changes.items() if holds)


def cells_of(recipe: str) -> tuple[PublishedNumber, ...]:
    """Return the published errors of a recipe, in the order of the papers; often none.

    Args:
        recipe: Its name, and perhaps changes in the order of the name of a run's folder.

    Raises:
        UserError: If there is no such recipe.
    """
    find_recipe(recipe)
    return _cells().get(recipe, ())


@cache
def _cells() -> dict[str, tuple[PublishedNumber, ...]]:
    cells: dict[str, tuple[PublishedNumber, ...]] = {}
    for number in load_published():
        if name := recipe_of(number):
            cells[name] = (*cells.get(name, ()), number)
    return cells

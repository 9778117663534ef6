"""Tables without printed numbers: what the papers only draw, and small twins of ablations.

>>> [line.recipe for line in FIGURES["isda-8-small"]][-1]
'cifar10_5k_resnet20_isda'
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from semaug.recipes.ait import AUGMENTATIONS, DATA, LAYERS, METRICS, NETWORKS, WEIGHTS
from semaug.recipes.cifar import STRENGTHS

__all__ = ["FIGURES", "Line"]


class Line(NamedTuple):
    """Where the runs of a recipe stand in a table."""

    row: str
    column: str
    recipe: str
    quantity: str = "error_mean_last_10"  # see semaug.published.places.quantity_of
    accuracy: bool = False  # shown instead of an error
    baseline: str | None = None  # recipe that the difference is taken to, seed by seed


_SMALL = "ResNet-20, 5,000 images"
_AUGMENTED = {"CIFAR-100 + Cutout": "cutout", "CIFAR-100 + AutoAugment": "autoaugment"}

# Labels of rows, and the last parts of the names of their recipes.
_ABLATIONS = {
    "Basic": "",
    "Identity matrix": "isda_identity",
    "Diagonal matrix": "isda_diagonal",
    "Single covariance matrix": "isda_shared",
    "Constant λ0": "isda_constant",
    "ISDA": "isda",
}
_STRENGTHS = {
    "λ0 = 0 (cross-entropy)": "",
    **{
        f"λ0 = {strength:g}": "isda" if strength == 0.5 else f"isda_strength{strength:g}"
        for strength in sorted(
            [0.5] + [loss.strength for _, loss in STRENGTHS.values() if loss.strength]
        )
    },
}
_DRAWS = {
    "M = 0 (cross-entropy)": "",
    **{f"M = {m}": f"explicit{m}" for m in (1, 2, 5, 10, 20)},
    "M = ∞ (ISDA)": "isda",
}


def _lines(rows: Mapping[str, str], column: str, base: str) -> Iterator[Line]:
    for row, suffix in rows.items():
        baseline = base if suffix else None
        yield Line(row, column, f"{base}_{suffix}" if suffix else base, baseline=baseline)


def _draws(columns: Mapping[str, str]) -> Sequence[Line]:
    """Return Fig. 10: numbers of draws, with covariances of the features and learned ones."""
    lines: list[Line] = []
    for row, suffix in _DRAWS.items():
        for column, base in columns.items():
            lines += _lines({row: suffix}, column, base)
            if suffix:
                lines += _lines({row: f"{suffix}_learned"}, f"{column}, learned", base)
    return lines


_WIDE = {column: f"cifar100_wide_resnet28_10_{part}" for column, part in _AUGMENTED.items()}


# AIT, beside baselines that take as many steps and passes, see semaug.recipes.ait: what stands in
# the table, and the baseline that the difference is taken to. In small, `single` has no suffix.
_PAIRS = "AIT's pairs, λ = 0 (step-matched)"
_FAIR = {
    "one view": ("single", "pairs"),
    _PAIRS: ("pairs", None),
    "one view, twice the epochs (compute-matched)": ("long", "pairs"),
    "AIT": ("ait", "pairs"),
    "AIT, to one view for twice the epochs": ("ait", "long"),
    "ISDA on AIT's pairs, λ = 0": ("pairs_isda", "pairs"),
    "AIT + ISDA": ("ait_isda", "pairs_isda"),
}
_TEST_SETS = ("original", "random_crop", "grayscale", "random_color")


def _fair() -> Iterator[Line]:
    for data, data_label in DATA.items():
        for network, (label, _) in NETWORKS.items():
            base = f"{data}_{network}_"
            for column, (method, other) in _FAIR.items():
                baseline = None if other is None else base + other
                place = (f"{data_label}, {label}", column, base + method)
                yield Line(*place, accuracy=True, baseline=baseline)


def _fair_small() -> Iterator[Line]:
    base = "cifar10_5k_resnet20"
    for row, (method, other) in _FAIR.items():
        name = base if method == "single" else f"{base}_{method}"
        baseline = None if other is None else f"{base}_{other}"
        yield Line(row, _SMALL, name, baseline=baseline)
        if method == "single":
            yield Line("one view, ISDA", _SMALL, f"{base}_isda", baseline=base)


def _layers() -> Iterator[Line]:
    base, column = "cifar100_resnet32", "ResNet-32, CIFAR-100"
    yield Line("one view", column, f"{base}_single", accuracy=True, baseline=f"{base}_pairs")
    yield Line(_PAIRS, column, f"{base}_pairs", accuracy=True)
    for layer in LAYERS:
        for metric in METRICS:
            name = f"{base}_ait_{layer}_{metric}"
            if (layer, metric) == ("logits", "kl"):
                name = f"{base}_ait"
            row = layer.replace("_", " ")
            yield Line(row, metric, name, accuracy=True, baseline=f"{base}_pairs")


def _weights() -> Iterator[Line]:
    for weight in sorted([0.0, 1.0, *WEIGHTS]):
        suffix = {0.0: "pairs", 1.0: "ait"}.get(weight, f"ait_weight{weight:g}")
        for data, column in DATA.items():
            base = f"{data}_resnet32"
            baseline = f"{base}_pairs" if weight else None
            name = f"{base}_{suffix}"
            yield Line(f"λ = {weight:g}", column, name, accuracy=True, baseline=baseline)


def _transfer_small() -> Iterator[Line]:
    for augmentation in AUGMENTATIONS:
        name = "cifar10_5k_resnet20" + ("" if augmentation == "rp" else f"_{augmentation}")
        views = augmentation.replace("_", ",")
        for test_set in _TEST_SETS:
            for column, suffix in {"Baseline": "", "AIT": "_ait"}.items():
                if suffix or "," not in views:  # views of their own are no baseline's
                    place = (views, f"{test_set.replace('_', ' ')}, {column}", name + suffix)
                    baseline = name if suffix and "," not in views else None
                    yield Line(*place, f"transfer {test_set}", accuracy=True, baseline=baseline)


FIGURES: Mapping[str, Sequence[Line]] = {
    "isda-fig10": _draws(_WIDE),
    "isda-fig11": list(_lines(_STRENGTHS, "CIFAR-100 + Cutout", _WIDE["CIFAR-100 + Cutout"])),
    "isda-8-small": list(_lines(_ABLATIONS, _SMALL, "cifar10_5k_resnet20")),
    "isda-fig10-small": _draws({_SMALL: "cifar10_5k_resnet20"}),
    "isda-fig11-small": list(_lines(_STRENGTHS, _SMALL, "cifar10_5k_resnet20")),
    "ait-fig3": list(_layers()),
    "ait-fig4": list(_weights()),
    "ait-1-fair": list(_fair()),
    "ait-1-small": list(_fair_small()),
    "ait-5-small": list(_transfer_small()),
}

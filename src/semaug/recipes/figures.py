"""Tables without printed numbers: what the papers only draw, and small twins of ablations.

>>> [line.recipe for line in FIGURES["isda-8-small"]][-1]
'cifar10_5k_resnet20_isda'
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from semaug.recipes.cifar import STRENGTHS

__all__ = ["FIGURES", "Line"]


class Line(NamedTuple):
    """Where the runs of a recipe stand in a table."""

    row: str
    column: str
    recipe: str


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
        yield Line(row, column, f"{base}_{suffix}" if suffix else base)


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

FIGURES: Mapping[str, Sequence[Line]] = {
    "isda-fig10": _draws(_WIDE),
    "isda-fig11": list(_lines(_STRENGTHS, "CIFAR-100 + Cutout", _WIDE["CIFAR-100 + Cutout"])),
    "isda-8-small": list(_lines(_ABLATIONS, _SMALL, "cifar10_5k_resnet20")),
    "isda-fig10-small": _draws({_SMALL: "cifar10_5k_resnet20"}),
    "isda-fig11-small": list(_lines(_STRENGTHS, _SMALL, "cifar10_5k_resnet20")),
}

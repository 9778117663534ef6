"""Tables without printed numbers: what the papers only draw, and small twins of their tables.

>>> [entry.recipe for entry in FIGURES["isda-8-small"]][-2:]
['cifar10_5k_resnet20_isda,ramp=constant', 'cifar10_5k_resnet20_isda']
"""

from collections.abc import Iterator, Mapping, Sequence

from semaug.methods.ait import LAYERS, METRICS
from semaug.published.places import Entry, augmented
from semaug.recipes.ait import NETWORKS
from semaug.recipes.row import CIFAR, CIFAR_STRENGTH

_SMALL, _SMALL_LABEL = "cifar10_5k_resnet20", "ResNet-20, 5,000 images"
_WIDE = {
    "CIFAR-100 + Cutout": "cifar100_wide_resnet28_10_cutout",
    "CIFAR-100 + AutoAugment": "cifar100_wide_resnet28_10_autoaugment",
}

# Labels of rows, and what stands behind the names of their baselines. Of Table 8, and of Fig. 11:
# the set that lambda_0 is chosen from, and two strengths that section 6.5.4 speaks of.
_ABLATIONS = {
    "Basic": "",
    "Identity matrix": "_isda,covariance=identity",
    "Diagonal matrix": "_isda,covariance=diagonal",
    "Single covariance matrix": "_isda,covariance=shared",
    "Constant λ0": "_isda,ramp=constant",
    "ISDA": "_isda",
}
_STRENGTHS = {"λ0 = 0 (cross-entropy)": ""} | {
    f"λ0 = {strength}": "_isda" if strength == CIFAR_STRENGTH else f"_isda,strength={strength}"
    for strength in ("0.1", "0.25", "0.5", "0.75", "1", "5", "10")
}


def _entries(rows: Mapping[str, str], column: str, base: str) -> Iterator[Entry]:
    for row, rest in rows.items():
        yield Entry(row, column, base + rest, baseline=base if rest else None)


def _draws(columns: Mapping[str, str]) -> Iterator[Entry]:
    """Return Fig. 10: numbers of draws, with covariances of the features and learned ones."""
    yield from (Entry("M = 0 (cross-entropy)", column, base) for column, base in columns.items())
    rows = {
        f"M = {draws}": ("", f",loss=explicit,num_samples={draws},strength={CIFAR_STRENGTH}")
        for draws in (1, 2, 5, 10, 20)
    }
    for row, (start, end) in {**rows, "M = ∞ (ISDA)": ("_isda", "")}.items():
        for column, base in columns.items():
            yield from _entries({row: start + end}, column, base)
            learned = f"{start},covariance=learned{end}"
            yield from _entries({row: learned}, f"{column}, learned", base)


# AIT, beside baselines that take as many steps and passes, see semaug.recipes.ait: what stands in
# the table, and the baseline that the difference is taken to.
_PAIRS = "AIT's pairs, λ = 0 (step-matched)"
_TEST_SETS = ("original", "random_crop", "grayscale", "random_color")
_AUGMENTATIONS = (
    "rh", "rp", "rg", "rc", "rpg", "rpc", "rgc", "rpgc", "rp,rg", "rp,rc", "rg,rc",
)  # fmt: skip


def _fair(base: str, single: str, epochs: int) -> dict[str, tuple[str, str | None]]:
    pairs, longer = f"{base}_ait,ai_weight=0", f"{single},epochs={epochs}"
    pairs_isda = f"{base}_ait_isda,ai_weight=0"
    return {
        "one view": (single, pairs),
        _PAIRS: (pairs, None),
        "one view, twice the epochs (compute-matched)": (longer, pairs),
        "AIT": (f"{base}_ait", pairs),
        "AIT, to one view for twice the epochs": (f"{base}_ait", longer),
        "ISDA on AIT's pairs, λ = 0": (pairs_isda, pairs),
        "AIT + ISDA": (f"{base}_ait_isda", pairs_isda),
    }


def _fair_on_cifar() -> Iterator[Entry]:
    for data, called in CIFAR.items():
        for network, (label, recipe) in NETWORKS.items():
            base = f"{data}_{network}"
            fair = _fair(base, f"{base}_single", 2 * (recipe.epochs or 0))
            for column, (name, baseline) in fair.items():
                yield Entry(f"{called}, {label}", column, name, accuracy=True, baseline=baseline)


def _fair_in_small() -> Iterator[Entry]:
    for row, (name, baseline) in _fair(_SMALL, _SMALL, 200).items():
        yield Entry(row, _SMALL_LABEL, name, baseline=baseline)
        if row == "one view":
            yield Entry("one view, ISDA", _SMALL_LABEL, f"{_SMALL}_isda", baseline=_SMALL)


def _layers() -> Iterator[Entry]:
    base, column = "cifar100_resnet32", "ResNet-32, CIFAR-100"
    pairs = f"{base}_ait,ai_weight=0"
    yield Entry("one view", column, f"{base}_single", accuracy=True, baseline=pairs)
    yield Entry(_PAIRS, column, pairs, accuracy=True)
    for layer in LAYERS:
        for metric in METRICS:
            name = f"{base}_ait"
            name += f",ai_layer={layer}" if layer != "logits" else ""
            name += f",ai_metric={metric}" if metric != "kl" else ""
            yield Entry(layer.replace("_", " "), metric, name, accuracy=True, baseline=pairs)


def _weights() -> Iterator[Entry]:
    for weight in ("0", "0.5", "1", "2", "3", "4"):
        for data, column in CIFAR.items():
            ait = f"{data}_resnet32_ait"
            name = ait if weight == "1" else f"{ait},ai_weight={weight}"
            baseline = None if weight == "0" else f"{ait},ai_weight=0"
            yield Entry(f"λ = {weight}", column, name, accuracy=True, baseline=baseline)


def _transfer_in_small() -> Iterator[Entry]:
    for views in _AUGMENTATIONS:
        single = None if "," in views else _SMALL + augmented(views)  # which has one view
        columns = {"Baseline": single, "AIT": f"{_SMALL}_ait{augmented(views)}"}
        for test_set in _TEST_SETS:
            for label, name in columns.items():
                if name is not None:
                    column = f"{test_set.replace('_', ' ')}, {label}"
                    yield Entry(
                        views,
                        column,
                        name,
                        test_set=test_set,
                        accuracy=True,
                        baseline=None if name == single else single,
                    )


FIGURES: dict[str, Sequence[Entry]] = {
    "isda-fig10": [*_draws(_WIDE)],
    "isda-fig11": [*_entries(_STRENGTHS, *next(iter(_WIDE.items())))],
    "isda-8-small": [*_entries(_ABLATIONS, _SMALL_LABEL, _SMALL)],
    "isda-fig10-small": [*_draws({_SMALL_LABEL: _SMALL})],
    "isda-fig11-small": [*_entries(_STRENGTHS, _SMALL_LABEL, _SMALL)],
    "ait-fig3": [*_layers()],
    "ait-fig4": [*_weights()],
    "ait-1-fair": [*_fair_on_cifar()],
    "ait-1-small": [*_fair_in_small()],
    "ait-5-small": [*_transfer_in_small()],
}

"""Tables without printed numbers: what the papers only draw, and small twins of their tables.

>>> [entry.recipe for entry in FIGURES["isda-8-small"]][-2:]
['cifar10_5k_resnet20_isda,ramp=constant', 'cifar10_5k_resnet20_isda']
"""

from collections.abc import Mapping, Sequence

from semaug.methods.ait import LAYERS, METRICS
from semaug.published.places import Entry, augmented, with_changes, with_method_of_table_5
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


def _entries(rows: Mapping[str, str], column: str, base: str) -> list[Entry]:
    return [
        Entry(row, column, base + rest, baseline=base if rest else None)
        for row, rest in rows.items()
    ]


def _draws(columns: Mapping[str, str]) -> list[Entry]:
    """Return Fig. 10: numbers of draws, with covariances of the features and learned ones."""
    explicit = {
        f"M = {draws}": ("", f",loss=explicit,num_samples={draws},strength={CIFAR_STRENGTH}")
        for draws in (1, 2, 5, 10, 20)
    }
    return [Entry("M = 0 (cross-entropy)", column, base) for column, base in columns.items()] + [
        Entry(row, column + suffix, f"{base}{start}{change}{end}", baseline=base)
        for row, (start, end) in {**explicit, "M = ∞ (ISDA)": ("_isda", "")}.items()
        for column, base in columns.items()
        for suffix, change in {"": "", ", learned": ",covariance=learned"}.items()
    ]


# Table 5, where the baselines with ResNet-110 have no dropout but the best ISDA has: with dropout,
# too. What the papers leave open, such as the weight of the centers, is that of the losses.
_DROPOUT = "0.3"  # Appendix C
_ROBUST = {
    "Large Margin": "large_margin",
    "Disturb Label": "disturb_label",
    "Focal Loss": "focal",
    "Center Loss": "center",
    "Lq Loss": "lq",
    "Label Smoothing": "label_smoothing",
    "DistributionNet": "distribution_net",
}
_OTHER_CENTERS = "Center Loss, rule of its paper"


def _robust(base: str, column: str, **options: str) -> list[Entry]:
    """Return the losses of Table 5 around a baseline, and cross-entropy and ISDA beside them."""
    rows = {"Basic": base} | {row: with_method_of_table_5(base, m) for row, m in _ROBUST.items()}
    rows |= {_OTHER_CENTERS: with_changes(base, loss="center", update="paper")}
    names = {row: with_changes(name, **options) for row, name in rows.items()}
    names["ISDA"] = with_changes(f"{base}_isda", **options)
    return [
        Entry(row, column, name, baseline=names["Basic"] if row != "Basic" else None)
        for row, name in names.items()
    ]


def _robust_with_dropout() -> list[Entry]:
    """Return what Table 5 lacks: centers by the rule of their paper, and dropout in ResNet-110."""
    entries: list[Entry] = []
    for data, called in CIFAR.items():
        base, column = f"{data}_resnet110", f"ResNet-110, {called}"
        entries += [one for one in _robust(base, column) if one.row == _OTHER_CENTERS]
        dropped = _robust(base, f"{column}, dropout", block_drop_rate=_DROPOUT)
        entries += [one for one in dropped if one.row not in ("Basic", "ISDA")]  # which it has
    return entries


_AUTOAUGMENT = "cutout=16,fill=gray,policy=autoaugment_cifar10"


def _curves(label: str, column: str, base: str, augmented: str) -> list[Entry]:
    """Return Fig. 5: a network with and without AutoAugment (AA), and with ISDA."""
    name, _, change = augmented.partition(",")
    change = f",{change}" * bool(change)
    rows = {"": (base, f"{base}_isda"), " + AA": (augmented, f"{name}_isda{change}")}
    return [
        Entry(f"{label}{more}{end}", column, recipe, baseline=baseline if end else None)
        for more, (baseline, isda) in rows.items()
        for end, recipe in {"": baseline, " + ISDA": isda}.items()
    ]


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


def _fair_on_cifar() -> list[Entry]:
    return [
        Entry(f"{called}, {label}", column, name, accuracy=True, baseline=baseline)
        for data, called in CIFAR.items()
        for network, (label, recipe) in NETWORKS.items()
        for base, twice in [(f"{data}_{network}", 2 * (recipe.epochs or 0))]
        for column, (name, baseline) in _fair(base, f"{base}_single", twice).items()
    ]


def _fair_in_small() -> list[Entry]:
    fair = _fair(_SMALL, _SMALL, 200)
    rows = {"one view": fair["one view"], "one view, ISDA": (f"{_SMALL}_isda", _SMALL), **fair}
    return [
        Entry(row, _SMALL_LABEL, name, baseline=baseline) for row, (name, baseline) in rows.items()
    ]


def _layers() -> list[Entry]:
    base, column = "cifar100_resnet32", "ResNet-32, CIFAR-100"
    pairs = f"{base}_ait,ai_weight=0"
    return [
        Entry("one view", column, f"{base}_single", accuracy=True, baseline=pairs),
        Entry(_PAIRS, column, pairs, accuracy=True),
    ] + [
        Entry(layer.replace("_", " "), metric, base + "_ait" + own, accuracy=True, baseline=pairs)
        for layer in LAYERS
        for metric in METRICS
        for own in [
            f",ai_layer={layer}" * (layer != "logits") + f",ai_metric={metric}" * (metric != "kl")
        ]
    ]


def _weights() -> list[Entry]:
    """Return Fig. 4; 0 is the baseline, and 1 the default."""
    changes = {weight: f",ai_weight={weight}" for weight in ("0", "0.5", "1", "2", "3", "4")}
    return [
        Entry(
            f"λ = {weight}",
            column,
            f"{data}_resnet32_ait{change if weight != '1' else ''}",
            accuracy=True,
            baseline=f"{data}_resnet32_ait{changes['0']}" if weight != "0" else None,
        )
        for weight, change in changes.items()
        for data, column in CIFAR.items()
    ]


def _transfer_in_small() -> list[Entry]:
    """Return Table 5; a baseline has one view."""
    single = {views: _SMALL + augmented(views) for views in _AUGMENTATIONS if "," not in views}
    return [
        Entry(
            views,
            f"{test_set.replace('_', ' ')}, {label}",
            name,
            test_set=test_set,
            accuracy=True,
            baseline=single.get(views) if label == "AIT" else None,
        )
        for views in _AUGMENTATIONS
        for test_set in _TEST_SETS
        for label, name in {
            "Baseline": single.get(views),
            "AIT": f"{_SMALL}_ait{augmented(views)}",
        }.items()
        if name is not None
    ]


def _tuned(smoothing: str, **strengths: str) -> dict[str, str]:
    """Return arms of fine-tuning with the values from which other training images choose."""
    changes = {"label smoothing, e": (",label_smoothing=", smoothing)} | {
        f"ISDA, {kind}, λ0": (f"_isda,covariance={kind},strength=".replace(_SHARED, ""), values)
        for kind, values in strengths.items()
    }
    return {"cross-entropy": ""} | {
        f"{arm} = {value}": (change + value).removesuffix(",strength=10")
        for arm, (change, values) in changes.items()
        for value in values.split()
    }


_SHARED = ",covariance=shared"  # of the recipes with ISDA, as is a strength of 10
_FINETUNED = _tuned(
    "0.05 0.1 0.2 0.3", diagonal="2.5 10 30 100", shared="1 2.5 5 10", identity="1 2.5 5 10"
)
_HEADS = _tuned(
    "0.01 0.025 0.05 0.1 0.2 0.3",
    diagonal="0.5 1 2.5 10 30 100",
    shared="0.05 0.1 0.25 0.5 1 2.5",
    identity="0.1 0.25 0.5 1 2.5 10",
)


def _heads() -> list[Entry]:
    """Return fine-tuning of the classifier alone, on kept features."""
    entries = []
    for count, epochs in {5: 200, 10: 100, 50: 20}.items():  # as many steps
        own = ["freeze=backbone", *[f"labeled_per_class={count}"] * (count != 10)]
        own += [f"epochs={epochs}"] * (epochs != 20)
        baseline = None
        for row, change in _HEADS.items():
            kind, *changes = f"cifar100_10_finetune{change}".split(",")
            name = ",".join([kind, *sorted(own + changes)])
            entries.append(Entry(row, f"{count} images a class", name, baseline=baseline))
            baseline = baseline or name
    return entries


# Semi-supervised learning: what Table 6 lacks to say where a gain comes from. Of labels alone, of
# the host and of each part of ISDA; what stands behind the names of their baselines.
_SEMI_SMALL = "1,000 labels among 10,000 images"
_PARTS_OF_ISDA = {
    "+ ISDA": "_isda",
    "+ ISDA on labeled images alone (η1 = 0)": "_isda,unlabeled_loss=none",
    "+ ISDA, λ0 = 0": "_isda,strength=0",
    "+ ISDA, target of the host": "_isda,target=host",
}
_HOSTS_CALLED = {
    "supervised": "Labels alone",
    "pi_model": "Π-model",
    "temporal_ensembling": "Temp-ensemble",
    "mean_teacher": "Mean Teacher",
    "vat": "VAT",
}


def _parts_of_isda(column: str, start: str, *hosts: str) -> list[Entry]:
    """Return the ablations of some hosts, the floor, and ISDA without a host (η2 = 0)."""
    floor, vat = f"{start}_supervised", f"{start}_vat"
    rows: dict[str, tuple[str, str | None]] = {
        "Labels alone": (floor, None),
        "Labels alone + ISDA": (f"{floor}_isda", floor),
        "ISDA without a host (η2 = 0)": (f"{vat}_isda,eta2=0", floor),
    }
    for host in hosts:
        base = f"{start}_{host}"
        rows[_HOSTS_CALLED[host]] = base, None
        for what, change in _PARTS_OF_ISDA.items():
            if host in ("mean_teacher", "temporal_ensembling") or "target" not in what:
                rows[f"{_HOSTS_CALLED[host]} {what}"] = base + change, base
    entropy = f"{vat},entropy_weight=1"
    rows["VAT + EntMin"] = entropy, vat
    rows["VAT + EntMin + ISDA"] = f"{vat}_isda,entropy_weight=1", entropy
    return [Entry(row, column, name, baseline=base) for row, (name, base) in rows.items()]


def _semi_supervised() -> list[Entry]:
    """Return the rows of Table 6 that the paper lacks."""
    printed = {f"{_HOSTS_CALLED[host]}{end}" for host in _HOSTS_CALLED for end in ("", " + ISDA")}
    entries = _parts_of_isda(
        "CIFAR-10, 4,000 labeled", "cifar10_4000", "pi_model", "temporal_ensembling",
        "mean_teacher", "vat",
    )  # fmt: skip
    return [one for one in entries if one.row not in printed or "Labels" in one.row]


# Tables that are drawn as learning curves.
CURVES = ("isda-fig5", "isda-fig5-small")

FIGURES: dict[str, Sequence[Entry]] = {
    "isda-fig5": _curves(
        "WRN-28-10",
        "CIFAR-100",
        "cifar100_wide_resnet28_10",
        "cifar100_wide_resnet28_10_autoaugment",
    ),
    "isda-fig5-small": _curves("ResNet-20", "5,000 images", _SMALL, f"{_SMALL},{_AUTOAUGMENT}"),
    "isda-fig10": _draws(_WIDE),
    "isda-fig11": _entries(_STRENGTHS, *next(iter(_WIDE.items()))),
    "isda-5": _robust_with_dropout(),
    "isda-5-small": [
        *_robust(_SMALL, _SMALL_LABEL),
        *_robust(_SMALL, f"{_SMALL_LABEL}, dropout", block_drop_rate=_DROPOUT),
    ],
    "isda-8-small": _entries(_ABLATIONS, _SMALL_LABEL, _SMALL),
    "isda-fig10-small": _draws({_SMALL_LABEL: _SMALL}),
    "isda-fig11-small": _entries(_STRENGTHS, _SMALL_LABEL, _SMALL),
    "finetune": _entries(_FINETUNED, "10 images a class, CIFAR-100", "cifar100_10_finetune"),
    "finetune-heads": _heads(),
    "isda-6": _semi_supervised(),
    "isda-fig11-semi": _entries(_STRENGTHS, "VAT, CIFAR-10, 4,000 labeled", "cifar10_4000_vat"),
    "isda-6-small": _parts_of_isda(_SEMI_SMALL, "cifar10_10k", *[*_HOSTS_CALLED][1:]),
    "isda-fig11-semi-small": _entries(_STRENGTHS, f"VAT, {_SEMI_SMALL}", "cifar10_10k_vat"),
    "ait-fig3": _layers(),
    "ait-fig4": _weights(),
    "ait-1-fair": _fair_on_cifar(),
    "ait-1-small": _fair_in_small(),
    "ait-5-small": _transfer_in_small(),
}

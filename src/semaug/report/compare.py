"""Two recipes on the same seeds, compared pair by pair."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semaug.engine.images import check_same_images
from semaug.errors import UserError
from semaug.recipe.recipe import Recipe
from semaug.report.curves import draw_curves
from semaug.runs.files import write_json
from semaug.runs.run import Run, name_of_seeds
from semaug.runs.statistics import PairedDifference, mean_and_spread, paired_difference
from semaug.runs.work import work_of

__all__ = [
    "MEASURES",
    "Arm",
    "Comparison",
    "check_same_test",
    "compare_runs",
    "conclusion",
    "measured_error",
    "name_of",
    "unequal_settings",
    "unequal_warnings",
]

# Of each network of a run; those of the second end in "_2".
MEASURES = ("error_mean_last_10", "error_last", "error_best")

# What should be the same in both arms, read from a summary; early ones lack some.
_SETTINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "device": lambda summary: str(summary.get("device")),
    "precision": lambda summary: str(summary.get("recipe", {}).get("precision")),
}


@dataclass(frozen=True)
class Arm:
    """One of the two sides.

    Args:
        runs: One for each seed.
        summaries: What each came to.
    """

    runs: Sequence[Run]
    summaries: Sequence[dict[str, Any]]

    @property
    def label(self) -> str:
        """Name of the recipe with its changes."""
        return self.runs[0].label

    @property
    def num_networks(self) -> int:
        """How many networks each run has."""
        return self.runs[0].recipe.method.num_networks

    def values(self, measure: str, network: int = 0) -> list[float]:
        """Return one number for each seed, of one of the networks, counted from 0."""
        return [summary[name_of(measure, network)] for summary in self.summaries]


@dataclass(frozen=True)
class Comparison:
    """What two arms came to, and where it is written.

    Args:
        first: The baseline.
        second: What is compared with it.
        differences: Of each measure that both have, ``second - first``; below 0 is fewer errors.
        folder: Holds ``compare.json`` and ``curves.png``.
    """

    first: Arm
    second: Arm
    differences: dict[str, PairedDifference]
    folder: Path

    @property
    def arms(self) -> tuple[Arm, Arm]:
        """Both, the baseline first."""
        return self.first, self.second

    @property
    def num_networks(self) -> int:
        """How many networks the runs of both arms have; the first is compared with the first."""
        return min(arm.num_networks for arm in self.arms)

    def difference(self, measure: str = MEASURES[0], network: int = 0) -> PairedDifference:
        """Return the difference of a measure, of one of the networks, counted from 0."""
        return self.differences[name_of(measure, network)]


def check_same_test(first: Recipe, second: Recipe) -> None:
    """Check that two recipes are tested on the same images; what they train on may differ.

    Raises:
        UserError: If they are not, so that a difference would say nothing.
    """
    one, other = _tested_on(first), _tested_on(second)
    for name in one:
        if one[name] != other[name]:
            raise UserError(
                f"compare: expected two recipes that are tested on the same images, got "
                f"{name}={one[name]} and {name}={other[name]}"
            )


def _tested_on(recipe: Recipe) -> dict[str, Any]:
    subset = recipe.subset
    drawn = subset.hold_out is not None or subset.test_images is not None
    return {
        "data": recipe.data,
        "hold_out": subset.hold_out,
        "test_images": subset.test_images,
        "subset_seed": subset.subset_seed if drawn else None,
    }


def compare_runs(first: Arm, second: Arm, root: Path) -> Comparison:
    """Compare two arms, and write ``compare.json`` and ``curves.png``.

    Args:
        first: The baseline.
        second: With the same seeds in the same order.
        root: Folder of all runs.

    Raises:
        UserError: If the arms are tested on different images.
        ValueError: If the numbers of runs differ.
    """
    recipes = [arm.runs[0].recipe for arm in (first, second)]
    check_same_test(*recipes)
    same_choice = recipes[0].subset == recipes[1].subset
    check_same_images([*first.runs, *second.runs], only_tested=not same_choice)
    networks = range(min(first.num_networks, second.num_networks))
    differences = {
        name_of(measure, k): paired_difference(first.values(measure, k), second.values(measure, k))
        for k in networks
        for measure in MEASURES
    }
    seeds = name_of_seeds([run.seed for run in first.runs])
    folder = root / "compare" / f"{first.label}-vs-{second.label}" / seeds
    folder.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(first, second, differences, folder)
    write_json(folder / "compare.json", _as_plain_data(comparison))
    draw_curves(
        folder / "curves.png",
        {arm.label: [run.metric_rows() for run in arm.runs] for arm in (first, second)},
    )
    return comparison


def name_of(measure: str, network: int) -> str:
    """Return the name that a measure of one of the networks has in a summary.

    >>> name_of("error_last", 0), name_of("error_last", 1)
    ('error_last', 'error_last_2')
    """
    return measure if network == 0 else f"{measure}_{network + 1}"


def conclusion(comparison: Comparison, network: int = 0) -> str:
    """Say in a sentence what the mean error of the last ten epochs shows.

    Args:
        comparison: Of two arms.
        network: Which of several, counted from 0.
    """
    difference = comparison.difference(network=network)
    first, second = comparison.first.label, comparison.second.label
    if comparison.num_networks > 1:
        first, second = (f"network {network + 1} of {label}" for label in (first, second))
    fewer = "fewer" if difference.mean < 0 else "more"
    outcome = f"{second} made {abs(difference.mean):.2f} points {fewer} errors than {first}"
    if f"{difference.mean:.2f}" in ("0.00", "-0.00"):
        outcome = f"{second} made as many errors as {first}"
    if difference.pairs == 1:
        return f"{outcome} in a single run each; a difference needs several seeds to be believed."
    if difference.low is None or difference.high is None:
        return (
            f"{outcome} in each of {difference.pairs} pairs of runs: the spread is zero, so there "
            "is no interval; only more seeds can tell how sure this is."
        )
    if difference.low <= 0 <= difference.high:
        return (
            f"{outcome} on average, but the interval contains 0: these {difference.pairs} pairs "
            "of runs do not show a difference."
        )
    return (
        f"{outcome}, and the interval does not contain 0: these {difference.pairs} pairs of runs "
        "show a difference on this data set, at the level of 95 %."
    )


def measured_error(summaries: Iterable[dict[str, Any]]) -> str:
    """Name the error that all runs report."""
    kinds = {summary.get("test_on", "test") for summary in summaries}
    return "held-out error" if kinds == {"hold_out"} else "test error"


def unequal_settings(
    first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]
) -> dict[str, tuple[list[str], list[str]]]:
    """Return what pairs of runs differ in, device or precision, with the values of both sides.

    Args:
        first: Summaries of runs.
        second: Of runs with the same seeds.
    """
    sides = {
        what: ([read(one) for one in first], [read(one) for one in second])
        for what, read in _SETTINGS.items()
    }
    return {what: both for what, both in sides.items() if both[0] != both[1]}


def unequal_warnings(comparison: Comparison) -> list[str]:
    """Say, in a line each, where runs with the same seed differ in device or precision."""
    lines = []
    unequal = unequal_settings(*(arm.summaries for arm in comparison.arms))
    for what, both in unequal.items():
        sides = (
            f"{arm.label} on {', '.join(sorted(set(values)))}"
            for arm, values in zip(comparison.arms, both, strict=True)
        )
        lines.append(f"the arms differ in {what}: {'; '.join(sides)}")
    return lines


def _as_plain_data(comparison: Comparison) -> dict[str, Any]:
    def arm(side: Arm) -> dict[str, Any]:
        measures = {}
        for k, measure in itertools.product(range(side.num_networks), MEASURES):
            values = side.values(measure, k)
            center, spread = mean_and_spread(values)
            measures[name_of(measure, k)] = {"mean": center, "std": spread, "values": values}
        return {
            "label": side.label,
            "seeds": [run.seed for run in side.runs],
            "folders": [str(run.folder) for run in side.runs],
            "seconds": [summary["seconds"] for summary in side.summaries],
            "devices": sorted({summary["device"] for summary in side.summaries}),
            "commits": sorted({summary["commit"] for summary in side.summaries}),
            "work": None if (work := work_of(side.summaries[0])) is None else asdict(work),
            **measures,
        }

    measured = measured_error([*comparison.first.summaries, *comparison.second.summaries])
    return {
        "unit": f"{measured} in percent",
        "first": arm(comparison.first),
        "second": arm(comparison.second),
        "second_minus_first": {
            measure: asdict(difference) for measure, difference in comparison.differences.items()
        },
        "interval": "95 %, Student's t over pairs of runs with the same seed",
        "conclusion": conclusion(comparison),
        "warnings": unequal_warnings(comparison),
    }

"""Two recipes on the same seeds: train what is missing, then compare pair by pair."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from semaug.training.curves import draw_curves
from semaug.training.files import write_json
from semaug.training.run import Run, RunIsBusyError
from semaug.training.statistics import PairedDifference, mean_and_spread, paired_difference
from semaug.training.work import Work

__all__ = [
    "MEASURES",
    "Arm",
    "Comparison",
    "compare_runs",
    "conclusion",
    "train_missing",
    "unequal_settings",
    "work_of",
]

MEASURES = ("error_mean_last_10", "error_last", "error_best")

_SECONDS_BETWEEN_LOOKS = 2.0

# What should be the same in both arms, read from a summary.
_SETTINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "device": lambda summary: summary["device"],
    "precision": lambda summary: summary["recipe"]["precision"],
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

    def values(self, measure: str) -> list[float]:
        """Return one number for each seed."""
        return [summary[measure] for summary in self.summaries]


@dataclass(frozen=True)
class Comparison:
    """What two arms came to, and where it is written.

    Args:
        first: The baseline.
        second: What is compared with it.
        differences: Of each measure, ``second - first``; below 0 is fewer errors.
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


def train_missing(
    runs: Sequence[Run],
    train_one: Callable[[Run], dict[str, Any]],
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Train the runs that are not finished, and return the summaries of all.

    Runs that another process is training come last and are waited for. So several processes
    may be given the same runs, and share the work.

    Args:
        runs: All that is needed.
        train_one: Trains a run, or goes on with it, and returns its summary.
        report: Gets a line for each run.
    """
    summaries: dict[Path, dict[str, Any]] = {}
    waiting = list(runs)
    busy: list[Run] = []
    while waiting:
        for run in waiting:
            position = f"run {runs.index(run) + 1} of {len(runs)}: {run.label} seed {run.seed}"
            if run not in busy:
                report(f"{position} {run.state()}")
            try:
                summaries[run.folder] = train_one(run)
            except RunIsBusyError:
                if run not in busy:
                    report(f"{position} waits: another process is training it")
                    busy.append(run)
        waiting = [run for run in waiting if run.folder not in summaries]
        if waiting:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    return [summaries[run.folder] for run in runs]


def compare_runs(first: Arm, second: Arm, root: Path) -> Comparison:
    """Compare two arms, and write ``compare.json`` and ``curves.png``.

    Args:
        first: The baseline.
        second: With the same seeds in the same order.
        root: Folder of all runs.

    Raises:
        ValueError: If the numbers of runs differ.
    """
    differences = {
        measure: paired_difference(first.values(measure), second.values(measure))
        for measure in MEASURES
    }
    seeds = ",".join(str(run.seed) for run in first.runs)
    folder = root / "compare" / f"{first.label}-vs-{second.label}" / f"seeds{seeds}"
    folder.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(first, second, differences, folder)
    write_json(folder / "compare.json", _as_plain_data(comparison))
    draw_curves(
        folder / "curves.png",
        {arm.label: [run.metric_rows() for run in arm.runs] for arm in (first, second)},
    )
    return comparison


def conclusion(comparison: Comparison) -> str:
    """Say in a sentence what the mean error of the last ten epochs shows."""
    difference = comparison.differences["error_mean_last_10"]
    first, second = comparison.first.label, comparison.second.label
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


def work_of(arm: Arm) -> Work | None:
    """Return what each run of an arm takes; None if runs of early versions do not tell."""
    summary = arm.summaries[0]
    names = [field.name for field in fields(Work)]
    if not all(name in summary for name in names):
        return None
    return Work(**{name: summary[name] for name in names})


def unequal_settings(comparison: Comparison) -> list[str]:
    """Say, in a line each, where runs with the same seed differ in device or precision."""
    lines = []
    for what, read in _SETTINGS.items():
        first, second = ([read(run) for run in arm.summaries] for arm in comparison.arms)
        if first != second:
            sides = (
                f"{arm.label} on {', '.join(sorted(set(values)))}"
                for arm, values in zip(comparison.arms, (first, second), strict=True)
            )
            lines.append(f"the arms differ in {what}: {'; '.join(sides)}")
    return lines


def _as_plain_data(comparison: Comparison) -> dict[str, Any]:
    def arm(side: Arm) -> dict[str, Any]:
        measures = {}
        for measure in MEASURES:
            center, spread = mean_and_spread(side.values(measure))
            values = side.values(measure)
            measures[measure] = {"mean": center, "std": spread, "values": values}
        return {
            "label": side.label,
            "seeds": [run.seed for run in side.runs],
            "folders": [str(run.folder) for run in side.runs],
            "seconds": [summary["seconds"] for summary in side.summaries],
            "devices": sorted({summary["device"] for summary in side.summaries}),
            "commits": sorted({summary["commit"] for summary in side.summaries}),
            "work": None if (work := work_of(side)) is None else asdict(work),
            **measures,
        }

    return {
        "unit": "test error in percent",
        "first": arm(comparison.first),
        "second": arm(comparison.second),
        "second_minus_first": {
            measure: asdict(difference) for measure, difference in comparison.differences.items()
        },
        "interval": "95 %, Student's t over pairs of runs with the same seed",
        "conclusion": conclusion(comparison),
        "warnings": unequal_settings(comparison),
    }

"""Two recipes on the same seeds, compared pair by pair."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semaug.engine.images import check_same_images
from semaug.errors import UserError
from semaug.outside import is_outside
from semaug.recipe.plain import flat_options, recipe_to_plain_data
from semaug.report.data import Group, RecipeRuns, RunData, unequal_settings
from semaug.report.plots import main_plot
from semaug.report.svg import save_figure
from semaug.runs.files import write_json
from semaug.runs.read import REPORTS, Measure, label_of, load_rows, measure_of, measured, value_of
from semaug.runs.run import Run, name_of_seeds
from semaug.runs.statistics import PairedDifference, mean_and_spread, paired_difference
from semaug.runs.work import work_of


@dataclass(frozen=True)
class Arm:
    """One of the two sides.

    Args:
        runs: One for each seed.
        summaries: Of these runs.
    """

    runs: Sequence[Run]
    summaries: Sequence[dict[str, Any]]

    @property
    def label(self) -> str:
        """Name of the recipe with its changes."""
        return self.runs[0].label

    @property
    def measure(self) -> Measure:
        """The main metric."""
        return measure_of(self.summaries[0])

    @property
    def predictors(self) -> list[str]:
        """Names of what was tested in every run, the main one first."""
        return [
            name
            for name in self.summaries[0]["results"]
            if all(value_of(summary, name) is not None for summary in self.summaries)
        ]

    def values(self, report: str | None = None, predictor: str = "") -> list[float]:
        """Return the main metric of a predictor for each seed.

        Args:
            report: A key of :data:`semaug.runs.read.REPORTS`; None is what the recipe reports.
            predictor: One of :attr:`predictors`.
        """
        name, report = self.measure.name, report or self.measure.report
        return [one["results"][predictor][name][report] for one in self.summaries]


@dataclass(frozen=True)
class Comparison:
    """The results of two arms, and where they are written.

    Args:
        first: The baseline.
        second: What is compared with it.
        differences: ``second - first`` of the main metric, by name of each predictor that both
            have, then by key of :data:`semaug.runs.read.REPORTS`.
        folder: Holds ``compare.json`` and ``curves.png``.
    """

    first: Arm
    second: Arm
    differences: Mapping[str, Mapping[str, PairedDifference]]
    folder: Path

    @property
    def arms(self) -> tuple[Arm, Arm]:
        """Both, the baseline first."""
        return self.first, self.second

    @property
    def measure(self) -> Measure:
        """The main metric, and which number of it is reported."""
        return self.first.measure

    @property
    def measured(self) -> str:
        """Such as ``"test error"`` or ``"held-out miou"``."""
        return measured(self.first.summaries[0])

    def difference(self, predictor: str = "") -> PairedDifference:
        """Return the difference of what is reported, of a predictor that both have."""
        return self.differences[predictor][self.measure.report]


def check_same_test(first: Any, second: Any) -> None:
    """Check that two recipes are tested on the same images; what they train on may differ.

    What they measure must be the same too, as far as recipes tell it.

    Raises:
        UserError: If they differ, so that a difference of results would say nothing.
    """
    one, other = map(_tested, (first, second))
    for name in one:
        if name in other and one[name] != other[name]:
            raise UserError(
                "compare: expected two recipes that are tested on the same images by the same "
                f"metric, got {name}={one[name]} and {name}={other[name]}"
            )


def _tested(recipe: Any) -> dict[str, Any]:
    """Return the options that choose test images and the main metric, as far as they are known."""
    options = flat_options(recipe_to_plain_data(recipe))
    of_data = (name for name in options if name.partition(".")[0] == "data")
    names = {"report", "subset.hold_out", "subset.test_images", *of_data}
    if options.get("subset.hold_out") is not None:
        names.add("subset.subset_seed")
    if options.get("metrics"):
        options["metrics"] = options["metrics"][0]["name"]
        names.add("metrics")
    elif not is_outside(options.get("method", ":")):  # all methods of semaug choose the error
        options["metrics"] = "error"
        names.add("metrics")
    return {name: value for name, value in options.items() if name in names}


def compare_runs(first: Arm, second: Arm, root: Path) -> Comparison:
    """Compare two arms, and write ``compare.json`` and ``curves.png``.

    Args:
        first: The baseline.
        second: With the same seeds in the same order.
        root: Folder of all runs.

    Raises:
        UserError: If the runs are tested on different images or by different metrics, code of
            some was changed since others were trained, or a run has no result.
        ValueError: If the numbers of runs differ.
    """
    one, other = (arm.runs[0].recipe for arm in (first, second))
    check_same_test(one, other)
    check_same_images([*first.runs, *second.runs], only_tested=one.subset != other.subset)
    _check_same_metric_and_code(first, second)
    differences = {
        name: {
            report: paired_difference(first.values(report, name), second.values(report, name))
            for report in REPORTS
        }
        for name in first.predictors
        if name in second.predictors
    }
    if "" not in differences:
        raise UserError(
            f"compare: expected the {first.measure.name} of each run, got runs without one"
        )
    seeds = name_of_seeds([run.seed for run in first.runs])
    folder = root / "compare" / f"{first.label}-vs-{second.label}" / seeds
    folder.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(first, second, differences, folder)
    write_json(folder / "compare.json", _as_plain_data(comparison))
    _draw(comparison)
    return comparison


def _check_same_metric_and_code(*arms: Arm) -> None:
    files: dict[str, tuple[Path, str]] = {}
    for arm in arms:
        for run, summary in zip(arm.runs, arm.summaries, strict=True):
            measure, wanted = measure_of(summary), arms[0].measure
            if measure != wanted:
                raise UserError(
                    "compare: expected runs with the same main metric, got "
                    f"{wanted.in_unit()} ({wanted.report}) in {arms[0].runs[0].folder} and "
                    f"{measure.in_unit()} ({measure.report}) in {run.folder}"
                )
            for name, file in summary["code"].items():
                folder, digest = files.setdefault(name, (run.folder, file["sha256"]))
                if digest != file["sha256"]:
                    raise UserError(
                        f"compare: {name} was changed between the runs in {folder} and "
                        f"{run.folder}; train one of them anew in another folder (--runs)"
                    )


def _draw(comparison: Comparison) -> None:
    """Draw the main metric against epochs, of test and of training images."""
    recipes = [
        RecipeRuns(
            arm.label,
            tuple(
                RunData(run.folder, arm.label, run.seed, arm.measure, rows=tuple(rows))
                for run in arm.runs
                for rows, _ in [load_rows(run.metrics)]
            ),
        )
        for arm in comparison.arms
    ]
    count = len(comparison.first.runs)
    title = "single runs" if count == 1 else f"mean of {count} runs, band from lowest to highest"
    if plot := main_plot("curves", Group(title, comparison.measured, tuple(recipes))):
        save_figure(plot.draw(legend=True), comparison.folder / "curves.png", plot.name)


def conclusion(comparison: Comparison, predictor: str = "") -> str:
    """Say in a sentence what the difference of two arms shows.

    Args:
        comparison: Of the arms.
        predictor: Name of what predicts, where there are several.
    """
    difference, pairs = comparison.difference(predictor), comparison.difference(predictor).pairs
    first, second = (label_of(arm.label, predictor) for arm in comparison.arms)
    gain = comparison.measure.gain(difference.mean)
    outcome = f"{second} is {gain} than {first}" if gain else f"{second} equals {first}"
    outcome += f" in {comparison.measured}"
    if pairs == 1:
        return f"{outcome}, in a single run each; a difference needs several seeds to be believed."
    if difference.low is None or difference.high is None:
        return (
            f"{outcome}, in each of {pairs} pairs of runs: the spread is zero, so there is no "
            "interval; only more seeds can tell how sure this is."
        )
    if difference.low <= 0 <= difference.high:
        return (
            f"{outcome} on average, but the interval contains 0: these {pairs} pairs of runs do "
            "not show a difference."
        )
    return (
        f"{outcome}, and the interval does not contain 0: these {pairs} pairs of runs show a "
        "difference on this data set, at the level of 95 %."
    )


def unequal_warnings(comparison: Comparison) -> list[str]:
    """Say, in a line each, where runs with the same seed differ in device or precision."""
    unequal = unequal_settings(*(arm.summaries for arm in comparison.arms))
    return [
        f"the arms differ in {what}: "
        + "; ".join(
            f"{arm.label} on {', '.join(sorted(set(values)))}"
            for arm, values in zip(comparison.arms, both, strict=True)
        )
        for what, both in unequal.items()
    ]


def _as_plain_data(comparison: Comparison) -> dict[str, Any]:
    def results(values: Sequence[float]) -> dict[str, Any]:
        center, spread = mean_and_spread(values)
        return {"mean": center, "std": spread, "values": values}

    def arm(side: Arm) -> dict[str, Any]:
        work = work_of(side.summaries[0])
        return {
            "label": side.label,
            "seeds": [run.seed for run in side.runs],
            "folders": [str(run.folder) for run in side.runs],
            "seconds": [summary["seconds"] for summary in side.summaries],
            "devices": sorted({summary["device"] for summary in side.summaries}),
            "commits": sorted({summary["commit"] for summary in side.summaries}),
            "work": None if work is None else asdict(work),
            "results": {
                name: {report: results(side.values(report, name)) for report in REPORTS}
                for name in side.predictors
            },
        }

    return {
        "measured": comparison.measured,
        "metric": asdict(comparison.measure),
        "first": arm(comparison.first),
        "second": arm(comparison.second),
        "second_minus_first": {
            name: {report: asdict(difference) for report, difference in reports.items()}
            for name, reports in comparison.differences.items()
        },
        "interval": "95 %, Student's t over pairs of runs with the same seed",
        "conclusion": conclusion(comparison),
        "warnings": unequal_warnings(comparison),
    }

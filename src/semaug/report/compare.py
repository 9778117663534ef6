"""Two recipes on the same seeds, compared pair by pair."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from semaug.engine.images import check_same_images, read_images
from semaug.errors import UserError
from semaug.outside import is_outside
from semaug.recipe.plain import flat_options, recipe_to_plain_data, typed_names
from semaug.report.collect import make_group, read_run
from semaug.report.data import Group, Pair, RecipeRuns, RunData, compare
from semaug.report.picture import save
from semaug.report.plots import main_plot
from semaug.runs.files import write_json
from semaug.runs.read import CROSS_VALIDATION, REPORTS, Measure, label_of
from semaug.runs.run import Run, name_of_seeds
from semaug.runs.statistics import FEWEST_PAIRS, mean_and_spread, pairs_to_detect


@dataclass(frozen=True)
class Comparison:
    """Two recipes, how they differ, and where that is written.

    Args:
        group: Of both, the baseline first.
        pairs: What the first recipe reports, for each predictor that both have.
        folder: Holds ``compare.json`` and ``curves.png``.
    """

    group: Group
    pairs: Sequence[Pair]
    folder: Path


def check_same_test(first: Any, second: Any) -> None:
    """Check that two recipes are tested on the same images; what they train on may differ.

    What they measure must be the same too, as far as recipes tell it.

    Raises:
        UserError: If they differ, so that a difference of results would say nothing.
    """
    one, other = map(_options_of_tests, (first, second))
    for dotted, name in typed_names({**one, **other}).items():
        if dotted in one and dotted in other and one[dotted] != other[dotted]:
            raise UserError(
                "compare: expected two recipes that are tested on the same images by the same "
                f"metric, got {name}={one[dotted]} and {name}={other[dotted]}"
            )


def _options_of_tests(recipe: Any) -> dict[str, Any]:
    """Return the options that choose test images and the main metric, as far as they are known."""
    options = flat_options(recipe_to_plain_data(recipe))
    of_data = (name for name in options if name.partition(".")[0] == "data")
    parted = {"subset.hold_out", "subset.folds"}
    names = {"report", "subset.test_images", *parted, *of_data}
    if any(options.get(name) is not None for name in parted):
        names.add("subset.subset_seed")
    if options.get("metrics"):
        options["metrics"] = options["metrics"][0]["name"]
        names.add("metrics")
    elif not is_outside(options.get("method", ":")):  # all methods of semaug choose the error
        options["metrics"] = "error"
        names.add("metrics")
    return {name: value for name, value in options.items() if name in names}


def compare_runs(first: Sequence[Run], second: Sequence[Run], root: Path) -> Comparison:
    """Compare finished runs of two recipes, and write ``compare.json`` and ``curves.png``.

    Args:
        first: Of the baseline.
        second: Of the other recipe, with the same seeds.
        root: Folder of all runs.

    Raises:
        UserError: If the runs are tested on different images or by different metrics, code of
            some was changed since others were trained, or a run is damaged or has no result.
    """
    one, other = first[0].recipe, second[0].recipe
    check_same_test(one, other)
    check_same_images([*first, *second], only_tested=one.subset != other.subset)
    recipes = [
        RecipeRuns(runs[0].label, tuple(map(_read_finished_run, runs))) for runs in (first, second)
    ]
    count = len(first)
    title = "single runs" if count == 1 else f"mean of {count} runs, band from lowest to highest"
    group = make_group(title, recipes)
    _check_same_metric_and_code(group)
    pairs = group.pairs()
    if not pairs or pairs[0].predictor or pairs[0].difference.pairs < count:
        raise UserError(
            f"compare: expected the {group.measure.name} of each run, got runs without one"
        )
    seeds = name_of_seeds([run.seed for run in first])
    folder = root / "compare" / f"{recipes[0].label}-vs-{recipes[1].label}" / seeds
    folder.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(group, pairs, folder)
    write_json(folder / "compare.json", _as_plain_data(comparison))
    if plot := main_plot("curves", group):
        save(plot.draw(legend=True), folder / "curves.png")
    return comparison


def _read_finished_run(run: Run) -> RunData:
    notes: list[str] = []
    found = read_run(run.folder, notes)
    if found is None or not found.finished:
        raise UserError(f"compare: expected a finished run in {run.folder}, got: {notes[0]}")
    return found


def _check_same_metric_and_code(group: Group) -> None:
    files: dict[str, tuple[Path, str]] = {}
    wanted, first = group.measure, group.runs[0]
    for run in group.runs:
        if run.measure != wanted:
            raise UserError(
                "compare: expected runs with the same main metric, got "
                f"{wanted.in_unit()} ({wanted.report}) in {first.folder} and "
                f"{run.measure.in_unit()} ({run.measure.report}) in {run.folder}"
            )
        for name, digest in run.code.items():
            folder, known = files.setdefault(name, (run.folder, digest))
            if digest != known:
                raise UserError(
                    f"compare: {name} was changed between the runs in {folder} and "
                    f"{run.folder}; train one of them anew in another folder (--runs)"
                )


def better_of(comparison: Comparison) -> RecipeRuns:
    """Return the recipe whose mean of the reported number is better; the first of equal ones."""
    measure = comparison.group.measure
    return min(
        comparison.group.recipes,
        key=lambda side: measure.sort_key(mean(side.values(measure).values())),
    )


def record_refit(comparison: Comparison, chosen: RecipeRuns, run: Run) -> dict[str, Any]:
    """Note what error to expect of a run on all images: that of its recipe in the folds.

    It is added to ``compare.json``, and is ``cross_validation.json`` in the folder of the run.

    Args:
        comparison: Of runs that are folds.
        chosen: The recipe of the run.
        run: It is finished.

    Returns:
        What was written.

    Raises:
        OSError: If the disk does not take it.
    """
    group = comparison.group
    values = [*chosen.values(group.measure).values()]
    center, spread = mean_and_spread(values)
    found = {
        "metric": asdict(group.measure),
        "mean": center,
        "std": spread,
        "values": values,
        "folds": chosen.runs[0].options["subset.folds"],
        "recipe": chosen.label,
        "chosen_from": [side.label for side in group.recipes],
        "folders": [str(one.folder) for one in chosen.runs],
        "train_images": read_images(run.folder / "images.json")["train_images"],
    }
    write_json(run.folder / CROSS_VALIDATION, found)
    refit = {"label": run.label, "seed": run.seed, "folder": str(run.folder), "expected": found}
    write_json(comparison.folder / "compare.json", {**_as_plain_data(comparison), "refit": refit})
    return found


def conclusion(group: Group, pair: Pair) -> str:
    """Say in a sentence what the difference of two recipes shows.

    Args:
        group: That they are from.
        pair: Of the two, by any metric.
    """
    difference, pairs = pair.difference, pair.difference.pairs
    first, second = (label_of(side.label, pair.predictor) for side in (pair.first, pair.second))
    gain = pair.measure.gain(difference.mean)
    outcome = f"{second} is {gain} than {first}" if gain else f"{second} equals {first}"
    outcome += f" in {group.name_of(pair.measure)}"
    count = f"{pairs} pair{'s' * (pairs > 1)} of runs"
    endings = {
        "too few pairs": f", in {count}: too few pairs for a verdict, which takes at least "
        f"{FEWEST_PAIRS}.",
        "no spread": f", in each of {count}: the spread is zero, so there is no interval; only "
        "more seeds can tell how sure this is.",
        "no difference": f" on average, but the interval contains 0: these {count} do not show a "
        "difference.",
        "a difference": f", and the interval does not contain 0: these {count} show a difference "
        "on this data set, at the level of 95 %.",
    }
    return outcome + endings[difference.shows]


def interval(group: Group) -> str:
    """Say which interval a comparison gives."""
    if group.recipes[0].overlap:
        return "95 %, corrected Student's t over folds (Nadeau and Bengio, 2003)"
    return "95 %, Student's t over pairs of runs with the same seed"


def pairs_for(comparison: Comparison, size: float) -> str:
    """Say how many pairs of runs it takes to see a difference, at the spread so far.

    Args:
        comparison: Of the pairs so far.
        size: Of the difference.
    """
    pair, group = comparison.pairs[0], comparison.group
    std, overlap = pair.difference.std, pair.first.overlap
    wanted = f"a difference of {group.measure.text(size)} in {group.measured}"
    if not std:
        known = "unknown" if std is None else "zero"
        return f"{wanted}: the spread so far is {known}, which tells no number of pairs"
    pairs = pairs_to_detect(size, std, overlap)
    spread = f"if the standard deviation of differences is {std:.{group.measure.digits}f} as here"
    if pairs is None:
        why = "folds, which share training images" if overlap else "10,000 pairs"
        return f"{wanted} is not seen in four of five studies by any number of {why}, {spread}"
    return f"{wanted} is seen in four of five studies with {pairs} pairs, {spread}"


def unequal_warnings(pair: Pair) -> list[str]:
    """Say, in a line each, what runs with the same seed differ in beside their recipes."""
    return [
        f"the arms differ in {what}: "
        + "; ".join(
            f"{side.label} on {', '.join(sorted(set(values)))}"
            for side, values in zip((pair.first, pair.second), both, strict=True)
        )
        for what, both in pair.unequal.items()
    ]


def _as_plain_data(comparison: Comparison) -> dict[str, Any]:
    group = comparison.group
    first, second = group.recipes
    return {
        "measured": group.measured,
        "metric": asdict(group.measure),
        "first": _side_as_plain_data(first),
        "second": _side_as_plain_data(second),
        "second_minus_first": _paired_differences(group, group.measure),
        "other_metrics": [
            {
                "metric": asdict(other),
                "first": {"results": _results(first, other)},
                "second": {"results": _results(second, other)},
                "second_minus_first": _paired_differences(group, other),
            }
            for other in group.others
        ],
        "interval": interval(group),
        "conclusion": conclusion(group, comparison.pairs[0]),
        "warnings": unequal_warnings(comparison.pairs[0]),
    }


def _paired_differences(group: Group, measure: Measure) -> dict[str, Any]:
    first, second = group.recipes
    return {
        pair.predictor: {
            report: asdict(found.difference)
            for report in REPORTS
            if (found := compare(first, second, replace(measure, report=report), pair.predictor))
        }
        for pair in group.pairs(measure)
    }


def _results(side: RecipeRuns, measure: Measure) -> dict[str, Any]:
    def told(values: Sequence[float]) -> dict[str, Any]:
        center, spread = mean_and_spread(values) if values else (None, None)
        return {"mean": center, "std": spread, "values": values}

    return {
        name: {
            report: told([*side.values(replace(measure, report=report), name).values()])
            for report in REPORTS
        }
        for name in side.predictors
    }


def _side_as_plain_data(side: RecipeRuns) -> dict[str, Any]:
    return {
        "label": side.label,
        "seeds": [run.seed for run in side.runs],
        "folders": [str(run.folder) for run in side.runs],
        "seconds": [run.seconds for run in side.runs],
        "devices": sorted({run.device for run in side.runs}),
        "commits": sorted({run.commit for run in side.runs}),
        "work": [None if run.work is None else asdict(run.work) for run in side.runs],
        "results": _results(side, side.runs[0].measure),
    }

"""What a report says, as frozen data: runs, the recipes they belong to, groups on the same data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from semaug.recipe.plain import flat_options, typed_names
from semaug.recipe.plan import NUM_AVERAGED
from semaug.report.inside import InsidePicture
from semaug.report.masks import PicturedImages
from semaug.report.mistakes import AnsweredImages, Mistakes, gather
from semaug.runs.read import Measure, report_names, row_name
from semaug.runs.statistics import PairedDifference, mean_of_known, paired_difference
from semaug.runs.work import Work

_MOST_RECIPES_IN_ALL_PAIRS = 6  # 15 pairs; of more recipes, each is compared with the first


@dataclass(frozen=True)
class RunData:
    """What the folder of one run holds.

    Args:
        folder: Of the run.
        label: Name of the recipe with its changes.
        seed: Of the run.
        measure: The main metric.
        recipe: The full recipe, as plain data.
        rows: The numbers of ``metrics.jsonl``, an epoch each, in order.
        results: Values by name of the predictor, then by metric, then by key of
            :data:`semaug.runs.read.REPORTS`; empty while a run is not finished.
        by_class: The main metric of each class, likewise.
        finished: Whether there is a summary.
        seconds: Of training, so far.
        peak_memory: In MiB; None where no file tells it.
        device: Where it was trained.
        commit: Of this package.
        versions: Of the software.
        starts: When the run was started, and resumed.
        images: Sums of what it was trained and tested on; empty where no file tells them.
        test_on: ``"test"``, ``"hold_out"`` or ``"none"``.
        code: SHA-256 of each file of code from outside.
        diverged: Whether it is unfinished because it diverged.
        num_tests: Of the whole run; 10 where no file tells it.
        work: What it took; None where no file tells it.
        others: What is measured beside the main metric.
        tested: What was predicted of single images or of their pixels; None where no file tells it.
        pictures: Some of those that the run wrote while it trained, PNG files by step.
        inside: Pictures of what its networks do, that commands made.
    """

    folder: Path
    label: str
    seed: int
    measure: Measure
    recipe: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, float], ...] = ()
    results: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    by_class: Mapping[str, float] = field(default_factory=dict)
    finished: bool = False
    seconds: float | None = None
    peak_memory: float | None = None
    device: str = ""
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    starts: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    test_on: str = "test"
    code: Mapping[str, str] = field(default_factory=dict)
    diverged: bool = False
    num_tests: int = NUM_AVERAGED
    work: Work | None = None
    others: tuple[Measure, ...] = ()
    tested: AnsweredImages | PicturedImages | None = None
    pictures: Mapping[int, Path] = field(default_factory=dict)
    inside: tuple[InsidePicture, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Options of the recipe, by dotted name."""
        return flat_options(self.recipe)

    @property
    def images_follow_seed(self) -> bool:
        """Whether runs of other seeds see other images, as of :class:`semaug.data.Subset`."""
        own = self.options
        return own.get("subset.folds") is not None or own.get("subset.subset_seed") == "run"

    @property
    def state(self) -> str:
        """Say whether the run is finished, or how far it is."""
        if self.finished:
            return "finished, not tested" if self.test_on == "none" else "finished"
        epochs, done = self.recipe.get("epochs"), int(self.rows[-1]["epoch"]) if self.rows else 0
        reached = f"epoch {done} of {epochs}" if epochs else f"epoch {done}"
        return f"{reached}, diverged" if self.diverged else reached

    @property
    def short_commit(self) -> str:
        """As much of the commit as tells it from others."""
        return self.commit[:10]

    @property
    def software(self) -> str:
        """Versions of this package and of torch."""
        names = (name for name in ("semaug", "torch") if name in self.versions)
        return ", ".join(f"{name} {self.versions[name]}" for name in names)

    @property
    def images_per_second(self) -> float | None:
        """Median over epochs; None if no row tells it."""
        speeds = [row["images_per_second"] for row in self.rows if "images_per_second" in row]
        return median(speeds) if speeds else None


@dataclass(frozen=True)
class RecipeRuns:
    """The runs of one recipe, with different seeds.

    Args:
        label: Name of the recipe with its changes.
        runs: At least one, by seed.
    """

    label: str
    runs: tuple[RunData, ...]

    @property
    def finished(self) -> tuple[RunData, ...]:
        """The runs that have a summary."""
        return tuple(run for run in self.runs if run.finished)

    @cached_property
    def mistakes(self) -> Mistakes | None:
        """What is predicted wrongly over all runs; None where no run tells it."""
        return gather([x.tested for x in self.runs if isinstance(x.tested, AnsweredImages)])

    @property
    def masks(self) -> tuple[int, PicturedImages] | None:
        """The seed of the first run that keeps pictures of tests, and these; None if none does."""
        found = ((x.seed, x.tested) for x in self.runs if isinstance(x.tested, PicturedImages))
        return next(found, None)

    @property
    def overlap(self) -> float:
        """Test images over training images, if the runs are folds; 0 if they are none."""
        folds = self.runs[0].options.get("subset.folds")
        return 1 / (folds - 1) if folds else 0.0

    @property
    def state(self) -> str:
        """Say how far unfinished runs are."""
        states = (f"seed {run.seed} at {run.state}" for run in self.runs if not run.finished)
        return "; ".join(states) or "all finished"

    @property
    def seconds(self) -> float | None:
        """Of a finished run, mean over runs."""
        return mean_of_known(run.seconds for run in self.finished)

    @property
    def images_per_second(self) -> float | None:
        """Mean over runs."""
        return mean_of_known(run.images_per_second for run in self.runs)

    @property
    def peak_memory(self) -> float | None:
        """In MiB, of the run that took most; None where no file tells it."""
        return max(run.peak_memory or 0.0 for run in self.runs) or None

    @property
    def predictors(self) -> list[str]:
        """Names of what was tested, the main one first."""
        return list(dict.fromkeys(["", *(name for run in self.runs for name in run.results)]))

    def values(self, measure: Measure, predictor: str = "") -> dict[int, float]:
        """Return what is reported of a metric for each seed whose run is finished.

        Args:
            measure: What is wanted, and which number of it.
            predictor: Whose.
        """
        told = {run.seed: run.results.get(predictor, {}).get(measure.name, {}) for run in self.runs}
        return {seed: own[measure.report] for seed, own in told.items() if measure.report in own}


@dataclass(frozen=True)
class Pair:
    """Two recipes with common seeds.

    Args:
        first: The baseline.
        second: What is compared with it.
        measure: What is compared, and which number of it.
        predictor: Whose values they are.
        difference: ``second - first``.
        unequal: What else differs that should not, of :func:`unequal_settings`.
    """

    first: RecipeRuns
    second: RecipeRuns
    measure: Measure
    predictor: str
    difference: PairedDifference
    unequal: Mapping[str, tuple[list[str], list[str]]]


@dataclass(frozen=True)
class Group:
    """Runs with the same main metric that were trained and tested on the same images.

    Args:
        title: The data set, and how its images were chosen.
        measured: Such as ``"test error"`` or ``"held-out miou"``.
        recipes: At least one; baselines first.
    """

    title: str
    measured: str
    recipes: tuple[RecipeRuns, ...]

    @property
    def measure(self) -> Measure:
        """The main metric, and which number of it the first recipe reports."""
        return self.recipes[0].runs[0].measure

    @property
    def others(self) -> list[Measure]:
        """What is measured beside the main metric in some run, each by the same report."""
        found = (one for run in self.runs for one in run.others)
        return list(dict.fromkeys(replace(one, report=self.measure.report) for one in found))

    @property
    def side_of_gains(self) -> str:
        """Where a difference from a baseline is a gain."""
        return "below 0" if self.measure.better == "lower" else "above 0"

    def name_of(self, measure: Measure) -> str:
        """Name a metric with the images that it is measured on, as ``measured`` is named."""
        return f"{self.measured.partition(' ')[0]} {measure.name}"

    @property
    def main_columns(self) -> tuple[str, str]:
        """Columns of the main metric on test images, and on training images."""
        return row_name(self.measure.name), f"train_{self.measure.name}"

    @property
    def predictors(self) -> list[str]:
        """Names of what was tested in some run, the main one first."""
        return list(dict.fromkeys(name for recipe in self.recipes for name in recipe.predictors))

    @property
    def runs(self) -> tuple[RunData, ...]:
        """Of all recipes."""
        return tuple(run for recipe in self.recipes for run in recipe.runs)

    @property
    def inside(self) -> list[tuple[InsidePicture, list[str]]]:
        """Pictures of what networks do, each once, with the runs that have it."""
        found: dict[tuple[str, bytes], tuple[InsidePicture, list[str]]] = {}
        for recipe in self.recipes:
            for run in recipe.runs:
                for one in run.inside:
                    key = one.title, one.picture.numpy().tobytes()
                    found.setdefault(key, (one, []))[1].append(f"{recipe.label} seed {run.seed}")
        return [*found.values()]

    @property
    def compares_all(self) -> bool:
        """Whether :meth:`pairs` compares each recipe with each, or with the first alone."""
        return len(self.recipes) <= _MOST_RECIPES_IN_ALL_PAIRS

    @property
    def report_names(self) -> dict[str, str]:
        """Names of the numbers in :data:`semaug.runs.read.REPORTS` that fit all runs."""
        counts_steps = any(run.recipe.get("steps") for run in self.runs)
        tests = (run.num_tests for run in self.runs)
        return report_names(*tests, unit="test" if counts_steps else "epoch")

    def columns(self) -> list[str]:
        """Return the columns of numbers in the order in which they appear."""
        return list(dict.fromkeys(name for run in self.runs for row in run.rows for name in row))

    def pairs(self, measure: Measure | None = None) -> list[Pair]:
        """Compare recipes that share seeds.

        Args:
            measure: By which metric; None is what the first recipe reports.
        """
        baselines = self.recipes if self.compares_all else self.recipes[:1]
        return [
            pair
            for place, first in enumerate(baselines)
            for second in self.recipes[place + 1 :]
            for predictor in self.predictors
            if (pair := compare(first, second, measure or self.measure, predictor))
        ]

    def differing_fields(self) -> dict[str, list[Any]]:
        """Return the options of recipes that differ, with the value of each recipe."""
        flat = [recipe.runs[0].options for recipe in self.recipes]
        names = dict.fromkeys(name for options in flat for name in options)
        table = {name: [options.get(name) for options in flat] for name in names}
        typed = typed_names(names)
        return {typed[name]: row for name, row in table.items() if any(x != row[0] for x in row)}


@dataclass(frozen=True)
class Report:
    """All that a page shows.

    Args:
        groups: Of runs on the same images.
        notes: What could not be read or was left out, a sentence each.
        created: When, as text; empty leaves it out.
    """

    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()
    created: str = ""

    @property
    def runs(self) -> tuple[RunData, ...]:
        """Of all groups."""
        return tuple(run for group in self.groups for run in group.runs)


class Point(NamedTuple):
    """A column at one epoch: over the runs that got that far."""

    epoch: float
    mean: float
    low: float
    high: float


def curve(runs: Sequence[RunData], column: str) -> list[Point]:
    """Return mean, lowest and highest of a column, for each epoch that has it in some run.

    >>> rows = [({"epoch": 1, "lr": value},) for value in (1, 3)]
    >>> error = Measure("error", "%", "lower")
    >>> curve([RunData(Path("a"), "a", 0, error, rows=own) for own in rows], "lr")
    [Point(epoch=1, mean=2, low=1, high=3)]
    """
    values: dict[float, list[float]] = {}
    for run in runs:
        for row in run.rows:
            if column in row:
                values.setdefault(row["epoch"], []).append(row[column])
    return [
        Point(epoch, mean(seen), min(seen), max(seen)) for epoch, seen in sorted(values.items())
    ]


def unequal_settings(
    first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]]
) -> dict[str, tuple[list[str], list[str]]]:
    """Return what pairs of runs differ in beside their recipes, with the values of both sides.

    That is device, precision, or images in a step of testing, whose default tells runs of versions
    that trained otherwise.

    Args:
        first: Summaries of runs.
        second: Of runs with the same seeds.
    """
    sides = [
        [{**flat_options(run["recipe"]), "device": run["device"]} for run in side]
        for side in (first, second)
    ]
    found = {}
    for name in ("device", "precision", "evaluation_batch_size"):
        one, other = ([str(run.get(name)) for run in side] for side in sides)
        if one != other:
            found[name.replace("_", " ")] = one, other
    return found


def compare(first: RecipeRuns, second: RecipeRuns, measure: Measure, predictor: str) -> Pair | None:
    """Compare two recipes over their common seeds; None if there are none.

    Args:
        first: The baseline.
        second: What is compared with it.
        measure: What is compared, and which number of it.
        predictor: Whose values are compared.
    """
    one, two = first.values(measure, predictor), second.values(measure, predictor)
    if not (seeds := sorted(one.keys() & two.keys())):
        return None
    values, others = ([own[seed] for seed in seeds] for own in (one, two))
    difference = paired_difference(values, others, first.overlap)
    unequal = unequal_settings(
        *([vars(run) for run in side.runs if run.seed in seeds] for side in (first, second))
    )
    return Pair(first, second, measure, predictor, difference, unequal)

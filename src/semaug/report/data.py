"""What a report says, as frozen data: runs, the recipes they belong to, groups on the same data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from semaug.runs.run import all_options
from semaug.runs.statistics import PairedDifference, paired_difference

__all__ = ["Group", "Pair", "Point", "RecipeRuns", "Report", "RunData", "curve"]

_MOST_RECIPES_IN_ALL_PAIRS = 6  # 15 pairs; of more recipes, each is compared with the first


@dataclass(frozen=True)
class RunData:
    """What the folder of one run holds, as far as it could be read.

    Args:
        folder: Of the run.
        label: Name of the recipe with its changes.
        seed: None where no file tells it.
        recipe: The full recipe, as plain data; empty where no file tells it.
        rows: The numbers of ``metrics.jsonl``, an epoch each, in order.
        errors: The measures of ``summary.json`` in percent, of networks after the first with
            their number behind; empty while a run is not finished.
        class_errors: Mean test error of each class in percent; empty likewise, and where the
            run was trained by an early version.
        finished: Whether there is a summary.
        seconds: Of training, so far.
        peak_memory: In MiB; None where no file tells it.
        device: Where it was trained.
        commit: Of this package.
        versions: Of the software.
        starts: When the run was started, and resumed.
        images: Sums of what it was trained and tested on; empty where no file tells them.
        diverged: Whether it is unfinished because its numbers stopped being finite.
    """

    folder: Path
    label: str
    seed: int | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, float], ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    class_errors: Mapping[str, float] = field(default_factory=dict)
    finished: bool = False
    seconds: float | None = None
    peak_memory: float | None = None
    device: str = ""
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    starts: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    diverged: bool = False

    @property
    def num_networks(self) -> int:
        """How many networks trained together, as far as errors tell it."""
        return 1 + sum(name.startswith("error_last_") for name in self.errors)

    @property
    def epoch(self) -> int:
        """The last epoch that was written down; 0 before the first."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def state(self) -> str:
        """Say whether the run is finished, or how far it is."""
        if self.finished:
            return "finished"
        epochs = self.recipe.get("epochs")
        reached = f"epoch {self.epoch} of {epochs}" if epochs else f"epoch {self.epoch}"
        return f"{reached}, diverged" if self.diverged else reached

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
    def recipe(self) -> Mapping[str, Any]:
        """What the runs share."""
        return self.runs[0].recipe

    @property
    def finished(self) -> tuple[RunData, ...]:
        """The runs that have a summary."""
        return tuple(run for run in self.runs if run.finished)

    @property
    def num_networks(self) -> int:
        """The most that trained together in a run."""
        return max(run.num_networks for run in self.runs)

    def values(self, measure: str) -> dict[int | None, float]:
        """Return an error for each seed whose run is finished."""
        return {run.seed: run.errors[measure] for run in self.runs if measure in run.errors}


@dataclass(frozen=True)
class Pair:
    """Two recipes with common seeds.

    Args:
        first: The baseline.
        second: What is compared with it.
        difference: Of an error, ``second - first``.
        seeds: What they share.
        unequal: What else differs that should not: device or precision.
    """

    first: RecipeRuns
    second: RecipeRuns
    difference: PairedDifference
    seeds: tuple[int, ...]
    unequal: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Runs that were trained and tested on the same images.

    Args:
        title: The data set, and how its images were chosen.
        measured: ``"test error"`` or ``"held-out error"``.
        recipes: At least one; baselines first.
    """

    title: str
    measured: str
    recipes: tuple[RecipeRuns, ...]

    @property
    def runs(self) -> tuple[RunData, ...]:
        """Of all recipes."""
        return tuple(run for recipe in self.recipes for run in recipe.runs)

    @property
    def compares_all(self) -> bool:
        """Whether :meth:`pairs` compares each recipe with each, or with the first alone."""
        return len(self.recipes) <= _MOST_RECIPES_IN_ALL_PAIRS

    def columns(self) -> list[str]:
        """Return the columns of numbers in the order in which they appear."""
        return list(dict.fromkeys(name for run in self.runs for row in run.rows for name in row))

    def pairs(self, measure: str) -> list[Pair]:
        """Compare recipes that share seeds."""
        pairs = []
        for place, first in enumerate(self.recipes):
            if place > 0 and not self.compares_all:
                break
            for second in self.recipes[place + 1 :]:
                pair = _compare(first, second, measure)
                if pair is not None:
                    pairs.append(pair)
        return pairs

    def differing_fields(self) -> dict[str, list[Any]]:
        """Return the fields of recipes that differ, with the value of each recipe."""
        flat = [all_options(recipe.recipe) if recipe.recipe else {} for recipe in self.recipes]
        names = dict.fromkeys(name for fields in flat for name in fields)
        table = {name: [fields.get(name) for fields in flat] for name in names}
        return {name: row for name, row in table.items() if any(x != row[0] for x in row)}


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


@dataclass(frozen=True)
class Point:
    """A column at one epoch: over the runs that got that far."""

    epoch: float
    mean: float
    low: float
    high: float


def curve(runs: Sequence[RunData], column: str) -> list[Point]:
    """Return mean, lowest and highest of a column, for each epoch that has it in some run.

    >>> runs = [RunData(Path("a"), "a", rows=({"epoch": 1, "lr": value},)) for value in (1, 3)]
    >>> curve(runs, "lr")
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


def _compare(first: RecipeRuns, second: RecipeRuns, measure: str) -> Pair | None:
    one, two = first.values(measure), second.values(measure)
    seeds = tuple(sorted(seed for seed in one if seed is not None and seed in two))
    if not seeds:
        return None
    difference = paired_difference([one[seed] for seed in seeds], [two[seed] for seed in seeds])
    unequal = [
        name
        for name, read in (("device", _device), ("precision", _precision))
        if [read(run) for run in _chosen(first, seeds)]
        != [read(run) for run in _chosen(second, seeds)]
    ]
    return Pair(first, second, difference, seeds, tuple(unequal))


def _chosen(recipe: RecipeRuns, seeds: Sequence[int]) -> list[RunData]:
    return [run for run in recipe.runs if run.seed in seeds]


def _device(run: RunData) -> str:
    return run.device


def _precision(run: RunData) -> Any:
    return run.recipe.get("precision")

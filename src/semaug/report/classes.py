"""The main metric of single classes: of each recipe, and what changes from the baseline."""

from dataclasses import dataclass

from semaug.report.data import Group, RecipeRuns
from semaug.runs.read import Measure
from semaug.runs.statistics import mean_of_known

MOST_SHOWN = 30  # classes at once; of more, half as many from each end


@dataclass(frozen=True)
class ClassValue:
    """A class, with a place for each recipe.

    Args:
        name: Of the class.
        values: Mean over finished runs; None where no run tells it.
        changes: From the first recipe, mean over common seeds; None for the first recipe, and
            where there are no common seeds.
    """

    name: str
    values: tuple[float | None, ...]
    changes: tuple[float | None, ...]


@dataclass(frozen=True)
class ClassValues:
    """The classes of a group.

    Args:
        measure: What the values are of.
        recipes: Those whose runs tell values of classes, at least one.
        rows: In the order of the data set.
    """

    measure: Measure
    recipes: tuple[RecipeRuns, ...]
    rows: tuple[ClassValue, ...]

    @property
    def compares(self) -> bool:
        """Whether there are changes."""
        return any(change is not None for row in self.rows for change in row.changes)

    def ends(self) -> tuple[ClassValue, ...]:
        """Return all classes, the best first; of too many, those at both ends.

        They are ordered by the mean change over recipes, or else by the values of the first.
        """
        told = [
            (mean_of_known(row.changes if self.compares else row.values[:1]), row)
            for row in self.rows
        ]
        known = [(self.measure.sort_key(value), row) for value, row in told if value is not None]
        ordered = tuple(row for _, row in sorted(known, key=lambda pair: pair[0]))
        if len(self.rows) <= MOST_SHOWN:
            return (*ordered, *(row for row in self.rows if row not in ordered))
        half = MOST_SHOWN // 2
        return ordered if len(ordered) <= MOST_SHOWN else ordered[:half] + ordered[-half:]


def values_by_class(group: Group) -> ClassValues | None:
    """Gather the values of classes; None if no run tells them."""
    recipes = tuple(recipe for recipe in group.recipes if any(run.by_class for run in recipe.runs))
    names = dict.fromkeys(name for run in group.runs for name in run.by_class)
    rows = tuple(_average_class(name, recipes) for name in names)
    return ClassValues(group.measure, recipes, rows) if recipes else None


def _average_class(name: str, recipes: tuple[RecipeRuns, ...]) -> ClassValue:
    told = [
        {run.seed: run.by_class[name] for run in recipe.runs if name in run.by_class}
        for recipe in recipes
    ]
    changes = (
        mean_of_known(own[seed] - told[0][seed] for seed in own if seed in told[0])
        for own in told[1:]
    )
    return ClassValue(name, tuple(mean_of_known(own.values()) for own in told), (None, *changes))

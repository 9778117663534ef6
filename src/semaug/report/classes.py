"""Errors of single classes: of each recipe, and what changes from the baseline to the others."""

from dataclasses import dataclass
from statistics import mean

from semaug.report.data import Group, RecipeRuns

__all__ = ["MOST_SHOWN", "ClassError", "ClassErrors", "errors_by_class"]

MOST_SHOWN = 30  # classes at once; of more, half as many from each end


@dataclass(frozen=True)
class ClassError:
    """A class, with a place for each recipe.

    Args:
        name: Of the class.
        errors: In percent, mean over finished runs; None where no run tells it.
        changes: From the first recipe, mean over common seeds; None for the first recipe, and
            where there are no common seeds.
    """

    name: str
    errors: tuple[float | None, ...]
    changes: tuple[float | None, ...]


@dataclass(frozen=True)
class ClassErrors:
    """The classes of a group.

    Args:
        recipes: Those whose runs tell errors of classes, at least one.
        rows: In the order of the data set.
    """

    recipes: tuple[RecipeRuns, ...]
    rows: tuple[ClassError, ...]

    @property
    def compares(self) -> bool:
        """Whether there are changes."""
        return any(change is not None for row in self.rows for change in row.changes)

    def ends(self) -> tuple[ClassError, ...]:
        """Return all classes, lowest first; of too many, those at both ends.

        They are ordered by the mean change over recipes, or else by the errors of the first.
        """
        order = _mean_change if self.compares else _first_error
        known = [(value, row) for row in self.rows if (value := order(row)) is not None]
        ordered = [row for _, row in sorted(known, key=lambda pair: pair[0])]
        if len(self.rows) <= MOST_SHOWN:
            return (*ordered, *(row for row in self.rows if order(row) is None))
        half = MOST_SHOWN // 2
        return tuple(ordered if len(ordered) <= MOST_SHOWN else ordered[:half] + ordered[-half:])


def errors_by_class(group: Group) -> ClassErrors | None:
    """Gather the errors of classes; None if no run tells them."""
    recipes = tuple(
        recipe for recipe in group.recipes if any(run.class_errors for run in recipe.runs)
    )
    if not recipes:
        return None
    names = dict.fromkeys(name for run in group.runs for name in run.class_errors)
    return ClassErrors(recipes, tuple(_gather(name, recipes) for name in names))


def _gather(name: str, recipes: tuple[RecipeRuns, ...]) -> ClassError:
    errors = [
        {run.seed: run.class_errors[name] for run in recipe.runs if name in run.class_errors}
        for recipe in recipes
    ]
    first = errors[0]
    changes: list[float | None] = [None]
    for other in errors[1:]:
        differences = [
            other[seed] - first[seed] for seed in other if seed is not None and seed in first
        ]
        changes.append(mean(differences) if differences else None)
    means = [mean(seen.values()) if seen else None for seen in errors]
    return ClassError(name, tuple(means), tuple(changes))


def _mean_change(row: ClassError) -> float | None:
    known = [change for change in row.changes if change is not None]
    return mean(known) if known else None


def _first_error(row: ClassError) -> float | None:
    return row.errors[0]

"""A report as one HTML page that needs nothing else: style, script and pictures are inside."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from semaug.report.collect import MEASURES
from semaug.report.data import Group, Pair, RecipeRuns, Report, RunData
from semaug.report.plots import SERIES, Plot, plots_of, series
from semaug.training.statistics import mean_and_spread

__all__ = ["render"]

_MISSING = "—"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is read, and what it is sorted by."""

    text: str
    key: str | float | None = None  # None is sorted last
    is_number: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by each of its columns."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def render(report: Report) -> str:
    """Return the page of a report. Names in it are shown as they are, never run."""
    environment = Environment(
        loader=PackageLoader("semaug.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    ids = {id(run): f"run-{place}" for place, run in enumerate(report.runs, start=1)}
    sections = [
        _section(group, plots, place, ids)
        for place, (group, plots) in enumerate(
            zip(report.groups, plots_of(report), strict=True), start=1
        )
    ]
    runs = report.runs
    return environment.get_template("page.html").render(
        report=report,
        num_runs=_count(len(runs), "run"),
        num_recipes=_count(sum(len(group.recipes) for group in report.groups), "recipe"),
        num_finished=sum(run.finished for run in runs),
        sections=sections,
        all_runs=_table_of_runs(report, ids),
        details=[_details(run, ids[id(run)]) for run in runs],
        light=SERIES,
    )


def _section(group: Group, plots: list[Plot], place: int, ids: dict[int, str]) -> dict[str, Any]:
    pictures = [(plot, Markup(plot.svg())) for plot in plots]  # made by us, names escaped
    return {
        "id": f"group-{place}",
        "group": group,
        "legends": {wide: _legend(group, wide) for wide in (True, False)},
        "runs": _table_of_recipes(group),
        "errors": _table_of_errors(group),
        "pairs": _table_of_pairs(group),
        "fields": _table_of_fields(group),
        "time": _table_of_times(group),
        "error_plots": [picture for picture in pictures if picture[0].is_wide],
        "other_plots": [picture for picture in pictures if not picture[0].is_wide],
    }


def _legend(group: Group, wide: bool) -> list[tuple[int, str, str]]:
    """Return color, dashes and name of each recipe."""
    entries = []
    for place, recipe in enumerate(group.recipes):
        color, dashes = series(place, wide=wide)
        entries.append((color, " ".join(f"{2 * length:g}" for length in dashes), recipe.label))
    return entries


def _table_of_recipes(group: Group) -> Table:
    rows = [
        (
            _words(recipe.label),
            _words(", ".join("?" if run.seed is None else str(run.seed) for run in recipe.runs)),
            _number(len(recipe.finished), "d"),
            _words("; ".join(_unfinished(recipe)) or "all finished"),
        )
        for recipe in group.recipes
    ]
    return Table("Recipes and their runs", ("recipe", "seeds", "finished", "state"), tuple(rows))


def _unfinished(recipe: RecipeRuns) -> list[str]:
    """Say how far each unfinished run is."""
    return [
        f"seed {'?' if run.seed is None else run.seed} at {run.state}"
        for run in recipe.runs
        if not run.finished
    ]


def _table_of_errors(group: Group) -> Table:
    rows = []
    for recipe in group.recipes:
        cells = [_words(recipe.label), _number(len(recipe.finished), "d")]
        for measure in MEASURES:
            values = list(recipe.values(measure).values())
            cells.append(_spread(*mean_and_spread(values)) if values else _number(None))
        rows.append(tuple(cells))
    caption = f"{group.measured} in percent, mean ± standard deviation over finished runs"
    return Table(_capital(caption), ("recipe", "runs", *MEASURES.values()), tuple(rows))


def _table_of_pairs(group: Group) -> Table | None:
    measure = next(iter(MEASURES))
    rows = [_row_of_pair(pair) for pair in group.pairs(measure)]
    if not rows:
        return None
    headings = ("baseline", "compared", "pairs", "difference", "95 % interval", "what it shows")
    caption = (
        f"{group.measured}, mean of last 10 epochs: compared minus baseline, in points, over runs "
        "with the same seed; below 0 is fewer errors"
    )
    return Table(_capital(caption), headings, tuple(rows))


def _row_of_pair(pair: Pair) -> tuple[Cell, ...]:
    difference = pair.difference
    interval = _MISSING
    if difference.low is None or difference.high is None:
        shows = "too few runs to tell"
        if difference.pairs > 1:
            shows = "the spread is zero: only more seeds can tell"
    else:
        interval = f"{difference.low:+.2f} to {difference.high:+.2f}".replace("-", "−")
        contains = difference.low <= 0 <= difference.high
        fewer = "fewer" if difference.mean < 0 else "more"
        shows = "no difference: contains 0" if contains else f"{fewer} errors"
    if pair.unequal:
        shows += f" (unequal {' and '.join(pair.unequal)})"
    return (
        _words(pair.first.label),
        _words(pair.second.label),
        _number(difference.pairs, "d"),
        _number(difference.mean, "+.2f"),
        Cell(interval, difference.low, is_number=True),
        _words(shows),
    )


def _table_of_fields(group: Group) -> Table | None:
    differing = group.differing_fields()
    if not differing:
        return None
    headings = ("field", *(recipe.label for recipe in group.recipes))
    rows = [(_words(name), *map(_value, values)) for name, values in differing.items()]
    return Table("Fields in which the recipes differ", headings, tuple(rows))


def _table_of_times(group: Group) -> Table:
    rows = []
    for recipe in group.recipes:
        seconds = [run.seconds for run in recipe.finished if run.seconds is not None]
        speeds = [run.images_per_second for run in recipe.runs]
        known = [speed for speed in speeds if speed is not None]
        mean_time = sum(seconds) / len(seconds) if seconds else None
        rows.append(
            (
                _words(recipe.label),
                Cell(_in_words(mean_time), mean_time, is_number=True),
                _number(sum(known) / len(known) if known else None, ",.0f"),
                _distinct(run.device for run in recipe.runs),
                _distinct(_software(run) for run in recipe.runs),
                _distinct(run.commit[:10] for run in recipe.runs),
            )
        )
    headings = ("recipe", "time of a run", "images/s", "device", "software", "commit")
    caption = "Time of finished runs, images/s (median over epochs), and where they were trained"
    return Table(caption, headings, tuple(rows))


def _table_of_runs(report: Report, ids: dict[int, str]) -> Table:
    rows = []
    for group in report.groups:
        for recipe in group.recipes:
            for run in recipe.runs:
                errors = [_number(run.errors.get(measure)) for measure in MEASURES]
                rows.append(
                    (
                        Cell(recipe.label, recipe.label, link=ids[id(run)]),
                        _number(run.seed, "d"),
                        _words(run.state),
                        *errors,
                        Cell(_in_words(run.seconds), run.seconds, is_number=True),
                        _number(run.images_per_second, ",.0f"),
                    )
                )
    headings = ("recipe", "seed", "state", *MEASURES.values(), "time", "images/s")
    return Table("All runs; errors in percent", headings, tuple(rows))


def _details(run: RunData, id: str) -> dict[str, Any]:
    seed = "seed unknown" if run.seed is None else f"seed {run.seed}"
    facts = {
        "folder": str(run.folder).encode(errors="replace").decode(),
        "state": run.state,
        "device": run.device,
        "commit": run.commit,
        "started": ", ".join(start for start in run.starts if start),
        "time": _in_words(run.seconds),
        **{f"version of {name}": version for name, version in run.versions.items()},
    }
    recipe = json.dumps(run.recipe, indent=2, ensure_ascii=False) if run.recipe else ""
    return {
        "id": id,
        "title": f"{run.label}, {seed}",
        "facts": {name: value or _MISSING for name, value in facts.items()},
        "recipe": recipe,
    }


def _software(run: RunData) -> str:
    versions = run.versions
    return ", ".join(f"{name} {versions[name]}" for name in ("semaug", "torch") if name in versions)


def _words(text: str) -> Cell:
    return Cell(text or _MISSING, text or None)


def _number(value: float | None, format: str = ".2f") -> Cell:
    text = _MISSING if value is None else f"{value:{format}}"
    return Cell(text.replace("-", "−"), value, is_number=True)


def _value(value: Any) -> Cell:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(str(value), value)
    return _words("" if value is None else value if isinstance(value, str) else json.dumps(value))


def _spread(center: float, spread: float | None) -> Cell:
    text = f"{center:.2f}" if spread is None else f"{center:.2f} ± {spread:.2f}"
    return Cell(text, center, is_number=True)


def _breakable(text: str) -> Markup:
    """Let a long name go on in the next line after a comma or an underscore."""
    escaped = escape(text)
    for sign in ",_":
        escaped = escaped.replace(sign, Markup(f"{sign}<wbr>"))
    return escaped


def _distinct(texts: Iterable[str]) -> Cell:
    return _words("; ".join(sorted({text for text in texts if text})))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _in_words(seconds: float | None) -> str:
    if seconds is None:
        return _MISSING
    if seconds < 120:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

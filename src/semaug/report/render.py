"""A report as one HTML page that needs nothing else: style, script and pictures are inside."""

import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from semaug.report.cells import (
    MISSING,
    Cell,
    Table,
    distinct,
    duration,
    memory,
    number,
    spread,
    value,
    words,
)
from semaug.report.class_plot import ClassPlot
from semaug.report.classes import MOST_SHOWN, ClassError, ClassErrors, errors_by_class
from semaug.report.collect import MEASURES
from semaug.report.data import Group, Pair, RecipeRuns, Report, RunData
from semaug.report.plots import SERIES, Plot, plots_of, series

__all__ = ["render"]


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


def _section(
    group: Group, plots: list[Plot | ClassPlot], place: int, ids: dict[int, str]
) -> dict[str, Any]:
    pictures = [(plot, Markup(plot.svg())) for plot in plots]  # made by us, names escaped
    curves = [(plot, svg) for plot, svg in pictures if isinstance(plot, Plot)]
    classes = errors_by_class(group)
    return {
        "id": f"group-{place}",
        "group": group,
        "legends": {wide: _legend(group, wide) for wide in (True, False)},
        "runs": _table_of_recipes(group),
        "errors": _table_of_errors(group),
        "pairs": _table_of_pairs(group),
        "fields": _table_of_fields(group),
        "time": _table_of_times(group),
        "classes": [] if classes is None else _tables_of_classes(group, classes),
        "compares_classes": classes is not None and classes.compares,
        "error_plots": [(plot, svg) for plot, svg in curves if plot.is_wide],
        "class_plots": [svg for plot, svg in pictures if isinstance(plot, ClassPlot)],
        "other_plots": [(plot, svg) for plot, svg in curves if not plot.is_wide],
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
            words(recipe.label),
            words(", ".join("?" if run.seed is None else str(run.seed) for run in recipe.runs)),
            number(len(recipe.finished), "d"),
            words("; ".join(_unfinished(recipe)) or "all finished"),
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
        for label, suffix in _networks(recipe.label, recipe.num_networks):
            cells = [words(label), number(len(recipe.finished), "d")]
            for measure in MEASURES:
                cells.append(spread(list(recipe.values(measure + suffix).values())))
            rows.append(tuple(cells))
    caption = f"{group.measured} in percent, mean ± standard deviation over finished runs"
    return Table(_capital(caption), ("recipe", "runs", *MEASURES.values()), tuple(rows))


def _networks(label: str, count: int) -> list[tuple[str, str]]:
    """Name each network of a recipe, with what stands behind its errors in a summary."""
    if count == 1:
        return [(label, "")]
    return [
        (f"{label}, network {place}", "" if place == 1 else f"_{place}")
        for place in range(1, count + 1)
    ]


def _table_of_pairs(group: Group) -> Table | None:
    measure = next(iter(MEASURES))
    rows = [_row_of_pair(pair) for pair in group.pairs(measure)]
    if not rows:
        return None
    headings = ("baseline", "compared", "pairs", "difference", "95 % interval", "what it shows")
    several = any(recipe.num_networks > 1 for recipe in group.recipes)
    measured = f"{group.measured} of the first network" if several else group.measured
    caption = (
        f"{measured}, mean of last 10 epochs: compared minus baseline, in points, over runs "
        "with the same seed; below 0 is fewer errors"
    )
    return Table(_capital(caption), headings, tuple(rows))


def _row_of_pair(pair: Pair) -> tuple[Cell, ...]:
    difference = pair.difference
    interval = MISSING
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
        words(pair.first.label),
        words(pair.second.label),
        number(difference.pairs, "d"),
        number(difference.mean, "+.2f"),
        Cell(interval, difference.low, is_number=True),
        words(shows),
    )


def _tables_of_classes(group: Group, classes: ClassErrors) -> list[Table]:
    """Return one table; of many classes first that of those at both ends, then that of all."""
    caption = f"{group.measured} of each class in percent, mean of last 10 epochs and of runs"
    if classes.compares:
        caption += (
            f"; in brackets, and for sorting, the difference to {classes.recipes[0].label} with "
            "the same seeds, in points"
        )
    headings = ("class", *(recipe.label for recipe in classes.recipes))
    hottest = max((abs(x) for row in classes.rows for x in row.changes if x is not None), default=0)

    def table(title: str, rows: tuple[ClassError, ...]) -> Table:
        return Table(title, headings, tuple(_row_of_class(row, hottest) for row in rows))

    ends = classes.ends()
    if len(ends) == len(classes.rows):
        return [table(_capital(caption), ends)]
    each = MOST_SHOWN // 2
    what = f"The {each} classes with the fewest and the {each} with the most errors"
    if classes.compares:
        what = f"The {each} classes that gain most and the {each} that lose most"
    return [
        table(f"{what}: {caption}", ends),
        table(f"All {len(classes.rows)} classes: {caption}", classes.rows),
    ]


def _row_of_class(row: ClassError, hottest: float) -> tuple[Cell, ...]:
    cells = [words(row.name)]
    for error, change in zip(row.errors, row.changes, strict=True):
        cell = number(error)
        if error is not None and change is not None:
            text = f"{cell.text} ({number(change, '+.2f').text})"
            heat = change / hottest if hottest > 0 else 0.0
            cell = Cell(text, change, is_number=True, heat=heat)
        cells.append(cell)
    return tuple(cells)


def _table_of_fields(group: Group) -> Table | None:
    differing = group.differing_fields()
    if not differing:
        return None
    headings = ("field", *(recipe.label for recipe in group.recipes))
    rows = [(words(name), *map(value, values)) for name, values in differing.items()]
    return Table("Fields in which the recipes differ", headings, tuple(rows))


def _table_of_times(group: Group) -> Table:
    rows = []
    for recipe in group.recipes:
        seconds = [run.seconds for run in recipe.finished if run.seconds is not None]
        speeds = [run.images_per_second for run in recipe.runs]
        known = [speed for speed in speeds if speed is not None]
        peaks = [run.peak_memory for run in recipe.runs if run.peak_memory is not None]
        mean_time = sum(seconds) / len(seconds) if seconds else None
        rows.append(
            (
                words(recipe.label),
                duration(mean_time),
                number(sum(known) / len(known) if known else None, ",.0f"),
                memory(max(peaks, default=None)),
                distinct(run.device for run in recipe.runs),
                distinct(_software(run) for run in recipe.runs),
                distinct(run.commit[:10] for run in recipe.runs),
            )
        )
    headings = (
        "recipe", "time of a run", "images/s", "peak memory", "device", "software", "commit",
    )  # fmt: skip
    caption = (
        "Time of finished runs, images/s (median over epochs), memory of the run that took most "
        "(on a GPU what was allocated there, on a CPU of the whole process), and where they were "
        "trained"
    )
    return Table(caption, headings, tuple(rows))


def _table_of_runs(report: Report, ids: dict[int, str]) -> Table:
    rows = []
    for group in report.groups:
        for recipe in group.recipes:
            for run in recipe.runs:
                for label, suffix in _networks(recipe.label, run.num_networks):
                    errors = [number(run.errors.get(measure + suffix)) for measure in MEASURES]
                    rows.append(
                        (
                            Cell(label, label, link=ids[id(run)]),
                            number(run.seed, "d"),
                            words(run.state),
                            *errors,
                            duration(run.seconds),
                            number(run.images_per_second, ",.0f"),
                            memory(run.peak_memory),
                        )
                    )
    headings = ("recipe", "seed", "state", *MEASURES.values(), "time", "images/s", "peak memory")
    return Table("All runs; errors in percent", headings, tuple(rows))


def _details(run: RunData, id: str) -> dict[str, Any]:
    seed = "seed unknown" if run.seed is None else f"seed {run.seed}"
    facts = {
        "folder": str(run.folder).encode(errors="replace").decode(),
        "state": run.state,
        "device": run.device,
        "commit": run.commit,
        "started": ", ".join(start for start in run.starts if start),
        "time": duration(run.seconds).text,
        "peak memory": memory(run.peak_memory).text,
        **{f"version of {name}": version for name, version in run.versions.items()},
    }
    recipe = json.dumps(run.recipe, indent=2, ensure_ascii=False) if run.recipe else ""
    return {
        "id": id,
        "title": f"{run.label}, {seed}",
        "facts": {name: value or MISSING for name, value in facts.items()},
        "recipe": recipe,
    }


def _software(run: RunData) -> str:
    versions = run.versions
    return ", ".join(f"{name} {versions[name]}" for name in ("semaug", "torch") if name in versions)


def _breakable(text: str) -> Markup:
    """Let a long name go on in the next line after a comma or an underscore."""
    escaped = escape(text)
    for sign in ",_":
        escaped = escaped.replace(sign, Markup(f"{sign}<wbr>"))
    return escaped


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

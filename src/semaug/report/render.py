"""A report as one HTML page that needs nothing else: style, script and pictures are inside."""

import json
from collections.abc import Iterable
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
    table,
    value,
    words,
)
from semaug.report.class_plot import ClassPlot
from semaug.report.classes import MOST_SHOWN, ClassValue, ClassValues, values_by_class
from semaug.report.data import Group, Pair, Report, RunData
from semaug.report.picture import SERIES, Picture
from semaug.report.plots import Plot, plots_of, series
from semaug.runs.read import REPORTS, label_of
from semaug.runs.statistics import FEWEST_PAIRS, PairedDifference, mean_of_known


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
        _section(group, plots, place)
        for place, (group, plots) in enumerate(
            zip(report.groups, plots_of(report), strict=True), start=1
        )
    ]
    return environment.get_template("page.html").render(
        report=report,
        num_runs=_count(len(ids), "run"),
        num_recipes=_count(sum(len(group.recipes) for group in report.groups), "recipe"),
        num_finished=sum(run.finished for run in report.runs),
        sections=sections,
        all_runs=_tables_of_runs(report, ids),
        details=[_details(run, ids[id(run)]) for run in report.runs],
        light=SERIES,
    )


def _section(group: Group, plots: list[Picture], place: int) -> dict[str, Any]:
    pictures = [(plot, Markup(plot.svg())) for plot in plots]  # made by us, names escaped
    curves = [(plot, svg) for plot, svg in pictures if isinstance(plot, Plot)]
    classes = values_by_class(group)
    return {
        "id": f"group-{place}",
        "group": group,
        "legends": {wide: _legend(group, wide) for wide in (True, False)},
        "runs": _table_of_recipes(group),
        "results": _table_of_results(group),
        "pairs": _table_of_pairs(group),
        "fields": _table_of_fields(group),
        "time": _table_of_times(group),
        "classes": [] if classes is None else _tables_of_classes(group, classes),
        "compares_classes": classes is not None and classes.compares,
        "main_plots": [(plot, svg) for plot, svg in curves if plot.is_wide],
        "class_plots": [svg for plot, svg in pictures if isinstance(plot, ClassPlot)],
        "other_plots": [(plot, svg) for plot, svg in curves if not plot.is_wide],
    }


def _legend(group: Group, wide: bool) -> list[tuple[int, str, str]]:
    """Return color, dashes and name of each recipe."""
    return [
        (color, " ".join(f"{2 * x:g}" for x in dashes), recipe.label)
        for place, recipe in enumerate(group.recipes)
        for color, dashes in [series(place, wide=wide)]
    ]


def _table_of_recipes(group: Group) -> Table:
    def states(runs: Iterable[RunData]) -> str:
        return "; ".join(f"seed {run.seed} at {run.state}" for run in runs if not run.finished)

    return table(
        "recipes and their runs",
        (
            {
                "recipe": words(recipe.label),
                "seeds": words(", ".join(str(run.seed) for run in recipe.runs)),
                "finished": number(len(recipe.finished), "d"),
                "state": words(states(recipe.runs) or "all finished"),
            }
            for recipe in group.recipes
        ),
    )


def _table_of_results(group: Group) -> Table:
    return table(
        f"{group.measure.in_unit(group.measured)}, {group.measure.better} is better: "
        "mean ± standard deviation over runs",
        (
            {
                "recipe": words(label_of(recipe.label, predictor)),
                "runs": number(len(recipe.finished), "d"),
                **{
                    name: spread([*recipe.values(report, predictor).values()])
                    for report, name in group.report_names.items()
                },
            }
            for recipe in group.recipes
            for predictor in recipe.predictors
        ),
    )


def _table_of_pairs(group: Group) -> Table:
    return table(
        f"{group.measure.in_unit(group.measured)}, {group.report_names[group.measure.report]}: "
        "compared minus baseline, over runs with the same seed; "
        f"{_side_of_gains(group)} is better",
        (
            {
                "baseline": words(label_of(pair.first.label, pair.predictor)),
                "compared": words(label_of(pair.second.label, pair.predictor)),
                "pairs": number(pair.difference.pairs, "d"),
                "difference": number(pair.difference.mean, "+.2f"),
                "95 % interval": _interval(pair.difference),
                "what it shows": words(_verdict(group, pair)),
            }
            for pair in group.pairs()
        ),
    )


def _side_of_gains(group: Group) -> str:
    return "below 0" if group.measure.better == "lower" else "above 0"


def _interval(difference: PairedDifference) -> Cell:
    if difference.low is None:
        return Cell(MISSING, is_number=True)
    text = f"{difference.low:+.2f} to {difference.high:+.2f}".replace("-", "−")
    return Cell(text, difference.low, is_number=True)


def _verdict(group: Group, pair: Pair) -> str:
    shows = {
        "too few pairs": f"too few pairs for a verdict, which takes {FEWEST_PAIRS}",
        "no spread": "the spread is zero: only more seeds can tell",
        "no difference": "no difference: contains 0",
        "a difference": group.measure.verdict(pair.difference.mean),
    }[pair.difference.shows]
    return f"{shows} (unequal {' and '.join(pair.unequal)})" if pair.unequal else shows


def _tables_of_classes(group: Group, classes: ClassValues) -> list[Table]:
    """Return one table; of many classes first that of those at both ends, then that of all."""
    caption = group.measure.in_unit(f"{group.measured} of each class")
    caption += f", {group.report_names['mean_last_10']} and mean of runs"
    if classes.compares:
        caption += (
            f"; in brackets, and for sorting, the difference to {classes.recipes[0].label} with "
            f"the same seeds: {_side_of_gains(group)} is better"
        )
    headings = ("class", *(recipe.label for recipe in classes.recipes))
    changes = [abs(x) for row in classes.rows for x in row.changes if x is not None]
    hottest = group.measure.sort_key(max(changes, default=0))

    ends, each = classes.ends(), MOST_SHOWN // 2
    what = f"The {each} best and the {each} worst classes: "
    if classes.compares:
        what = f"The {each} classes that gain most and the {each} that lose most: "
    shown = {what: ends, f"All {len(classes.rows)} classes: ": classes.rows}
    if len(ends) == len(classes.rows):
        shown, caption = {"": ends}, caption[0].upper() + caption[1:]
    return [
        Table(start + caption, headings, tuple(_row_of_class(row, hottest) for row in rows))
        for start, rows in shown.items()
    ]


def _row_of_class(row: ClassValue, hottest: float) -> tuple[Cell, ...]:
    """Return the cells of a class.

    Args:
        row: The class.
        hottest: The largest change, with the sign of a loss.
    """
    cells = [words(row.name)]
    for own, change in zip(row.values, row.changes, strict=True):
        cell = number(own)
        if own is not None and change is not None:
            text = f"{cell.text} ({number(change, '+.2f').text})"
            cell = Cell(text, change, is_number=True, heat=change / hottest if hottest else 0.0)
        cells.append(cell)
    return tuple(cells)


def _table_of_fields(group: Group) -> Table | None:
    if not (differing := group.differing_fields()):
        return None
    headings = ("field", *(recipe.label for recipe in group.recipes))
    rows = [(words(name), *map(value, values)) for name, values in differing.items()]
    return Table("Fields in which the recipes differ", headings, tuple(rows))


def _table_of_times(group: Group) -> Table:
    return table(
        "time of finished runs, images/s (median over epochs), memory of the run that took most "
        "(on a GPU what was allocated there, on a CPU of the whole process), and where they were "
        "trained",
        (
            {
                "recipe": words(recipe.label),
                "time of a run": duration(mean_of_known(run.seconds for run in recipe.finished)),
                "images/s": number(
                    mean_of_known(run.images_per_second for run in recipe.runs), ",.0f"
                ),
                "peak memory": memory(max(run.peak_memory or 0 for run in recipe.runs) or None),
                "device": distinct(run.device for run in recipe.runs),
                "software": distinct(_software(run) for run in recipe.runs),
                "commit": distinct(run.commit[:10] for run in recipe.runs),
            }
            for recipe in group.recipes
        ),
    )


def _tables_of_runs(report: Report, ids: dict[int, str]) -> list[Table]:
    """Return a table for each metric."""
    rows: dict[str, list[dict[str, Cell]]] = {}
    for recipe, measure in (
        (recipe, group.measure) for group in report.groups for recipe in group.recipes
    ):
        rows.setdefault(measure.in_unit(), []).extend(
            {
                "recipe": Cell(
                    label := label_of(recipe.label, predictor), label, link=ids[id(run)]
                ),
                "seed": number(run.seed, "d"),
                "state": words(run.state),
                **{
                    name: number(run.results.get(predictor, {}).get(report))
                    for report, name in REPORTS.items()
                },
                "time": duration(run.seconds),
                "images/s": number(run.images_per_second, ",.0f"),
                "peak memory": memory(run.peak_memory),
            }
            for run in recipe.runs
            for predictor in run.results or [""]
        )
    return [table(f"all runs; {name}", own) for name, own in rows.items()]


def _details(run: RunData, id: str) -> dict[str, Any]:
    facts = {
        "folder": str(run.folder).encode(errors="replace").decode(),
        "state": run.state,
        "device": run.device,
        "commit": run.commit,
        "started": ", ".join(start for start in run.starts if start),
        "time": duration(run.seconds).text,
        "peak memory": memory(run.peak_memory).text,
        **{f"version of {name}": version for name, version in run.versions.items()},
        **{f"SHA-256 of {name}": digest for name, digest in run.code.items()},
    }
    return {
        "id": id,
        "title": f"{run.label}, seed {run.seed}",
        "facts": {name: value or MISSING for name, value in facts.items()},
        "recipe": json.dumps(run.recipe, indent=2, ensure_ascii=False),
    }


def _software(run: RunData) -> str:
    names = (name for name in ("semaug", "torch") if name in run.versions)
    return ", ".join(f"{name} {run.versions[name]}" for name in names)


def _breakable(text: str) -> Markup:
    """Let a long name go on in the next line after a comma or an underscore."""
    escaped = escape(text)
    for sign in ",_":
        escaped = escaped.replace(sign, Markup(f"{sign}<wbr>"))
    return escaped


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

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
from semaug.report.classes import MOST_SHOWN, ClassValue, ClassValues, values_by_class
from semaug.report.data import Group, Pair, Report, RunData
from semaug.report.picture import SERIES, Picture
from semaug.report.plots import Plot, plots_of, series
from semaug.runs.read import REPORTS, label_of
from semaug.runs.statistics import FEWEST_PAIRS, mean_of_known


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
    rows = [
        (
            words(recipe.label),
            words(", ".join(str(run.seed) for run in recipe.runs)),
            number(len(recipe.finished), "d"),
            words(
                "; ".join(f"seed {x.seed} at {x.state}" for x in recipe.runs if not x.finished)
                or "all finished"
            ),
        )
        for recipe in group.recipes
    ]
    return Table("Recipes and their runs", ("recipe", "seeds", "finished", "state"), tuple(rows))


def _table_of_results(group: Group) -> Table:
    names = {name: report for report, name in group.report_names.items()}  # a single test is one
    rows = [
        (
            words(label_of(recipe.label, predictor)),
            number(len(recipe.finished), "d"),
            *(spread([*recipe.values(report, predictor).values()]) for report in names.values()),
        )
        for recipe in group.recipes
        for predictor in recipe.predictors
    ]
    caption = (
        f"{group.measure.in_unit(group.measured)}, {group.measure.better} is better: "
        "mean ± standard deviation over runs"
    )
    return Table(_capital(caption), ("recipe", "runs", *names), tuple(rows))


def _table_of_pairs(group: Group) -> Table | None:
    if not (rows := tuple(_row_of_pair(group, pair) for pair in group.pairs())):
        return None
    headings = ("baseline", "compared", "pairs", "difference", "95 % interval", "what it shows")
    measure = group.measure
    caption = (
        f"{measure.in_unit(group.measured)}, {group.report_names[measure.report]}: compared minus "
        f"baseline, over runs with the same seed; {_side_of_gains(group)} is better"
    )
    return Table(_capital(caption), headings, rows)


def _side_of_gains(group: Group) -> str:
    return "below 0" if group.measure.better == "lower" else "above 0"


def _row_of_pair(group: Group, pair: Pair) -> tuple[Cell, ...]:
    difference = pair.difference
    interval = MISSING
    if difference.low is not None:
        interval = f"{difference.low:+.2f} to {difference.high:+.2f}".replace("-", "−")
    shows = {
        "too few pairs": f"too few pairs for a verdict, which takes {FEWEST_PAIRS}",
        "no spread": "the spread is zero: only more seeds can tell",
        "no difference": "no difference: contains 0",
        "a difference": group.measure.verdict(difference.mean),
    }[difference.shows]
    if pair.unequal:
        shows += f" (unequal {' and '.join(pair.unequal)})"
    return (
        words(label_of(pair.first.label, pair.predictor)),
        words(label_of(pair.second.label, pair.predictor)),
        number(difference.pairs, "d"),
        number(difference.mean, "+.2f"),
        Cell(interval, difference.low, is_number=True),
        words(shows),
    )


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

    def table(title: str, rows: tuple[ClassValue, ...]) -> Table:
        return Table(title, headings, tuple(_row_of_class(row, hottest) for row in rows))

    ends = classes.ends()
    if len(ends) == len(classes.rows):
        return [table(_capital(caption), ends)]
    each = MOST_SHOWN // 2
    what = f"The {each} best and the {each} worst classes"
    if classes.compares:
        what = f"The {each} classes that gain most and the {each} that lose most"
    return [
        table(f"{what}: {caption}", ends),
        table(f"All {len(classes.rows)} classes: {caption}", classes.rows),
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
    rows = [
        (
            words(recipe.label),
            duration(mean_of_known(run.seconds for run in recipe.finished)),
            number(mean_of_known(run.images_per_second for run in recipe.runs), ",.0f"),
            memory(max((x for run in recipe.runs if (x := run.peak_memory)), default=None)),
            distinct(run.device for run in recipe.runs),
            distinct(_software(run) for run in recipe.runs),
            distinct(run.commit[:10] for run in recipe.runs),
        )
        for recipe in group.recipes
    ]
    headings = (
        "recipe", "time of a run", "images/s", "peak memory", "device", "software", "commit",
    )  # fmt: skip
    caption = (
        "Time of finished runs, images/s (median over epochs), memory of the run that took most "
        "(on a GPU what was allocated there, on a CPU of the whole process), and where they were "
        "trained"
    )
    return Table(caption, headings, tuple(rows))


def _tables_of_runs(report: Report, ids: dict[int, str]) -> list[Table]:
    """Return a table for each metric."""
    rows: dict[str, list[tuple[Cell, ...]]] = {}
    for group in report.groups:
        for name, run in ((recipe.label, run) for recipe in group.recipes for run in recipe.runs):
            for predictor in run.results or [""]:
                label, results = label_of(name, predictor), run.results.get(predictor, {})
                cells = (
                    Cell(label, label, link=ids[id(run)]),
                    number(run.seed, "d"),
                    words(run.state),
                    *(number(results.get(one)) for one in REPORTS),
                    duration(run.seconds),
                    number(run.images_per_second, ",.0f"),
                    memory(run.peak_memory),
                )
                rows.setdefault(group.measure.in_unit(), []).append(cells)
    headings = ("recipe", "seed", "state", *REPORTS.values(), "time", "images/s", "peak memory")
    return [Table(f"All runs; {name}", headings, tuple(cells)) for name, cells in rows.items()]


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


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

"""A report as one HTML page that needs nothing else: style, script and pictures are inside."""

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image
from torch import Tensor

from semaug.report.class_plot import ClassPlot
from semaug.report.classes import MOST_SHOWN, ClassValue, ClassValues, values_by_class
from semaug.report.data import Group, Pair, Report, RunData
from semaug.report.mistake_plots import ConfusionPlot
from semaug.report.picture import SERIES, Picture
from semaug.report.plots import Plot, plots_of, series
from semaug.runs.read import label_of
from semaug.runs.statistics import FEWEST_PAIRS, with_spread
from semaug.runs.words import counted, in_words

_MISSING = "—"


def render(report: Report) -> str:
    """Return the page of a report. Names in it are shown as they are, never run."""
    environment = Environment(
        loader=PackageLoader("semaug.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "breakable": _breakable,
        "address": _data_address,
        "file_address": _file_address,
        "capital": lambda text: text[:1].upper() + text[1:],
        "duration": lambda seconds: _MISSING if seconds is None else in_words(seconds),
        "json": json.dumps,
        "memory": _format_memory,
        "number": _format_number,
    }
    environment.globals |= {
        "count": counted,
        "label_of": label_of,
        "mean": mean,
        "missing": _MISSING,
        "verdict": _verdict,
        "with_spread": with_spread,
        "zip": zip,
    }
    ids = {id(run): f"run-{place}" for place, run in enumerate(report.runs, start=1)}
    sections = [
        _describe_group(group, plots, place)
        for place, (group, plots) in enumerate(
            zip(report.groups, plots_of(report), strict=True), start=1
        )
    ]
    return environment.get_template("page.html").render(
        report=report,
        num_runs=counted(len(ids), "run"),
        num_recipes=counted(sum(len(group.recipes) for group in report.groups), "recipe"),
        num_finished=sum(run.finished for run in report.runs),
        sections=sections,
        all_runs=[(group, _rows_of_runs(group, ids)) for group in report.groups],
        details=[
            (run, f"{recipe.label}, seed {run.seed}", ids[id(run)], _describe_run(run, group))
            for group in report.groups
            for recipe in group.recipes
            for run in recipe.runs
        ],
        light=SERIES,
    )


def _describe_group(group: Group, plots: list[Picture], place: int) -> dict[str, Any]:
    shown = (plot for plot in plots if plot.in_page)
    pictures = [(plot, Markup(plot.svg())) for plot in shown]  # made by us, names escaped
    curves = [(plot, svg) for plot, svg in pictures if isinstance(plot, Plot)]
    matrices = {id(x.mistakes): (x, svg) for x, svg in pictures if isinstance(x, ConfusionPlot)}
    classes = values_by_class(group)
    changes = [abs(x) for row in classes.rows for x in row.changes if x] if classes else []
    return {
        "id": f"group-{place}",
        "group": group,
        "legends": {wide: _legend(group, wide) for wide in (True, False)},
        "columns": {  # each name once
            name: replace(group.measure, report=report)
            for report, name in group.report_names.items()
        },
        "other_columns": {one.heading(): one for one in group.others},
        "results": [(recipe, name) for recipe in group.recipes for name in recipe.predictors],
        "pairs": group.pairs(),
        "other_pairs": [pair for other in group.others for pair in group.pairs(other)],
        "fields": group.differing_fields(),
        "classes": classes,
        "rows_of_classes": {} if classes is None else _rows_of_classes(group, classes),
        "hottest": group.measure.sort_key(max(changes, default=0)),  # with the sign of a loss
        "main_plots": [(plot, svg) for plot, svg in curves if plot.is_wide],
        "class_plots": [svg for plot, svg in pictures if isinstance(plot, ClassPlot)],
        "mistakes": [
            (recipe, found, matrices.get(id(found)))
            for recipe in group.recipes
            if (found := recipe.mistakes)
        ],
        "masks": [(x, *x.masks) for x in group.recipes if x.masks],
        "pictures": [
            (f"{recipe.label}, seed {run.seed}", run.pictures)
            for recipe in group.recipes
            for run in recipe.runs
            if run.pictures
        ],
        "other_plots": [(plot, svg) for plot, svg in curves if not plot.is_wide],
    }


def _legend(group: Group, wide: bool) -> list[tuple[int, str, str]]:
    """Return color, dashes and name of each recipe."""
    return [
        (color, " ".join(f"{2 * x:g}" for x in dashes), recipe.label)
        for place, recipe in enumerate(group.recipes)
        for color, dashes in [series(place, wide=wide)]
    ]


def _verdict(pair: Pair) -> str:
    shows = {
        "too few pairs": f"too few pairs for a verdict, which takes {FEWEST_PAIRS}",
        "no spread": "the spread is zero: only more seeds can tell",
        "no difference": "no difference: contains 0",
        "a difference": pair.measure.verdict(pair.difference.mean),
    }[pair.difference.shows]
    return f"{shows} (unequal {' and '.join(pair.unequal)})" if pair.unequal else shows


def _rows_of_classes(group: Group, classes: ClassValues) -> dict[str, tuple[ClassValue, ...]]:
    """Return the rows of a table by its caption; of many classes first those at both ends."""
    caption = group.measure.in_unit(f"{group.measured} of each class")
    caption += f", {group.report_names['mean_last_10']} and mean of runs"
    if classes.compares:
        caption += (
            f"; in brackets, and for sorting, the difference to {classes.recipes[0].label} with "
            f"the same seeds: {group.side_of_gains} is better"
        )
    ends, each = classes.ends(), MOST_SHOWN // 2
    if len(ends) == len(classes.rows):
        return {caption: ends}
    what = f"The {each} best and the {each} worst classes"
    if classes.compares:
        what = f"The {each} classes that gain most and the {each} that lose most"
    return {
        f"{what}: {caption}": ends,
        f"All {len(classes.rows)} classes: {caption}": classes.rows,
    }


def _rows_of_runs(group: Group, ids: Mapping[int, str]) -> list[tuple[Any, ...]]:
    """Return label, run, its id and its results for each predictor."""
    return [
        (
            label_of(recipe.label, name),
            run,
            ids[id(run)],
            run.results.get(name, {}).get(group.measure.name, {}),
        )
        for recipe in group.recipes
        for run in recipe.runs
        for name in run.results or [""]
    ]


def _describe_run(run: RunData, group: Group) -> dict[str, str]:
    return {
        "images": group.title,
        "folder": str(run.folder).encode(errors="replace").decode(),
        "state": run.state,
        "device": run.device,
        "commit": run.commit,
        "started": ", ".join(start for start in run.starts if start),
        "time": "" if run.seconds is None else in_words(run.seconds),
        "peak memory": _format_memory(run.peak_memory),
        **{f"version of {name}": version for name, version in run.versions.items()},
        **{f"SHA-256 of {name}": digest for name, digest in run.code.items()},
    }


def _data_address(picture: Tensor) -> str:
    """Return the address of a PNG inside the page, of a picture ``(h, w, 3)`` uint8."""
    content = io.BytesIO()
    Image.fromarray(picture.numpy()).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def _file_address(path: Path) -> str:
    """Return the address of a PNG file inside the page; none of a file that cannot be read."""
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""


def _format_number(value: float | None, format: str = ".2f") -> str:
    """Write a number, with the sign for minus.

    >>> _format_number(-1.234)
    '−1.23'
    """
    return _MISSING if value is None else f"{value:{format}}".replace("-", "−")


def _format_memory(mebibytes: float | None) -> str:
    """Write how much memory something took.

    >>> _format_memory(512.4), _format_memory(20480)
    ('512 MiB', '20.0 GiB')
    """
    if mebibytes is None:
        return _MISSING
    return f"{mebibytes:.0f} MiB" if mebibytes < 10_000 else f"{mebibytes / 1024:.1f} GiB"


def _breakable(text: str) -> Markup:
    """Let a long name go on in the next line after a comma or an underscore."""
    escaped = escape(text)
    for sign in ",_":
        escaped = escaped.replace(sign, Markup(f"{sign}<wbr>"))
    return escaped

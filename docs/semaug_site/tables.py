"""Pages of the papers' tables: what they print, next to what was measured here."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semaug.published import PAPERS
from semaug.published.figures import FIGURES
from semaug.published.table import Cell, fill_table, find_table, measures_of, table_names
from semaug.runs.statistics import PairedDifference
from semaug_site.markdown import table

_PAPER = """# Tables of {title}

As `semaug table` prints them: in each cell what the paper prints (runs that its caption states),
and below it *what was measured here*. *not run*: there is a recipe, and no result yet. *no recipe*,
*not measured*: semaug has nothing to run for it. Parameters and operations are counted from our
networks.

Source: {source}
"""
_OWN = """# Figures, and tables in small

What the papers only draw, and tables of ours, such as small twins of theirs for two CPU cores, as
`semaug table` prints them: mean ± standard deviation over seeds (runs), and below it the paired
difference to the baseline with its 95 % interval (Student's t over seeds).
"""


def table_pages(root: Path) -> Iterator[tuple[str, str]]:
    """Return name and text of a page for each paper, and of one for :data:`FIGURES`.

    Args:
        root: Of the repository, where ``results`` lie.
    """
    records = read_records(root / "results")
    for paper, source in PAPERS.items():
        names = [name for name in table_names() if name.rpartition("-")[0] == paper]
        parts = [table_section(name, records[name]) for name in names if name not in FIGURES]
        yield (
            f"tables/{paper}.md",
            _PAPER.format(title=source.partition(", http")[0], source=source) + "".join(parts),
        )
    parts = [table_section(name, records[name]) for name in FIGURES]
    yield "tables/small.md", _OWN + "".join(parts)


def read_records(folder: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the cells of all recorded tables, by table and file."""
    records: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        if "table" in content:
            records[content["table"]][path.name] = content["cells"]
    return records


def table_section(name: str, records: dict[str, list[dict[str, Any]]]) -> str:
    """Return a table in the shape of the paper: a row for its rows, a column for its columns.

    Args:
        name: As ``semaug table`` takes it.
        records: Of it, cells by file: what was measured.
    """
    cells = fill_table(find_table(name), lambda recipe: ())
    grid: dict[str, dict[str, str]] = defaultdict(dict)
    places = [(cell.entry.row, cell.entry.column) for cell in cells]
    for cell, place in zip(cells, places, strict=True):
        row, column = place
        number, metric = cell.entry.published, cell.entry.metric
        if places.count(place) > 1 and number:  # such as errors of one guess and of five
            column += f", {number.metric.removesuffix('_percent').replace('_', ' ')}"
        found = [
            one
            for own in records.values()
            for one in own
            if (one["row"], one["column"], one.get("metric", metric)) == (*place, metric)
        ]
        grid[row][column] = _cell(cell, found)
    columns = [*dict.fromkeys(column for row in grid.values() for column in row)]
    rows = [[row, *(own.get(column, "") for column in columns)] for row, own in grid.items()]
    lines = [f"\n## {name}\n\n{'; '.join(measures_of(cells)).capitalize()}\n\n"]
    lines += [_source(file, own) for file, own in records.items()]
    return "".join(lines) + table(["", *columns], rows)


def _cell(cell: Cell, found: list[dict[str, Any]]) -> str:
    measured = [one["measured"] for one in found] or [cell.measured()]
    differences = [PairedDifference(**own) for one in found if (own := one["minus_baseline"])]
    lines = [f"*{text}*" for text in (*measured, *differences)]
    number = cell.entry.published
    lines = [number.with_runs, *lines] if number else lines
    return "<br>".join(lines).replace(" ", "\N{NO-BREAK SPACE}")


def _source(file: str, cells: list[dict[str, Any]]) -> str:
    """Say where a table was measured, and with which changes of its recipes."""
    runs = (one for one in cells if one["run"])
    changes = {one["run"].removeprefix(one["recipe"]).strip(",") for one in runs} - {""}
    how = " and ".join(f"`{change}`" for change in sorted(changes))
    how = f" with {how}, not the settings of the table" if how else ""
    return f"Measured{how}: [{file}](../results/{file}).\n\n"

"""Cells of the tables of a report: what is read, and what a column is sorted by."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from semaug.runs.statistics import with_spread
from semaug.runs.words import in_words

MISSING = "—"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text: What is read.
        key: What the column is sorted by; None comes last.
        is_number: Whether it is set like one.
        link: Id of what it leads to.
        heat: From -1, largest gain, to 1, largest loss: how strong its color is; 0 is none.
    """

    text: str
    key: str | float | None = None
    is_number: bool = False
    link: str = ""
    heat: float = 0.0


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by each of its columns."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def table(caption: str, rows: Iterable[Mapping[str, Cell]]) -> Table:
    """Make a table of rows that all have cells under the same headings."""
    rows = list(rows)
    caption = caption[:1].upper() + caption[1:]
    return Table(caption, tuple(rows[0]) if rows else (), tuple(tuple(x.values()) for x in rows))


def words(text: str) -> Cell:
    """Show a text."""
    return Cell(text or MISSING, text or None)


def number(value: float | None, format: str = ".2f") -> Cell:
    """Show a number.

    >>> number(-1.234).text
    '−1.23'
    """
    text = MISSING if value is None else f"{value:{format}}"
    return Cell(text.replace("-", "−"), value, is_number=True)


def value(value: Any) -> Cell:
    """Show the value of a field of a recipe."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(str(value), value)
    return words("" if value is None else value if isinstance(value, str) else json.dumps(value))


def spread(values: Sequence[float]) -> Cell:
    """Show the mean of numbers and, of several, their standard deviation; nothing of none."""
    return Cell(with_spread(values), mean(values), is_number=True) if values else number(None)


def distinct(texts: Iterable[str]) -> Cell:
    """Show each of several texts once."""
    return words("; ".join(sorted({text for text in texts if text})))


def duration(seconds: float | None) -> Cell:
    """Show how long something took."""
    return Cell(MISSING if seconds is None else in_words(seconds), seconds, is_number=True)


def memory(mebibytes: float | None) -> Cell:
    """Show how much memory something took.

    >>> memory(512.4).text, memory(20480).text
    ('512 MiB', '20.0 GiB')
    """
    if mebibytes is None:
        return number(None)
    text = f"{mebibytes:.0f} MiB" if mebibytes < 10_000 else f"{mebibytes / 1024:.1f} GiB"
    return Cell(text, mebibytes, is_number=True)

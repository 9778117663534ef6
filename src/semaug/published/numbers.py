"""What the papers print: every number of their tables, as text and as numbers.

The file beside this one, ``published.csv``, has one number a line, in the order of the papers:

>>> (number,) = find_published("isda", 2, row="ResNet-32", column="CIFAR-10, ISDA")
>>> str(number), number.mean, number.std, number.runs
('7.09 ± 0.12', 7.09, 0.12, 5)

Source: Wang et al., T-PAMI 2021, Tables 1 to 8, 11 and 12, https://arxiv.org/abs/2007.10538;
Wang et al., NeurIPS 2019, Tables 1 to 5, https://arxiv.org/abs/1909.12220; Chen et al., ICCV
Workshops 2019, Tables 1 to 5.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from semaug._torch.names import unknown_name


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """One number of a table; ``str`` gives it as printed.

    Args:
        paper: A name of :data:`~semaug.published.PAPERS`.
        table: Number of the table, or ``figN`` and ``secN`` for what the text says in words.
        row: Label of the line, with the group it stands in.
        column: Heading of the column, with the group it stands in.
        data: Data set by our name; ``cifar`` where one number is printed for both.
        network: By our name where it is one of ``semaug.networks.NETWORKS``.
        method: Parts of :data:`~semaug.published.METHODS` joined by ``+``.
        metric: A name of :data:`~semaug.published.METRICS`, which has the unit.
        mean_text: The number as printed, without its unit.
        std_text: Its standard deviation as printed; empty if none is.
        runs: Runs that the caption of the table states; None if it states none.
        note: What is unclear or contradicted about it; usually empty.
    """

    paper: str
    table: str
    row: str
    column: str
    data: str
    network: str
    method: str
    metric: str
    mean_text: str
    std_text: str
    runs: int | None
    note: str

    @property
    def mean(self) -> float:
        """The number."""
        return float(self.mean_text)

    @property
    def std(self) -> float | None:
        """Its standard deviation over runs; None if none is printed."""
        return float(self.std_text) if self.std_text else None

    @property
    def with_runs(self) -> str:
        """As printed, with the runs that the caption states in parentheses."""
        return str(self) if self.runs is None else f"{self} ({self.runs})"

    def __str__(self) -> str:
        return f"{self.mean_text} ± {self.std_text}" if self.std_text else self.mean_text


@cache
def load_published() -> tuple[PublishedNumber, ...]:
    """Return every number, in the order of the papers."""
    text = files("semaug.published").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(_number(**line) for line in csv.DictReader(text.splitlines()))


def find_published(
    paper: str | None = None,
    table: str | int | None = None,
    *,
    row: str | None = None,
    column: str | None = None,
    data: str | None = None,
    network: str | None = None,
    method: str | None = None,
    metric: str | None = None,
) -> tuple[PublishedNumber, ...]:
    """Return the numbers that fit everything asked for, in the order of the papers.

    Fields are those of :class:`PublishedNumber`; None fits all.

    Returns:
        The numbers; none if each name exists, but nowhere together.

    Raises:
        TypeError: If a name is not a string.
        ValueError: If nothing has such a name: no table of this paper, no row or column of these
            tables, or no number at all. The message has the nearest valid one.
    """
    found = load_published()
    place = {
        "paper": paper,
        "table": str(table) if isinstance(table, int) else table,
        "row": row,
        "column": column,
    }
    subject = {"data": data, "network": network, "method": method, "metric": metric}
    for field, name in (place | subject).items():
        if name is None:
            continue
        if not isinstance(name, str):
            raise TypeError(f"find_published: expected `{field}` to be a str, got {name!r}")
        choices = {getattr(x, field) for x in (found if field in place else load_published())}
        if name not in choices:
            raise ValueError(unknown_name("find_published", field, name, choices))
        found = tuple(number for number in found if getattr(number, field) == name)
    return found


def _number(mean: str, std: str, runs: str, **names: str) -> PublishedNumber:
    return PublishedNumber(mean_text=mean, std_text=std, runs=int(runs) if runs else None, **names)

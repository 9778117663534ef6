"""The one reader of finished runs: what was measured, and which way is better."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from semaug.errors import UserError, as_user_error
from semaug.recipe.plan import NUM_AVERAGED
from semaug.runs.files import read_json
from semaug.runs.run import check_format

__all__ = [
    "REPORTS",
    "Measure",
    "best_of",
    "load_summary",
    "measure_of",
    "row_name",
    "summarize",
    "value_of",
]

# Which tests make the number that a recipe reports.
REPORTS = {
    "mean_last_10": f"mean of last {NUM_AVERAGED} epochs",
    "last": "last epoch",
    "best": "best epoch",
}
_REMEDY = "restore a copy of it, or delete it and train the run with --resume, which writes it anew"


@dataclass(frozen=True)
class Measure:
    """A number that is measured of predictions.

    Args:
        name: Such as ``"error"``.
        unit: Such as ``"%"``.
        better: Whether ``"lower"`` or ``"higher"`` values are better.
        report: Which tests make the number that is reported, a key of :data:`REPORTS`.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    report: str = "mean_last_10"

    def text(self, value: float) -> str:
        """Write a value with its unit.

        >>> Measure("error", "%", "lower").text(1.234), Measure("fid", "", "lower").text(8.1)
        ('1.23 %', '8.10')
        """
        return f"{value:.2f} {self.unit}".rstrip()

    def sort_key(self, value: float) -> float:
        """Return a number that is lower for better values."""
        return value if self.better == "lower" else -value


def best_of(measure: Measure, values: Iterable[float]) -> float:
    """Return the best of some values."""
    return min(values, key=measure.sort_key)


def row_name(metric: str, predictor: str = "") -> str:
    """Return what a test is called in a row of ``metrics.jsonl``.

    >>> row_name("error"), row_name("error", "network 2")
    ('test_error', 'test_error_network_2')
    """
    return "_".join(["test", metric, *predictor.split()])


def summarize(
    rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure], predictors: Sequence[str]
) -> dict[str, Any]:
    """Reduce the rows of a finished run to the numbers that are reported.

    >>> error = Measure("error", "%", "lower")
    >>> rows = [{"epoch": 1, "test_error": 4.0}, {"epoch": 2, "test_error": 3.0}]
    >>> summarize(rows, [error], [""])["results"]
    {'': {'error': {'mean_last_10': 3.5, 'last': 3.0, 'best': 3.0}}}
    """
    results: dict[str, Any] = {}
    for predictor in predictors:
        for measure in measures:
            name = row_name(measure.name, predictor)
            tests = [row[name] for row in rows if row.get(name) is not None]
            if tests:
                last = tests[-NUM_AVERAGED:]
                results.setdefault(predictor, {})[measure.name] = {
                    "mean_last_10": sum(last) / len(last),
                    "last": tests[-1],
                    "best": best_of(measure, tests),
                }
    main = measures[0]
    metric = {"name": main.name, "unit": main.unit, "better": main.better, "report": main.report}
    return {"metric": metric, "results": results}


def measure_of(summary: Mapping[str, Any]) -> Measure:
    """Return the main metric of a finished run.

    Raises:
        UserError: If the summary does not say it.
    """
    with as_user_error("summary.json: expected a metric: ", KeyError, TypeError):
        return Measure(**summary["metric"])


def value_of(
    summary: Mapping[str, Any],
    predictor: str = "",
    metric: str | None = None,
    report: str | None = None,
) -> float | None:
    """Return what a finished run reports; None if it was not measured.

    Args:
        summary: Of the run.
        predictor: Name of what was tested, ``""`` is the main one.
        metric: None is the main one.
        report: A key of :data:`REPORTS`; None is the one that the recipe reports.
    """
    measure = measure_of(summary)
    found = summary["results"].get(predictor, {}).get(metric or measure.name, {})
    value: float | None = found.get(report or measure.report)
    return value


def load_summary(folder: str | Path) -> dict[str, Any]:
    """Return the summary of a finished run.

    Raises:
        UserError: If the run is not finished, this is the folder of none, or of another format.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the folder of a run, got no such folder")
    path = folder / "summary.json"
    if path.exists():
        summary: dict[str, Any] = read_json(path, _REMEDY)
        check_format(path, summary)
        return summary
    rows = folder / "metrics.jsonl"
    if not rows.exists():
        raise UserError(f"{folder}: expected the folder of a run, got one without summary.json")
    done = len(rows.read_bytes().splitlines())
    raise UserError(
        f"{folder}: expected a finished run, got one that has done {done} epochs; go on with it by "
        "semaug train and --resume"
    )

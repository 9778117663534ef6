"""The one reader of finished runs: what was measured, and which way is better."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from semaug.errors import UserError, as_user_error
from semaug.recipe.plain import flat_options, typed_names
from semaug.recipe.plan import NUM_AVERAGED
from semaug.runs.files import check_format, parse_json, read_json
from semaug.runs.words import counted

# Which tests make the number that a recipe reports.
REPORTS = {
    "mean_last_10": f"mean of last {NUM_AVERAGED} epochs",
    "last": "last epoch",
    "best": "best epoch",
}


def report_names(*num_tests: int, unit: str = "epoch") -> dict[str, str]:
    """Name what :data:`REPORTS` holds for runs of so many tests.

    Args:
        *num_tests: Of each run.
        unit: What a test comes after.

    >>> report_names(2)["mean_last_10"], report_names(1, unit="test")["mean_last_10"]
    ('mean of last 2 epochs', 'last test')
    >>> report_names(3, 30)["mean_last_10"]
    'mean of last 3 to 10 epochs'
    """
    first, *more = sorted({min(number, NUM_AVERAGED) for number in num_tests})
    span = f"{first} to {more[-1]}" if more else first
    mean = "last epoch" if span == 1 else f"mean of last {span} epochs"
    names = REPORTS | {"mean_last_10": mean}
    return {report: name.replace("epoch", unit) for report, name in names.items()}


CROSS_VALIDATION = "cross_validation.json"  # in the folder of a run that was trained on all images

# What every reader of a summary counts on; and `metric` and numbers in `results`.
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "overrides": dict,
    "quick": bool,
    "recipe": dict,
    "code": dict,
    "seed": int,
    "epochs": int,
    "seconds": (int, float),
    "device": str,
    "test_on": str,
    "results": dict,
}
_LARGEST = 1e100  # in a row: beyond it, axes of pictures overflow
_REMEDY = "restore a copy of it, or delete it and train the run with --resume, which writes it anew"


@dataclass(frozen=True)
class Measure:
    """A number that is measured of predictions.

    Args:
        name: Such as ``"error"``.
        unit: Such as ``"%"``.
        better: Whether ``"lower"`` or ``"higher"`` values are better.
        report: Which tests make the number that is reported, a key of :data:`REPORTS`.

    Raises:
        TypeError: If one of them is something else.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    report: str = "mean_last_10"

    def __post_init__(self) -> None:
        texts = isinstance(self.name, str) and isinstance(self.unit, str)
        if not (texts and self.better in ("lower", "higher") and self.report in REPORTS):
            raise TypeError(f"Measure: expected a name, a unit, lower or higher, got {self}")

    @property
    def digits(self) -> int:
        """Digits behind the point that a value is written with: units such as nats are large."""
        return 2 if self.unit in ("%", "") else 3

    def text(self, value: float) -> str:
        """Write a value with its unit.

        >>> Measure("error", "%", "lower").text(1.234), Measure("nll", "nats", "lower").text(0.1)
        ('1.23 %', '0.100 nats')
        """
        return f"{value:.{self.digits}f} {self.unit}".rstrip()

    def sort_key(self, value: float) -> float:
        """Return a number that is lower for better values, and below 0 for a gain."""
        return value if self.better == "lower" else -value

    def in_unit(self, name: str = "") -> str:
        """Name it, or something that is measured by it, with its unit.

        >>> Measure("error", "%", "lower").in_unit("test error")
        'test error in percent'
        """
        unit = "percent" if self.unit == "%" else self.unit
        return f"{name or self.name} in {unit}" if unit else name or self.name

    def heading(self, name: str = "") -> str:
        """Name it, or something that is measured by it, with its unit and its better direction.

        >>> Measure("nll", "nats", "lower").heading()
        'nll in nats, lower is better'
        """
        return f"{self.in_unit(name)}, {self.better} is better"

    def gain(self, difference: float) -> str:
        """Say how much better a value is that differs so much from another; "" if it is equal.

        >>> Measure("miou", "%", "higher").gain(-0.5), Measure("fid", "", "lower").gain(-2.0)
        ('0.50 points worse', '2.00 better')
        """
        size = f"{abs(difference):.{self.digits}f}"
        if float(size) == 0:
            return ""
        unit = "points" if self.unit == "%" else self.unit
        return " ".join([size, *unit.split(), self.verdict(difference)])

    def verdict(self, difference: float) -> str:
        """Say whether a value that differs so from another is "better" or "worse"."""
        return "better" if self.sort_key(difference) < 0 else "worse"


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
            if tests := [row[name] for row in rows if row.get(name) is not None]:
                last = tests[-NUM_AVERAGED:]
                results.setdefault(predictor, {})[measure.name] = {
                    "mean_last_10": sum(last) / len(last),
                    "last": tests[-1],
                    "best": best_of(measure, tests),
                }
    return {**describe_measures(measures), "results": results}


def describe_measures(measures: Sequence[Measure]) -> dict[str, Any]:
    """Return what files of a run say of its metrics; :func:`measures_of` reads it."""
    main, *others = map(asdict, measures)
    return {"metric": main, "other_metrics": others}


def measure_of(summary: Mapping[str, Any]) -> Measure:
    """Return the main metric of a run.

    Args:
        summary: Of the run, or what its ``recipe.json`` holds.

    Raises:
        UserError: If it does not say it.
    """
    with as_user_error("expected the metric of a run, got something else: ", KeyError, TypeError):
        return measures_of(summary)[0]


def measures_of(summary: Mapping[str, Any]) -> list[Measure]:
    """Return the metrics of a run, the main one first; of earlier versions that one alone.

    Args:
        summary: Of the run, or what its ``recipe.json`` holds.

    Raises:
        KeyError: If it does not say them.
        TypeError: If it says something else.
    """
    return [Measure(**one) for one in (summary["metric"], *summary.get("other_metrics", ()))]


def measured(summary: Mapping[str, Any]) -> str:
    """Name what a finished run reports, such as ``"test error"`` or ``"held-out miou"``."""
    images = "held-out" if summary["test_on"] == "hold_out" else "test"
    return f"{images} {measure_of(summary).name}"


def is_untested(summary: Mapping[str, Any]) -> bool:
    """Whether a run had no test images, and so has no results."""
    return summary["test_on"] == "none"


def label_of(name: str, predictor: str) -> str:
    """Name one of the predictors of a recipe.

    >>> label_of("digits_resnet8", ""), label_of("digits_resnet8", "teacher")
    ('digits_resnet8', 'digits_resnet8, teacher')
    """
    return f"{name}, {predictor}" if predictor else name


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
    return found.get(report or measure.report)


def read_summary(path: Path) -> dict[str, Any] | None:
    """Return what a ``summary.json`` holds; None if there is none.

    Raises:
        UserError: If the file is damaged, no summary of a run, or of another format.
    """
    if not path.exists():
        return None
    summary = read_json(path, _REMEDY)
    check_format(path, summary)
    context = f"{path}: expected the summary of a run; {_REMEDY}: "
    with as_user_error(context, AttributeError, TypeError, ValueError):
        check_fields(summary, _FIELDS)
        measures_of(summary)
        for metrics in summary["results"].values():
            for reports in metrics.values():
                {name: float(value) for name, value in reports.items()}
    return summary


def check_fields(found: Mapping[str, Any], names: Iterable[str]) -> None:
    """Check fields of a summary, or of a ``recipe.json``, which has some of them.

    Raises:
        TypeError: If one is missing or something else.
    """
    for name in names:
        if not isinstance(value := found.get(name), _FIELDS[name]):
            raise TypeError(f"`{name}` is {value!r}")


def find_finished(folder: Path) -> list[Path]:
    """Return the folders of finished runs at or below a folder; the folder itself if none is."""
    if (folder / "summary.json").exists():
        return [folder]
    return sorted(path.parent for path in folder.rglob("summary.json")) or [folder]


def load_summary(folder: str | Path) -> dict[str, Any]:
    """Return the summary of a finished run.

    Raises:
        UserError: If the run is not finished, or diverged; if this is the folder of no run, its
            summary is damaged, or of another format.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: expected the folder of a run, got {found}")
    if (summary := read_summary(folder / "summary.json")) is not None:
        return summary
    diverged = folder / "diverged.json"
    if diverged.exists():
        context = f"{diverged}: expected where a run diverged; delete it to train the run again: "
        with as_user_error(context, AttributeError, KeyError, TypeError):
            advice = what_helps(read_json(diverged, "delete it to train the run again")["recipe"])
        raise UserError(f"{folder}: expected a finished run, got one that diverged; {advice}")
    rows = folder / "metrics.jsonl"
    if not rows.exists():
        below = [*folder.glob("seed*/summary.json"), *folder.glob("*/seed*/summary.json")]
        hint = f"; choose one below it, such as {min(below).parent}" if below else ""
        raise UserError(
            f"{folder}: expected the folder of a run, got one without summary.json{hint}"
        )
    done = counted(len(rows.read_bytes().splitlines()), "epoch")
    raise UserError(
        f"{folder}: expected a finished run, got one that has done {done}; go on with it by "
        "semaug train and --resume"
    )


def what_helps(recipe: Mapping[str, Any]) -> str:
    """Say what to change about a recipe that diverged.

    Args:
        recipe: As plain data.

    >>> what_helps({"clip_norm": None, "loss": {"strength": 5.0}, "optimizer": {"lr": 1.0}})
    'try a lower strength or lr, or clip_norm=1: that is another run, in a folder of its own'
    """
    options = flat_options(recipe)
    typed = typed_names(options)
    causes = "lr", "strength", "clip_norm"
    lower = [typed[name] for name in options if name.rpartition(".")[2] in causes and options[name]]
    clip = ", or clip_norm=1" if options.get("clip_norm", 0) is None else ""
    tried = " or ".join(lower) or "learning rate"
    return f"try a lower {tried}{clip}: that is another run, in a folder of its own"


def load_rows(path: Path) -> tuple[list[dict[str, float]], list[int]]:
    """Return the numbers of each epoch that a run has done.

    Args:
        path: Of ``metrics.jsonl``.

    Returns:
        Its rows in the order of epochs, of an epoch that is there twice the later
        one; and which lines, from 1, are damaged, as a killed process may leave the last.

    Raises:
        OSError: If the file is missing, or cannot be read.
    """
    rows: dict[float, dict[str, float]] = {}
    damaged = []
    for place, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = {name: x for name, x in parse_json(line).items() if _is_number(x)}
            rows[row["epoch"]] = row
        except (AttributeError, KeyError, RecursionError, ValueError):
            damaged.append(place)
    return [rows[epoch] for epoch in sorted(rows)], damaged


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _LARGEST

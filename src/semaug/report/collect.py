"""Find runs below folders and read them; what cannot be read is named, and left out."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semaug.errors import UserError
from semaug.recipe.options import Subset
from semaug.report.data import Group, RecipeRuns, Report, RunData
from semaug.runs.run import all_options, label

__all__ = ["MEASURES", "collect"]

MEASURES = {
    "error_mean_last_10": "mean of last 10 epochs",
    "error_last": "last epoch",
    "error_best": "best epoch",
}

_SIGNS = ("metrics.jsonl", "recipe.json")
_LARGEST = 1e100  # beyond it, axes of pictures overflow


def collect(paths: Iterable[Path], now: datetime | None = None) -> Report:
    """Read all runs at or below some folders.

    Damaged files never stop it: what they cost is in ``notes``.

    Args:
        paths: Folders of runs, or folders that hold such.
        now: When the report is made; None is the time of the call.

    Raises:
        UserError: If a path is no folder, or no run is found.
    """
    paths = list(paths)
    for path in paths:
        if not path.is_dir():
            raise UserError(f"report: expected a folder, got {path}")
    notes: list[str] = []
    folders = _find(paths, notes)
    if not folders:
        found = ", ".join(map(str, paths))
        raise UserError(f"report: expected folders with runs ({' or '.join(_SIGNS)}), got {found}")
    runs = [_Reader(folder, notes).read() for folder in folders]
    created = f"{now or datetime.now(UTC):%Y-%m-%d %H:%M %Z}".strip()
    groups = _group(runs, notes)
    return Report(groups, tuple(map(_printable, notes)), created)


def _find(paths: Iterable[Path], notes: list[str]) -> list[Path]:
    """Return each folder of a run once, in the order of names."""

    def unreadable(error: OSError) -> None:
        notes.append(f"{error.filename}: cannot be read ({error.strerror}), and was left out")

    found: dict[Path, Path] = {}
    for path in paths:
        for folder, below, files in os.walk(path, onerror=unreadable):
            below.sort()
            if _is_run(Path(folder).name, files):
                found.setdefault(Path(folder).resolve(), Path(folder))
                below.clear()  # a run holds no runs
    return list(found.values())


def _is_run(name: str, files: Iterable[str]) -> bool:
    """Tell a run by its files, and by its name where a summary is all that was kept of it."""
    named = re.fullmatch("seed[0-9]+", name) is not None
    return any(sign in files for sign in _SIGNS) or (named and "summary.json" in files)


class _Reader:
    """Reads one folder."""

    def __init__(self, folder: Path, notes: list[str]) -> None:
        self.folder = folder
        self._notes = notes

    def read(self) -> RunData:
        summary = self._dict("summary.json")
        start = self._dict("recipe.json")
        starts = [start for start in self._list("environment.json") if isinstance(start, dict)]
        rows = self._rows()
        last = starts[-1] if starts else {}
        versions = _dict(summary.get("versions")) or {
            name: value
            for name, value in last.items()
            if name not in ("started", "device", "threads", "commit")
        }
        reached = rows[-1] if rows else {}  # by a run that may be unfinished
        return RunData(
            folder=self.folder,
            label=self._label(summary, start),
            seed=self._seed(summary, start),
            recipe=_dict(summary.get("recipe")) or _dict(start.get("recipe")),
            rows=tuple(rows),
            errors=self._errors(summary),
            class_errors=self._class_errors(summary),
            finished=bool(summary),
            seconds=_number(summary.get("seconds")) or reached.get("seconds"),
            peak_memory=_number(summary.get("peak_memory_mib")) or reached.get("peak_memory_mib"),
            device=_text(summary.get("device", last.get("device"))),
            commit=_text(summary.get("commit", last.get("commit"))),
            versions={str(name): _text(value) for name, value in versions.items()},
            starts=tuple(_text(start.get("started")) for start in starts),
            images=self._images(),
            diverged=not summary and (self.folder / "diverged.json").exists(),
        )

    def _note(self, name: str, reason: str) -> None:
        self._notes.append(f"{self.folder / name}: {reason}")

    def _json(self, name: str, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
        """Return what a file holds; nothing, if it is missing or damaged."""
        try:
            value = _parse((self.folder / name).read_bytes())
        except FileNotFoundError:
            return kind()
        except OSError as error:
            self._note(name, f"cannot be read ({error.strerror}), and was left out")
            return kind()
        except (ValueError, RecursionError) as error:
            self._note(name, f"damaged, and left out ({error})")
            return kind()
        if not isinstance(value, kind):
            noun = "object" if kind is dict else "array"
            self._note(name, f"damaged, and left out (not a JSON {noun})")
            return kind()
        return value

    def _dict(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = self._json(name, dict)
        return value

    def _list(self, name: str) -> list[Any]:
        value: list[Any] = self._json(name, list)
        return value

    def _rows(self) -> list[dict[str, float]]:
        """Return the numbers of each epoch; of an epoch that is there twice, the later row."""
        name = "metrics.jsonl"
        try:
            lines = (self.folder / name).read_bytes().splitlines()
        except FileNotFoundError:
            self._note(name, "missing, so there are no curves of this run")
            return []
        except OSError as error:
            self._note(name, f"cannot be read ({error.strerror}), and was left out")
            return []
        rows: dict[float, dict[str, float]] = {}
        damaged = []
        for place, line in enumerate(lines, start=1):
            row = _row(line)
            if row is None:
                damaged.append(str(place))
            else:
                rows[row["epoch"]] = row
        if damaged:
            some = ", ".join(damaged[:5]) + (", ..." if len(damaged) > 5 else "")
            noun, verb = ("line", "was") if len(damaged) == 1 else ("lines", "were")
            self._note(name, f"{noun} {some} damaged, and {verb} left out")
        return [rows[epoch] for epoch in sorted(rows)]

    def _errors(self, summary: Mapping[str, Any]) -> dict[str, float]:
        if not summary:
            return {}
        read = {measure: _number(summary.get(measure)) for measure in MEASURES}
        missing = [measure for measure, value in read.items() if value is None]
        if missing:
            self._note("summary.json", f"expected numbers as {', '.join(missing)}, got none")
        for name in summary:
            measure, _, network = name.rpartition("_")
            if measure in MEASURES and network.isdecimal():
                read[name] = _number(summary[name])
        return {measure: value for measure, value in read.items() if value is not None}

    def _images(self) -> dict[str, str]:
        sums = _dict(self._dict("images.json").get("sha256"))
        return {name: _text(total) for name, total in sums.items()}

    def _class_errors(self, summary: Mapping[str, Any]) -> dict[str, float]:
        found = summary.get("error_per_class", {})
        read = {name: _number(value) for name, value in _dict(found).items()}
        if not isinstance(found, dict) or None in read.values():
            self._note("summary.json", "expected a number for each class as error_per_class")
        return {name: value for name, value in read.items() if value is not None}

    def _label(self, summary: Mapping[str, Any], start: Mapping[str, Any]) -> str:
        """Name the recipe and its changes, which unfinished runs tell by their folder alone."""
        name, overrides = summary.get("name"), summary.get("overrides")
        if isinstance(name, str) and isinstance(overrides, dict):
            return label(name, overrides, summary.get("quick") is True)
        absolute = self.folder.resolve()
        if absolute.name.startswith("seed") and absolute.parent.name:
            return _text(absolute.parent.name)
        return _text(start.get("name")) or _text(absolute.name)

    def _seed(self, summary: Mapping[str, Any], start: Mapping[str, Any]) -> int | None:
        digits = self.folder.resolve().name.removeprefix("seed")
        named = int(digits) if digits.isascii() and digits.isdecimal() else None
        for seed in (summary.get("seed"), start.get("seed"), named):
            if isinstance(seed, int) and not isinstance(seed, bool):
                return seed
        return None


def _parse(content: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return _printable(json.loads(content, parse_constant=refuse))


def _printable(value: Any) -> Any:
    """Replace what no page and no terminal can show, such as half of a surrogate pair."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in value)
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _row(line: bytes) -> dict[str, float] | None:
    try:
        row = _parse(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    numbers = {
        name: number for name, value in row.items() if (number := _number(value)) is not None
    }
    return numbers if "epoch" in numbers else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < _LARGEST else None  # a NaN is not, either


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return "" if value is None else str(_printable(value))


def _group(runs: Iterable[RunData], notes: list[str]) -> tuple[Group, ...]:
    """Put runs on the same images together, and in there those of the same recipe."""
    by_title: dict[str, list[RunData]] = {}
    for run in runs:
        by_title.setdefault(_images(run), []).append(run)
    groups = []
    for title, members in by_title.items():
        parts = _by_sums(members)
        for sums, part in parts:
            name = title if len(parts) == 1 else f"{title}, {_name_of_sums(sums)}"
            groups.append(_make_group(name, _by_recipe(part, notes)))
    return tuple(groups)


def _by_sums(runs: Iterable[RunData]) -> list[tuple[Mapping[str, str], list[RunData]]]:
    """Part runs that saw other images: what a recipe names may be another set elsewhere.

    Runs of early versions tell fewer sums, or none. They belong to those that they agree with.
    """
    parts: list[tuple[Mapping[str, str], list[RunData]]] = []
    for run in sorted(runs, key=lambda run: -len(run.images)):
        same = [part for sums, part in parts if sums == run.images]
        agreeing = same or [
            part
            for sums, part in parts
            if all(sums.get(name, total) == total for name, total in run.images.items())
        ]
        if len(agreeing) == 1:
            agreeing[0].append(run)
        else:
            parts.append((run.images, [run]))
    return parts


def _name_of_sums(sums: Mapping[str, str]) -> str:
    if not sums:
        return "unknown images"
    return f"images {hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:8]}"


def _by_recipe(runs: Iterable[RunData], notes: list[str]) -> list[list[RunData]]:
    """Put runs of the same recipe together, each seed once."""
    recipes: dict[tuple[str, str], list[RunData]] = {}
    for run in runs:
        name = run.label.partition(",")[0]  # changes that the label tells are in the recipe too
        options = json.dumps(all_options(run.recipe), sort_keys=True) if run.recipe else run.label
        members = recipes.setdefault((name, options), [])
        double = next((other for other in members if other.seed == run.seed), None)
        if double is not None:
            notes.append(f"{run.folder}: same recipe and seed as {double.folder}, and was left out")
        else:
            members.append(run)
    return list(recipes.values())


def _make_group(title: str, recipes: list[list[RunData]]) -> Group:
    names = [min((run.label for run in members), key=len) for members in recipes]
    made = []
    for name, members in zip(names, recipes, strict=True):
        if names.count(name) > 1:  # another recipe under the same name
            name = f"{name} in {_text(members[0].folder.as_posix())}"
        by_seed = sorted(members, key=lambda run: -1 if run.seed is None else run.seed)
        made.append(RecipeRuns(name, tuple(by_seed)))
    made.sort(key=lambda recipe: (not _is_baseline(recipe), recipe.label))
    held_out = "hold_out" in _subset(made[0].recipe)
    return Group(title, "held-out error" if held_out else "test error", tuple(made))


def _is_baseline(recipe: RecipeRuns) -> bool:
    loss, method = (_dict(recipe.recipe.get(group)).get("name") for group in ("loss", "method"))
    return loss == "cross_entropy" and method in (None, "supervised")  # None: an early run


def _images(run: RunData) -> str:
    """Say on which images a run is trained and tested."""
    recipe = run.recipe
    name = _text(recipe.get("data")) or "unknown data"
    return ", ".join([name, *(f"{field}={value}" for field, value in _subset(recipe).items())])


def _subset(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that choose images."""
    options = all_options(recipe)
    chosen = {
        field.name: value
        for field in fields(Subset)
        if (value := options.get(f"subset.{field.name}")) is not None
    }
    if not set(chosen) - {"subset_seed", "test_images"}:
        chosen.pop("subset_seed", None)  # nothing is drawn by it
    return chosen

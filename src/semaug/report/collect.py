"""Find runs below folders and read them; what cannot be read is named, and left out."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semaug.errors import UserError, as_user_error
from semaug.recipe.plain import typed_names
from semaug.recipe.plan import NUM_AVERAGED
from semaug.report.data import Group, RecipeRuns, Report, RunData
from semaug.report.inside import pictures_below, read_picture
from semaug.report.mistakes import read_tested
from semaug.runs.files import check_format, read_json
from semaug.runs.pictures import pictures_of
from semaug.runs.read import REPORTS, Measure, load_rows, measures_of
from semaug.runs.run import label
from semaug.runs.words import printable
from semaug.runs.work import work_of

# What files of another shape make their reader raise.
_ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def collect(
    paths: Iterable[Path], now: datetime | None = None, *, command: str = "report"
) -> Report:
    """Read all runs at or below some folders.

    Damaged files never stop it: what they cost is in ``notes``.

    Args:
        paths: Folders of runs, or folders that contain runs.
        now: When the report is made; None is the time of the call.
        command: Begins the message of an error.

    Raises:
        UserError: If a path is no folder, or no run is found.
    """
    paths = list(paths)
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{command}: expected a folder, got {path}")
    notes: list[str] = []
    folders = _find_run_folders(paths, notes)
    if not folders:
        raise UserError(
            f"{command}: expected folders with runs (recipe.json), got "
            + ", ".join(map(str, paths))
        )
    runs = [run for folder in folders if (run := read_run(folder, notes)) is not None]
    created = f"{now or datetime.now(UTC):%Y-%m-%d %H:%M %Z}".strip()
    return Report(_group_runs(runs, notes), tuple(map(printable, notes)), created)


def _find_run_folders(paths: Iterable[Path], notes: list[str]) -> list[Path]:
    """Return each folder of a run once, in the order of names."""

    def unreadable(error: OSError) -> None:
        notes.append(f"{error.filename}: cannot be read ({error.strerror}), and was left out")

    found: dict[Path, Path] = {}
    for path in paths:
        for folder, below, files in os.walk(path, onerror=unreadable):
            below.sort()
            # Of some runs the summary is all that was kept.
            named = re.fullmatch("seed[0-9]+", Path(folder).name) and "summary.json" in files
            if named or "recipe.json" in files:
                found.setdefault(Path(folder).resolve(), Path(folder))
                below.clear()  # a run holds no runs
    return list(found.values())


def read_run(folder: Path, notes: list[str]) -> RunData | None:
    """Return what the folder of a run holds; None if it does not tell what was trained.

    Args:
        folder: Of the run.
        notes: Gets a sentence for each thing that cannot be read.
    """
    paths = folder / "recipe.json", folder / "summary.json"
    found = [
        (path, content) for path in paths if (content := _try_to_read(path, notes)) is not None
    ]
    try:
        with as_user_error(
            f"{folder}: left out, for its files do not hold what training writes: ",
            *_ODD,
        ):
            for path, content in found:
                check_format(path, content)
            return _make_run(folder, dict(found), notes) if found else None
    except UserError as error:
        notes.append(str(error))
        return None


def _make_run(folder: Path, found: Mapping[Path, Any], notes: list[str]) -> RunData:
    summary = found.get(folder / "summary.json")
    about = summary or found[folder / "recipe.json"]
    starts = _try_to_read(folder / "environment.json", notes) or ()
    images = _try_to_read(folder / "images.json", notes) or {}
    path = folder / "metrics.jsonl"
    rows, damaged = _try_to_read(path, notes, load_rows) or ([], [])
    if damaged:
        some = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        notes.append(f"{path}: left out what is damaged, line {some}")
    end = summary or _end_so_far(about, rows, starts)
    measure, *others = measures_of(about)
    return RunData(
        folder,
        label(about["name"], about["overrides"], about["quick"]),
        int(about["seed"]),
        measure,
        dict(about["recipe"]),
        tuple(rows),
        _results_of(end),
        {name: float(value) for name, value in end["by_class"].items()},
        finished=summary is not None,
        seconds=_float_or_none(end["seconds"]),
        peak_memory=_float_or_none(end["peak_memory_mib"]),
        device=str(end["device"]),
        commit=str(end["commit"]),
        versions={name: str(version) for name, version in end["versions"].items()},
        starts=tuple(str(start.get("started", "")) for start in starts),
        images={**images.get("sha256", {}), **{k: images[k] for k in ("exif",) if k in images}},
        test_on=str(images.get("test_on") or end.get("test_on", "test")),
        code={name: file["sha256"] for name, file in about["code"].items()},
        diverged=summary is None and (folder / "diverged.json").exists(),
        num_tests=int(end.get("epochs") or end["recipe"].get("epochs") or NUM_AVERAGED),
        work=work_of(end),
        others=tuple(others),
        tested=_try_to_read(folder / "tested.npz", notes, read_tested) if summary else None,
        pictures=_choose_pictures(pictures_of(folder)),
        inside=tuple(
            one
            for path in pictures_below(folder)
            if (one := _try_to_read(path, notes, read_picture))
        ),
    )


def _end_so_far(
    about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], starts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what an unfinished run tells by its last epoch and its last start, as a summary."""
    reached, last = rows[-1] if rows else {}, starts[-1] if starts else {}
    return {
        **about,
        "results": {},
        "by_class": {},
        "versions": {name: last[name] for name in last if name not in _NO_VERSIONS},
        "device": last.get("device", ""),
        "commit": last.get("commit", ""),
        "seconds": reached.get("seconds"),
        "peak_memory_mib": reached.get("peak_memory_mib"),
    }


def _results_of(end: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the results of a run by predictor, metric and the tests that make a number."""
    return {
        predictor: {
            metric: {report: float(values[report]) for report in REPORTS if report in values}
            for metric, values in metrics.items()
        }
        for predictor, metrics in end["results"].items()
    }


def _float_or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def _choose_pictures(pictures: Mapping[int, Path]) -> dict[int, Path]:
    """Return the first and the last picture of a run, and some between them."""
    steps, last = list(pictures), _MOST_PICTURES - 1
    chosen = {steps[place * (len(steps) - 1) // last] for place in range(last + 1)} if steps else ()
    return {step: pictures[step] for step in sorted(chosen)}


_MOST_PICTURES = 4  # of a run
_NO_VERSIONS = ("started", "device", "threads", "resumes", "commit")  # in environment.json


def _try_to_read(path: Path, notes: list[str], read: Callable[[Path], Any] | None = None) -> Any:
    """Return what a file holds, of JSON by default; None, if it is missing or damaged."""
    try:
        return printable(read(path) if read else read_json(path, "it was left out"))
    except FileNotFoundError:
        return None
    except OSError as error:
        notes.append(f"{path}: cannot be read ({error.strerror}), and was left out")
    except UserError as error:
        notes.append(str(error))
    return None


def _group_runs(runs: Iterable[RunData], notes: list[str]) -> tuple[Group, ...]:
    """Put runs on the same images with the same main metric together, by recipe in there.

    The images are those of ``images.json``: what a recipe names may be another set elsewhere. Where
    they follow the seed, those of each seed are the same.
    """
    parts: dict[tuple[str, int, Measure], list[RunData]] = {}
    seen: dict[tuple[str, int | None], list[str]] = {}
    for run in runs:
        title, digest = _describe_images(run), _digest_images(run)
        known = seen.setdefault((title, run.seed if run.images_follow_seed else None), [])
        if digest and digest not in known:
            known.append(digest)
        which = known.index(digest) if digest else -1
        parts.setdefault((title, which, replace(run.measure, report="last")), []).append(run)
    groups = []
    for (title, which, measure), members in parts.items():
        same = [key for key in parts if key[0] == title]
        if len({key[1] for key in same}) > 1:
            title += ", unknown images" if which < 0 else f", images {_digest_images(members[0])}"
        if len({key[2] for key in same}) > 1:
            title += f", {measure.name}"
        groups.append(_make_group(title, _group_by_recipe(members, notes)))
    return tuple(groups)


def _digest_images(run: RunData) -> str:
    """Return what tells images from others; "" if no file tells which they are."""
    sums = json.dumps(run.images, sort_keys=True).encode()
    return hashlib.sha256(sums).hexdigest()[:8] if run.images else ""


def _group_by_recipe(runs: Iterable[RunData], notes: list[str]) -> list[list[RunData]]:
    """Put runs of the same recipe together, each seed once."""
    recipes: dict[tuple[str, str], list[RunData]] = {}
    for run in runs:
        name = run.label.partition(",")[0]  # changes that the label tells are in the recipe too
        options = json.dumps(run.options, sort_keys=True)
        members = recipes.setdefault((name, options), [])
        if double := next((other for other in members if other.seed == run.seed), None):
            notes.append(f"{run.folder}: same recipe and seed as {double.folder}, and was left out")
            continue
        if members and members[0].code != run.code:
            notes.append(
                f"{run.folder}: made with other code than {members[0].folder}, a run of the same "
                "recipe; what is said of this recipe is of both"
            )
        members.append(run)
    return list(recipes.values())


def _make_group(title: str, recipes: list[list[RunData]]) -> Group:
    made = [
        RecipeRuns(
            min((run.label for run in members), key=len),
            tuple(sorted(members, key=lambda run: run.seed)),
        )
        for members in recipes
    ]
    told = [replace(recipe, label=_make_label_unique(recipe, made)) for recipe in made]
    told.sort(key=lambda recipe: (not _is_baseline(recipe.runs[0]), recipe.label))
    return make_group(title, told)


def _make_label_unique(recipe: RecipeRuns, recipes: Sequence[RecipeRuns]) -> str:
    """Add to a label that several recipes have the options in which they differ, or a folder."""
    label, labels = recipe.label, [other.label for other in recipes]
    if labels.count(label) == 1:
        return label
    same = Group("", "", (recipe, *(other for other in recipes if other.label == label)))
    differing = same.differing_fields().items()
    options = [f"{name}={'none' if own is None else own}" for name, (own, *_) in differing]
    told = ",".join([label, *options])
    if len(options) <= _MOST_OPTIONS and told not in labels:
        return told
    return f"{label} in {printable(recipe.runs[0].folder.as_posix())}"


_MOST_OPTIONS = 3  # that tell recipes apart before their folders do


def make_group(title: str, recipes: Sequence[RecipeRuns]) -> Group:
    """Put recipes together that are tested on the same images, and name what is measured."""
    first = recipes[0].runs[0]
    images = "held-out" if first.test_on == "hold_out" else "test"
    return Group(title, f"{images} {first.measure.name}", tuple(recipes))


def _is_baseline(run: RunData) -> bool:
    return (run.options.get("loss"), run.options.get("method")) == ("cross_entropy", "supervised")


def _describe_images(run: RunData) -> str:
    """Say on which images a run is trained and tested: data set, and the options that choose."""
    chosen = {
        name: value
        for name, value in run.options.items()
        if name.startswith(("data.", "subset")) and value not in (None, "standard")
    }
    if "subset.labeled_per_class" not in chosen:
        chosen = {name: value for name, value in chosen.items() if name not in _OF_LABELED}
    if all(name.startswith("data.") or name in _DRAW_NOTHING for name in chosen):
        chosen.pop("subset.subset_seed", None)
    texts = (f"{name}={chosen[dotted]}" for dotted, name in typed_names(chosen).items())
    return ", ".join([str(run.options.get("data", "unknown data")), *texts])


# Without effect where all images have labels, and unknown to earlier versions.
_OF_LABELED = ("subset.unlabeled_includes_labeled", "subset.hold_out_labeled")
_DRAW_NOTHING = ("subset.subset_seed", "subset.test_images")

"""Record which images a run sees, so that a result can be traced to exact images."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semaug.data import DataSet, FileSet, Selection, describe_selection, pack_selection
from semaug.data.image_set import FilePaths
from semaug.data.registry import data_root as find_root
from semaug.engine.data import load_data
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.runs.files import read_json, write_bytes, write_json
from semaug.runs.run import Run

# As long as a run has its summary, train --resume returns that and writes nothing.
REMEDY = "restore a copy of it, or delete it and summary.json, and train --resume writes both anew"


def record_images(
    run: Run,
    data: DataSet,
    selection: Selection,
    image: Sequence[int] | None = None,
    whitening: str | None = None,
) -> None:
    """Write ``images.json``, and every place and label to ``images.npz`` if not all are official.

    Args:
        run: Of the images.
        data: What it trains and tests on.
        selection: Of the training images.
        image: Shape of an image as networks take it, of a run whose networks can be loaded.
        whitening: SHA-256 of the whitening that the run keeps.

    Raises:
        OSError: If the disk does not take it.
        UserError: If the folder says that the run began with other images.
    """
    white = {} if whitening is None else {"whitening": whitening}
    facts = {} if image is None else {"input": describe_input(data, image) | white}
    if not _is_recorded(run) and run.recipe.subset.chooses_training_images():
        write_bytes(run.folder / "images.npz", pack_selection(selection))
    record_description(run, describe_images(selection, data) | facts)


def record_description(run: Run, description: dict[str, Any]) -> None:
    """Write ``images.json``, or compare with that of a run that goes on.

    Args:
        run: Of the images.
        description: As of :func:`describe_images`, perhaps with an ``input`` that only those who
            load the networks read.

    Raises:
        OSError: If the disk does not take it.
        UserError: If the folder says that the run began with other images.
    """
    path = run.folder / "images.json"
    if _is_recorded(run):
        _check_unchanged(path, description)
    else:
        write_json(path, description)


def _is_recorded(run: Run) -> bool:
    return run.has_begun and (run.folder / "images.json").exists()


def read_images(path: Path) -> dict[str, Any]:
    """Return what ``images.json`` of a run holds.

    Raises:
        OSError: If it cannot be read.
        UserError: If it is missing or damaged.
    """
    wanted = f"{path}: expected a description of images"
    if not path.exists():
        raise UserError(f"{wanted}, got no such file; {REMEDY}")
    description = read_json(path, REMEDY)
    if not isinstance(description, dict) or not isinstance(description.get("sha256"), dict):
        raise UserError(f"{wanted}, got something else; {REMEDY}")
    return description


def describe_input(data: DataSet, image: Sequence[int]) -> dict[str, Any]:
    """Return plain data: what networks are built from, and what their input is prepared with."""
    unlabeled = None if data.unlabeled is None else len(data.unlabeled)
    pixels = None if isinstance(data.train, FileSet) else list(data.train.images.shape[2:])
    masks = {"masks": {"colors": data.colors, "ids": data.ids}} if data.has_masks else {}
    return {
        **masks,
        "classes": list(data.train.classes),
        "image": list(image),
        "pixels": pixels,  # height and width before they are resized
        "mean": data.mean and list(data.mean),
        "std": data.std and list(data.std),
        "train": len(data.train),
        "unlabeled": unlabeled,
        **{name: len(part) for name, part in (data.others or {}).items()},
    }


def describe_images(selection: Selection, data: DataSet) -> dict[str, Any]:
    """Return plain data: how training images were chosen, and sums of what is trained and tested.

    The sums are of labels, in order, and of the names of files; their content is not read, but
    that of images of a generator.
    ``exif`` says of files that photographs are turned upright, which earlier versions did not do.

    Args:
        selection: Of the training images.
        data: What the run trains and tests on.
    """
    description = describe_selection(selection)
    sums = description["sha256"]
    for name, part in (("train", data.train), ("test", data.test)):
        sums[f"{name}_labels"] = _sha256(part.labels)
        if isinstance(part, FileSet):
            sums[f"{name}_files"] = _sum_of_names(part)
    found: dict[str, Any] = {"test_images": len(data.test)}
    if isinstance(data.train, FileSet):
        found["exif"] = "applied"
    if data.others:
        found["others"] = {name: _describe_others(part) for name, part in data.others.items()}
    return description | found


def _describe_others(part: Any) -> dict[str, Any]:
    """Describe further images to learn from, such as those of a generator, by all their pixels."""
    digest = hashlib.sha256()
    for images in part.images.split(_AT_ONCE):
        digest.update(images.cpu().numpy().tobytes())
    return {"images": len(part), "labels": _sha256(part.labels), "pixels": digest.hexdigest()}


_AT_ONCE = 4096  # images that are hashed


def names_of_tests(data: DataSet, selection: Selection) -> tuple[str, ...]:
    """Name each test image: by its file, or by its place in the part of the set that it is from.

    Runs on the same images have the same names for them, and so have folds of one set.

    Args:
        data: What the run trains and tests on.
        selection: Of its images.
    """
    test, count = data.test, len(data.test)
    if isinstance(test, FileSet):
        return names_of_files(test.paths)
    if selection.test_on != "hold_out":
        return tuple(f"test image {place}" for place in range(count))
    # As `test_images` spreads its choice.
    places = selection.held_out[torch.arange(count) * len(selection.held_out) // count]
    return tuple(f"training image {place}" for place in places.tolist())


def names_of_files(paths: FilePaths) -> tuple[str, ...]:
    """Return names of files as text, relative to their folder."""
    text = paths.names.numpy().tobytes()
    spans = paths.spans.tolist()
    return tuple(text[start:stop].decode(errors="backslashreplace") for start, stop in spans)


def check_images_now(
    run: Run,
    options: TrainOptions,
    tell: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Check that there are images for a run, and those that it saw if it began.

    That is done where the data root decides; sets with official files are the same everywhere. A
    folder of images is looked through once for each choice, however many runs a process asks about.

    Args:
        run: To be trained, or finished.
        options: Of training, which name the data root.
        tell: Called with what a person should know of the images, line by line.
        progress: As of :func:`semaug.engine.data.load_data`.

    Raises:
        FileNotFoundError: If there are no images.
        UserError: If they are others, the folder is not as it should be or has too few, or
            ``images.json`` of the run is missing or damaged.
    """
    if not getattr(run.recipe.data, "is_users_own", False):
        return
    recipe, root = run.recipe, find_root(options.data_root).resolve()
    place = (root, recipe.data, recipe.subset, _seed_of_images(run), run.quick)
    if place not in _now and hasattr(recipe, "describe_images"):
        _now[place] = recipe.describe_images(run, options, tell)
    elif place not in _now:
        data, selection = load_data(run, options, torch.device("cpu"), tell, progress)
        _now[place] = describe_images(selection, data)
    if run.has_begun:
        _check_unchanged(run.folder / "images.json", _now[place])


_now: dict[tuple[Any, ...], dict[str, Any]] = {}  # descriptions by root and choice


def check_same_images(runs: Sequence[Run], *, only_tested: bool = False) -> None:
    """Check that runs saw the same images, as far as their folders tell it.

    Runs whose images follow the seed, such as folds, are compared with those of their own seed.

    Args:
        runs: To be compared.
        only_tested: Whether they may be trained on different ones.

    Raises:
        UserError: If two of them did not, or ``images.json`` of one is damaged.
    """
    seen: dict[tuple[str, int | None], tuple[Path, Any]] = {}
    for run in runs:
        path = run.folder / "images.json"
        if not path.exists():  # a loop without images of the house
            continue
        description = read_images(path)
        facts = {name: description.get(name) for name in ("data", "exif")}
        for name, value in {**facts, **description["sha256"]}.items():
            if only_tested and not name.startswith((*facts, "test_")):
                continue
            first, expected = seen.setdefault((name, _seed_of_images(run)), (path, value))
            if value != expected:
                raise UserError(
                    f"semaug: expected runs on the same images, got others by {name} in {path} "
                    f"than in {first}; train them with the same --data-root and the same options "
                    "that choose images"
                )


def _seed_of_images(run: Run) -> int | None:
    """Return the seed of the run if it decides which images it sees."""
    return run.seed if getattr(run.recipe.subset, "follows_seed", False) else None


def _check_unchanged(path: Path, now: dict[str, Any]) -> None:
    if differences := [*other_images(read_images(path), now)]:
        raise UserError(
            f"{path.parent}: the run began with other images than there are now: "
            f"{'; '.join(differences)}; restore them, name their folder with --data-root, or "
            "choose another folder for new runs with --runs"
        )


def check_recorded(run: Run, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that the images of a finished run are those that it saw, as far as it tells.

    Args:
        run: The run.
        recorded: What its ``images.json`` holds, see :func:`read_images`.
        now: What :func:`describe_images` returns today.

    Raises:
        UserError: If they are others.
    """
    known = {**now["sha256"], "exif": now.get("exif")}
    seen = {**recorded["sha256"], "exif": recorded.get("exif")}
    if any(known.get(part, total) != total for part, total in seen.items()):
        raise UserError(
            f"{run.folder / 'images.json'}: the run saw other images than data={now['data']} has "
            f"now: {'; '.join(other_images(recorded, now))}; restore the data set, or name its "
            "folder with --data-root"
        )


def other_images(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Say what differs between the images of a run and those of today, in the words of its user.

    Args:
        then: What ``images.json`` of the run holds.
        now: What :func:`describe_images` returns today.
    """
    if then.get("exif") != now.get("exif"):
        yield "photographs are now turned upright, as their EXIF says, and were not then"
    sums = [name for name, own in now["sha256"].items() if then["sha256"].get(name) != own]
    if then.get("others") != now.get("others"):
        yield "other images of a generator, or another number of them"
    if then.get("data") != now["data"]:
        yield f"data={then.get('data')} then and {now['data']} now"
    elif then.get("train_images") != now["train_images"]:
        yield f"{then.get('train_images')} to train on then and {now['train_images']} now"
    elif then.get("test_images") != now["test_images"]:
        yield f"{then.get('test_images')} to test on then and {now['test_images']} now"
    elif any(name.endswith("_files") for name in sums):
        yield "files have other names"
    elif sums or then.get("images_per_class") != now["images_per_class"]:
        yield "images have other labels, or others are chosen of them"


def _sha256(numbers: Tensor) -> str:
    return hashlib.sha256(numbers.cpu().numpy().astype("<i8").tobytes()).hexdigest()


def _sum_of_names(files: FileSet) -> str:
    digest = hashlib.sha256()
    names = files.paths.names.numpy().tobytes()
    for start, stop in files.paths.spans.tolist():
        digest.update(names[start:stop] + b"\0")
    return digest.hexdigest()

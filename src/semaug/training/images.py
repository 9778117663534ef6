"""Record which images a run sees, so that a result can be traced to exact images."""

import hashlib
from typing import Any

from torch import Tensor

from semaug.data import DataSet, FileSet, Selection, describe_selection, pack_selection
from semaug.training.errors import UserError
from semaug.training.files import read_json, write_atomically, write_json
from semaug.training.run import Run

__all__ = ["describe_images", "record_images"]


def record_images(run: Run, selection: Selection, data: DataSet) -> None:
    """Write ``images.json``, and every place and label to ``images.npz`` if not all are official.

    Raises:
        OSError: If the disk does not take it.
        UserError: If the folder says that the run began with other images.
    """
    path = run.folder / "images.json"
    description = describe_images(selection, data)
    if path.exists():
        _compare(str(path), read_json(path, _REMEDY), description)
        return
    if run.recipe.subset.chooses_training_images():
        packed = pack_selection(selection)
        write_atomically(run.folder / "images.npz", lambda file: file.write(packed))
    write_json(path, description)


def describe_images(selection: Selection, data: DataSet) -> dict[str, Any]:
    """Return plain data: how training images were chosen, and sums of what is trained and tested.

    The sums are of labels, in order, and of the names of files; their content is not read.

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
    return description | {"test_images": len(data.test)}


_REMEDY = "delete it, and --resume writes it anew"


def _compare(path: str, before: Any, now: dict[str, Any]) -> None:
    if not isinstance(before, dict) or not isinstance(before.get("sha256"), dict):
        raise UserError(f"{path}: expected a description of images, got something else; {_REMEDY}")
    differences = [
        f"{name} {before.get(name)!r} there and {now[name]!r} now"
        for name in now
        if name != "sha256" and before.get(name) != now[name]
    ]
    sums = [name for name in now["sha256"] if before["sha256"].get(name) != now["sha256"][name]]
    if sums:
        differences.append(f"other sums of {', '.join(sums)}")
    if differences:
        raise UserError(
            f"{path}: the run began with other images: {'; '.join(differences)}; restore the data "
            "set, or choose another folder with --runs"
        )


def _sha256(numbers: Tensor) -> str:
    return hashlib.sha256(numbers.cpu().numpy().astype("<i8").tobytes()).hexdigest()


def _sum_of_names(files: FileSet) -> str:
    digest = hashlib.sha256()
    names = files.paths.names.numpy().tobytes()
    for start, stop in files.paths.spans.tolist():
        digest.update(names[start:stop] + b"\0")
    return digest.hexdigest()

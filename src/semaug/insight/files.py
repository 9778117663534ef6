"""Files of pictures, which reports of their runs show, and of searches that go on after a stop."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from semaug._torch.load import load_tensors
from semaug.errors import as_user_error
from semaug.report.picture import export
from semaug.runs.files import FORMAT, write_atomically, write_json


def write_picture(
    folder: Path, name: str, figure: Figure, title: str, text: str, numbers: Mapping[str, Any]
) -> list[Path]:
    """Write a picture and its numbers.

    Args:
        folder: Such as :func:`semaug.report.inside.folder_of_pictures` returns.
        name: Of the files.
        figure: The picture.
        title: What it shows.
        text: How to read it.
        numbers: Plain data.

    Returns:
        The files.

    Raises:
        OSError: If the disk does not take them.
    """
    files = export([(name, figure)], folder)  # first, so that numbers never stand without
    about = {"format": FORMAT, "title": title, "text": text, **numbers}
    write_json(folder / f"{name}.json", about)
    return [*files, folder / f"{name}.json"]


def file_name(*parts: str) -> str:
    """Make a name for files of what makes it: letters, digits, dots and dashes.

    >>> file_name("directions", "aquarium fish", "")
    'directions-aquarium-fish'
    """
    return re.sub(r"[^\w.]+", "-", "-".join(filter(None, parts))).strip("-")[:100]


class Kept:
    """States of long searches by name, in a file: a search that was stopped goes on from there.

    Args:
        path: Of the file, which need not be there; None keeps nothing beyond this object.
        seconds: The file is written at most so often.

    Raises:
        OSError: If the file cannot be read.
        UserError: If it is damaged.
    """

    def __init__(self, path: Path | None = None, seconds: float = 30.0) -> None:
        self._path, self._seconds = path, seconds
        self._found: dict[str, Any] = {}
        self._states: dict[str, Any] = {}
        if path is not None and path.exists():
            context = f"{path}: damaged; delete it, and the search begins anew: "
            with as_user_error(context, LookupError, TypeError, ValueError):
                self._found = dict(load_tensors(path)["states"])
        self._written = time.monotonic()

    def get(self, name: str) -> Any:
        """Return the state of a name; None if there is none."""
        return self._states.get(name, self._found.get(name))

    def put(self, name: str, state: Any, *, now: bool = False) -> None:
        """Keep a state: in the file after a while, or now. What nobody put is forgotten.

        Raises:
            OSError: If the disk does not take it.
        """
        self._states[name] = state
        if self._path and (now or time.monotonic() - self._written > self._seconds):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, lambda file: torch.save({"states": self._states}, file))
            self._written = time.monotonic()

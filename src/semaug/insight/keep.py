"""Pictures of trained networks as files, which reports of their runs show."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from semaug.report.picture import export
from semaug.runs.files import FORMAT, write_json


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

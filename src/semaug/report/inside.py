"""Pictures that commands make of a trained network and keep in the folder of its run.

Each is ``pictures/NAME.png`` with the same as ``NAME.svg``, and ``NAME.json`` with title, text and
all numbers. A report shows what it finds there, whoever wrote it.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semaug.errors import as_user_error
from semaug.runs.files import check_format, read_json
from semaug.runs.words import printable

_FOLDER = "pictures"
_REMEDY = "delete it, and the command that made the picture writes it anew"

# h and w pixels.


@dataclass(frozen=True, eq=False)
class InsidePicture:
    """A picture of what a trained network does.

    Args:
        name: Of its files.
        title: What it shows.
        text: How to read it.
        picture: ``(h, w, 3)`` uint8.
    """

    name: str
    title: str
    text: str
    picture: Tensor


def folder_of_pictures(run: Path) -> Path:
    """Return where the pictures of a run are."""
    return run / _FOLDER


def read_picture(path: Path) -> InsidePicture:
    """Read a picture by the file of its numbers.

    Raises:
        OSError: If a file cannot be read.
        UserError: If a file is damaged, or of another format.
    """
    about = read_json(path, _REMEDY)
    check_format(path, about)
    context = f"{path}: expected a picture and what it shows, got something else; {_REMEDY}: "
    content = io.BytesIO(path.with_suffix(".png").read_bytes())
    with as_user_error(context, LookupError, OSError, SyntaxError, TypeError, ValueError):
        title, text = about["title"] + "", about["text"] + ""
        with Image.open(content, formats=["PNG"]) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return InsidePicture(path.stem, printable(title), printable(text), pixels)


def pictures_below(run: Path) -> Sequence[Path]:
    """Return the files of numbers of all pictures of a run, in the order of their names."""
    return sorted(folder_of_pictures(run).glob("*.json"))

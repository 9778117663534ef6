"""Reading what ``torch.save`` wrote, without executing anything of it."""

import io
import pickle
import pickletools
import re
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # pickles have names of Python 2
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch
from torch.serialization import safe_globals

__all__ = ["load_tensors"]

_PARTS = 4  # of a file of torch before 1.6: two numbers, sizes of the system, what was saved

# What damaged bytes make zipfile and torch raise.
_DAMAGED = (
    AssertionError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


class _Left:
    """Stands for an object of a class that is not looked up."""

    def __new__(cls, *_: object, **__: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def load_tensors(path: Path, *, leave_objects: bool = False) -> Any:
    """Read tensors and plain data onto the CPU, with ``weights_only=True``.

    Args:
        path: A file of ``torch.save``.
        leave_objects: Whether objects of other classes are left out, as the options and the
            criterion that a checkpoint of a training script holds beside its weights: an empty
            object takes the place of each. Their classes are not imported, nothing of them runs.

    Returns:
        What was saved.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is damaged, cut short, or holds objects that are not left out; with the
            short cause only.
    """
    with path.open("rb") as file:
        try:
            in_zip = zipfile.is_zipfile(file)
            if in_zip:
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()  # torch itself does not compare the sums
                    inside = [x for x in archive.namelist() if x.endswith("/data.pkl")]
                    pickled = [io.BytesIO(archive.read(x)) for x in inside]
                if damaged is not None:
                    raise zipfile.BadZipFile(f"wrong sum of {damaged}")
            file.seek(0)
            left: list[Any] = []
            if leave_objects:
                # torch tells classes apart by the class itself: each name needs one of its own
                names = _names(pickled[0], 1) if in_zip else _names(file, _PARTS)
                left = [(type("Left", (_Left,), {}), name) for name in names]
            file.seek(0)
            with safe_globals(left):
                return torch.load(file, map_location="cpu", weights_only=True)
        except _DAMAGED as error:
            told = re.search(r"WeightsUnpickler error:\s*(.*?)(\. Please|\n|$)", str(error))
            reason = told[1] if told else str(error).strip().partition("\n")[0]
            raise ValueError(reason or type(error).__name__) from error


def _names(file: BinaryIO, num_pickles: int) -> set[str]:
    """Return the names of classes and functions in pickles, of which nothing is run."""
    found: set[str] = set()
    for _ in range(num_pickles):
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                renamed = NAME_MAPPING.get(
                    (module, name), (IMPORT_MAPPING.get(module, module), name)
                )
                found.add(".".join(renamed))
    return found

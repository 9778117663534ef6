"""Reading what ``torch.save`` wrote, without executing anything of it."""

import io
import pickle
import re
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # pickles have names of Python 2
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

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
    """Stands for an object of a class that is not looked up, or makes a plain dict or list for it.

    torch fills no others.
    """

    filled_as: ClassVar[type[Any] | None] = None

    def __new__(cls, *_: object, **__: object) -> Any:
        return super().__new__(cls) if cls.filled_as is None else cls.filled_as()

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        type(self).filled_as = OrderedDict

    def extend(self, items: object) -> None:
        type(self).filled_as = list

    append = extend


def load_tensors(path: Path, *, leave_objects: bool = False) -> Any:
    """Read tensors and plain data onto the CPU, with ``weights_only=True``.

    Args:
        path: A file of ``torch.save``.
        leave_objects: Whether objects of other classes are left out, as the options and the
            criterion that a checkpoint of a training script holds beside its weights: an empty
            object takes the place of each, of kinds of dict and list an ``OrderedDict`` or a list
            with what is in them. Their classes are not imported, nothing of them runs.

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
                found = _survey(pickled[0], 1) if in_zip else _survey(file, _PARTS)
                left = [(kind, name) for name, kind in found.items()]
            file.seek(0)
            with safe_globals(left):
                return torch.load(file, map_location="cpu", weights_only=True)
        except _DAMAGED as error:
            told = re.search(r"WeightsUnpickler error:\s*(.*?)(\. Please|\n|$)", str(error))
            reason = told[1] if told else str(error).strip().partition("\n")[0]
            raise ValueError(reason or type(error).__name__) from error


class _Survey(pickle._Unpickler):  # in Python, which reserves no memory
    """Find the names in a pickle, and how their objects are filled: nothing else is made of it."""

    found: dict[str, type[_Left]]

    def find_class(self, module: str, name: str) -> type[_Left]:
        renamed = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        # torch tells classes apart by the class itself: each name needs one of its own
        return self.found.setdefault(".".join(renamed), type("Left", (_Left,), {}))

    def persistent_load(self, pid: object) -> None:
        """Stand for a tensor's storage."""


def _survey(file: BinaryIO, num_pickles: int) -> dict[str, type[_Left]]:
    """Return classes to put in place of those that pickles name, by name."""
    found: dict[str, type[_Left]] = {}
    with suppress(*_DAMAGED, AttributeError):  # torch tells what is wrong
        for _ in range(num_pickles):
            survey = _Survey(file, encoding="latin1")  # takes all bytes of Python 2
            survey.found = found
            survey.load()
    return found

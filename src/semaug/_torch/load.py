"""Reading what ``torch.save`` wrote, without executing anything of it."""

import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

__all__ = ["load_tensors"]

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
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()  # torch itself does not compare the sums
                if damaged is not None:
                    raise zipfile.BadZipFile(f"wrong sum of {damaged}")
                names = get_unsafe_globals_in_checkpoint(str(path)) if leave_objects else []
            else:
                names = []
            file.seek(0)
            with _left_out(names):
                return torch.load(file, map_location="cpu", weights_only=True)
        except _DAMAGED as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ValueError(reason) from error


@contextmanager
def _left_out(names: list[str]) -> Iterator[None]:
    # torch tells classes apart by the class itself: each name needs one of its own
    kinds = [(type("Left", (_Left,), {}), name) for name in names]
    with safe_globals(kinds):  # type: ignore[arg-type]
        yield

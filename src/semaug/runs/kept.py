"""What a run keeps of single images of its last test, in ``tested.npz``: arrays and plain data."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semaug.errors import as_user_error
from semaug.runs.files import FORMAT, as_json, check_format, parse_json, write_atomically

_REMEDY = "delete it, and reports leave out what it tells"
# What numpy and zip files raise.
DAMAGES: tuple[type[Exception], ...] = (
    *(AttributeError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True, eq=False)
class Kept:
    """What a keeper kept.

    Args:
        kind: Of the keeper, :attr:`semaug.keepers.Keeper.kind`.
        names: Of the test images, in order.
        classes: Names of the classes.
        arrays: What it returned, by name.
    """

    kind: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    arrays: Mapping[str, Tensor]


def write_kept(path: Path, kept: Kept) -> None:
    """Write it whole or not at all, compressed, with numbers of 32 bits.

    Raises:
        OSError: If the disk does not take it.
    """
    about = {"format": FORMAT, "kind": kept.kind, "names": kept.names, "classes": kept.classes}
    arrays: dict[str, Any] = {"about": np.frombuffer(as_json(about).encode(), np.uint8)}
    for name, tensor in kept.arrays.items():
        arrays[name] = (tensor.int() if tensor.dtype == torch.int64 else tensor).numpy()
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def read_kept(path: Path) -> Kept:
    """Read what :func:`write_kept` wrote; nothing in there is executed.

    Raises:
        OSError: If it cannot be read.
        UserError: If it is damaged, or of another format.
    """
    context = f"{path}: expected what a run keeps of its test, got a damaged file; {_REMEDY}: "
    content = io.BytesIO(path.read_bytes())
    with as_user_error(context, *DAMAGES), np.load(content, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        about = parse_json(arrays.pop("about").numpy().tobytes())
        check_format(path, about)
        kind, names, classes = (about[name] for name in ("kind", "names", "classes"))
        if not all(isinstance(name, str) for name in [kind, *names, *classes]):
            raise TypeError("a name is no text")
    return Kept(kind, tuple(names), tuple(classes), arrays)

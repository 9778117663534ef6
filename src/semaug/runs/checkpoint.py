"""Checkpoints: written whole or not at all, read without executing anything."""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from semaug.errors import UserError
from semaug.runs.files import FORMAT, check_format, write_atomically

# What damaged bytes make zipfile and torch raise.
_DAMAGED = (
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain data; whatever goes wrong, the former checkpoint survives.

    Raises:
        OSError: If the disk does not take it; the message says why, how much it needs, and that
            the old one is kept.
    """
    try:
        write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))
    except OSError as error:
        raise OSError(
            f"{error}; the checkpoint needs {_num_bytes(state) / 1e6:,.1f} MB; the one before it, "
            "if any, is kept, and --resume goes on from it"
        ) from error


def _num_bytes(state: Any) -> int:
    """Return how many bytes the tensors of a state take."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, dict) else state
    return sum(map(_num_bytes, parts)) if isinstance(state, dict | list | tuple) else 0


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, onto the CPU.

    Raises:
        OSError: If it cannot be opened.
        UserError: If the file is damaged, cut short, or of another format.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # torch itself does not compare the sums
            if damaged is not None:
                raise zipfile.BadZipFile(f"wrong sum of {damaged}")
            file.seek(0)
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except _DAMAGED as error:
            raise UserError(
                f"{path}: expected a checkpoint, got a damaged file ({error}); "
                "restore a copy of it, or delete the folder to train the run from its beginning"
            ) from error
    check_format(path, state)
    return state


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's global generators, which dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Undo :func:`random_state`; a generator that the state lacks is left as it is."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

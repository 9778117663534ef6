"""The whitening of a run, kept in its folder: predicting needs no training image."""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from semaug._torch.load import load_tensors
from semaug.augmentation.zca import ZCA
from semaug.errors import UserError, as_user_error
from semaug.runs.checkpoint import save_checkpoint
from semaug.runs.files import read_json
from semaug.runs.run import Run

__all__ = ["keep_whitening", "kept_whitening"]

_FILE = "whitening.pt"
_REMEDY = "restore a copy of it, or delete it, and it is fitted anew"


def keep_whitening(run: Run, whiten: Callable[[Tensor], Tensor] | None) -> str | None:
    """Write a fitted whitening, unless the run began with it, and return its SHA-256.

    Args:
        run: Its folder is there.
        whiten: Of its images; what is not fitted is not kept.

    Raises:
        OSError: If the disk does not take it.
    """
    if not isinstance(whiten, ZCA):
        return None
    state = {"mean": whiten.mean.cpu(), "whitening": whiten.whitening.cpu()}
    path = run.folder / _FILE
    if not (path.exists() and run.has_begun):
        options = {"contrast_normalization": whiten.contrast_normalization}
        save_checkpoint(path, {**state, "options": options})
    return _digest(state)


def kept_whitening(run: Run, device: torch.device) -> ZCA | None:
    """Return the whitening that a run keeps; None if it keeps none, or has not begun.

    Raises:
        OSError: If it cannot be read.
        UserError: If the file is damaged, or holds another whitening than the run began with.
    """
    path, record = run.folder / _FILE, run.folder / "images.json"
    if not (path.exists() and record.exists() and run.has_begun):
        return None
    with as_user_error(f"{path}: expected a whitening; {_REMEDY}: ", ValueError):
        state = load_tensors(path)
    expected = read_json(record, _REMEDY).get("input", {}).get("whitening")
    if expected not in (None, found := _digest(state)):
        raise UserError(
            f"{path}: expected the whitening that the run began with, of sha256 {expected}, got "
            f"{found}; {_REMEDY}"
        )
    zca = ZCA(*state["mean"].shape, **state["options"])
    coloring = torch.linalg.inv(state["whitening"].double()).to(state["whitening"].dtype)
    zca.load_state_dict({**{name: state[name] for name in _TENSORS}, "coloring": coloring})
    return zca.to(device)


_TENSORS = ("mean", "whitening")


def _digest(state: dict[str, Any]) -> str:
    parts = (state[name].contiguous().numpy().tobytes() for name in _TENSORS)
    return hashlib.sha256(b"".join(parts)).hexdigest()

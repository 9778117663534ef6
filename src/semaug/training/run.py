"""A run: a recipe with a seed, and the folder that holds everything about it."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from semaug.training.errors import UserError
from semaug.training.files import read_json
from semaug.training.recipe import Recipe

__all__ = ["Run", "RunIsBusyError", "label"]


_LONGEST_LABEL = 110  # two of them make the name of a folder, which may have 255 characters


class RunIsBusyError(UserError):
    """Another process is training the run."""


@dataclass(frozen=True)
class Run:
    """One training run: what is trained, with which seed, and where it is kept.

    Args:
        name: Name of the recipe.
        recipe: The recipe with all overrides applied.
        seed: Decides initial weights, order of images and their augmentation.
        overrides: What was overridden, as given; part of the folder's name.
        quick: Whether ``recipe`` was shrunk by ``--quick``; part of the folder's name.
        root: Folder of all runs.
    """

    name: str
    recipe: Recipe
    seed: int = 0
    overrides: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False
    root: Path = Path("runs")

    @property
    def label(self) -> str:
        """Name of the recipe with what was changed about it."""
        return label(self.name, self.overrides, self.quick)

    @property
    def folder(self) -> Path:
        """Where everything about the run is kept."""
        return self.root / self.label / f"seed{self.seed}"

    @property
    def checkpoint(self) -> Path:
        """State to go on from."""
        return self.folder / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        """One line of JSON for each epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def has_begun(self) -> bool:
        """Whether something was trained already."""
        return (self.folder / "recipe.json").exists() or self.checkpoint.exists()

    def summary(self) -> dict[str, Any] | None:
        """Return what a finished run came to, None before it is finished.

        Raises:
            UserError: If the file is damaged.
        """
        path = self.folder / "summary.json"
        if not path.exists():
            return None
        summary: dict[str, Any] = read_json(path, "delete it, and --resume writes it anew")
        return summary

    def state(self) -> str:
        """Say in a word or two what training this run now means."""
        if self.summary() is not None:
            return "was finished before"
        return "continues" if self.checkpoint.exists() else "starts"

    def metric_rows(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``.

        Raises:
            FileNotFoundError: If there are none.
            UserError: If the file is damaged.
        """
        try:
            return [json.loads(line) for line in self.metrics.read_bytes().splitlines()]
        except ValueError as error:
            raise UserError(
                f"{self.metrics}: expected JSON, got a damaged file ({error}); delete summary.json "
                "beside it, and --resume writes both anew"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out of the folder; a killed process lets go by itself.

        Raises:
            RunIsBusyError: If another process is in it.
            UserError: If the system, or the file system of the folder, has no such locks.
        """
        try:
            import fcntl
        except ModuleNotFoundError as error:
            raise UserError(
                "semaug: training needs the file locks of Linux or macOS, which this system "
                "lacks; on Windows train inside WSL"
            ) from error
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file, _closed_in_children(file):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunIsBusyError(
                    f"{self.folder}: another process is training this run"
                ) from None
            except OSError as error:
                raise UserError(
                    f"{self.folder}: its file system has no locks between processes ({error}); "
                    "mount it with them, or choose another folder with --runs"
                ) from error
            yield


_locks: set[IO[str]] = set()


def _close_locks() -> None:
    for file in _locks:
        file.close()
    _locks.clear()


# A process that decodes images must not hold the lock when this one is killed.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_locks)


@contextmanager
def _closed_in_children(file: IO[str]) -> Iterator[None]:
    _locks.add(file)
    try:
        yield
    finally:
        _locks.discard(file)


def label(name: str, overrides: Mapping[str, str], quick: bool) -> str:
    """Name a recipe and its changes, in an order that does not depend on the command line.

    >>> label("digits_resnet8", {"lr": "0.2", "epochs": "3"}, quick=False)
    'digits_resnet8,epochs=3,lr=0.2'
    """
    changes = [f"{field}={overrides[field]}" for field in sorted(overrides)]
    text = ",".join([name, *(["quick"] if quick else []), *changes]).replace("/", "_")
    if len(text) <= _LONGEST_LABEL:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _LONGEST_LABEL - 9]}~{digest}"

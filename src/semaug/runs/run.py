"""A run: a recipe with a seed, and the folder that holds everything about it."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from semaug.errors import UserError
from semaug.outside import Code, code_of, files_of, load_files, short_name
from semaug.recipe.plain import outside_names, recipe_from_plain_data, recipe_to_plain_data
from semaug.runs.files import FORMAT, check_format, read_json, write_json, writing
from semaug.runs.read import read_summary

_LONGEST_LABEL = 110  # two of them make the name of a folder, which may have 255 characters
_KEPT = "checkpoints"  # folder of those that are kept
_MOST_SEEDS = 20  # that are named one by one


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
    recipe: Any
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

    def kept_checkpoint(self, epoch: int) -> Path:
        """Networks and losses as they were after an epoch, if the run was asked to keep them."""
        return self.folder / _KEPT / f"epoch{epoch:05}.pt"

    @property
    def kept_epochs(self) -> list[int]:
        """After which epochs they were kept, in order."""
        found = (self.folder / _KEPT).glob("epoch[0-9]*.pt")
        return sorted(int(path.stem.removeprefix("epoch")) for path in found)

    @property
    def metrics(self) -> Path:
        """One line of JSON for each epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def has_started(self) -> bool:
        """Whether its folder says what is trained."""
        return (self.folder / "recipe.json").exists() or self.has_begun

    @property
    def has_begun(self) -> bool:
        """Whether something was trained already; else nothing is lost by starting anew."""
        saved = self.checkpoint, self.folder / "summary.json", self.diverged
        has_rows = self.metrics.exists() and self.metrics.stat().st_size > 0
        return has_rows or any(path.exists() for path in saved)

    def plain(self) -> dict[str, Any]:
        """Return recipe and seed as plain data, with digests of code from outside."""
        plain = recipe_to_plain_data(self.recipe)
        return {"recipe": plain, "seed": self.seed, "code": self.code(plain)}

    def code(self, plain: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
        """Describe the files of code from outside, see :func:`semaug.outside.code_of`."""
        return code_of([self.name, *outside_names(plain or recipe_to_plain_data(self.recipe))])

    def summary(self) -> dict[str, Any] | None:
        """Return the summary of a finished run, None before it is finished.

        Raises:
            UserError: If the file is damaged, no summary, or of another format.
        """
        return read_summary(self.folder / "summary.json")

    def read(self, name: str) -> dict[str, Any] | None:
        """Return what a JSON file of the folder holds, such as ``recipe.json``; None without it.

        Raises:
            UserError: If the file is damaged, or of another format.
        """
        path = self.folder / name
        if not path.exists():
            return None
        found = read_json(path, "delete it, and --resume writes it anew")
        check_format(path, found)
        return found

    @property
    def diverged(self) -> Path:
        """Says where the run diverged; while it exists, the run is not trained."""
        return self.folder / "diverged.json"

    def write_divergence(self, epoch: int, step: int) -> None:
        """Write where the run diverged, epoch and step from 1.

        Raises:
            OSError: If the disk does not take it.
        """
        write_json(self.diverged, {"format": FORMAT, "epoch": epoch, "step": step, **self.plain()})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle plain data: another process loads code from outside by its place."""
        plain = recipe_to_plain_data(self.recipe)
        options = {"overrides": dict(self.overrides), "quick": self.quick, "root": self.root}
        places = files_of([self.name, *outside_names(plain)])
        return _unpickled, (places, plain, self.name, self.seed, options)

    def state(self) -> str:
        """Say in a word or two what training this run now means."""
        if self.summary() is not None:
            return "was finished before"
        if self.diverged.exists():
            return "diverged before"
        return "continues" if self.checkpoint.exists() else "starts"

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
        is_first = not self.root.exists()
        while True:
            with self._open_lock() as file, _closed_in_children(file):
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
                if not _is_at(self.folder / "lock", file):
                    continue  # who held it has just removed it
                try:
                    yield
                finally:
                    self._remove_if_empty(self.root if is_first else self.folder.parent)
                return

    def _open_lock(self) -> IO[str]:
        while True:
            with writing(self.folder.parent):
                self.folder.parent.mkdir(parents=True, exist_ok=True)
            # Another process may remove a folder that it leaves empty at any moment.
            with suppress(FileNotFoundError):
                self.folder.mkdir(exist_ok=True)
                return (self.folder / "lock").open("w")

    def _remove_if_empty(self, last: Path) -> None:
        """Remove a folder that holds nothing but the lock, and those above it up to ``last``.

        Its run never began.
        """
        with suppress(OSError):  # another process writes there
            if [path.name for path in self.folder.iterdir()] == ["lock"]:
                (self.folder / "lock").unlink()
                for folder in (self.folder, *self.folder.parents):
                    folder.rmdir()
                    if folder == last:
                        break


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


_locks: set[IO[str]] = set()


def _close_locks() -> None:
    while _locks:
        _locks.pop().close()


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
    parts = [short_name(name), *(["quick"] if quick else []), *changes]
    return _shortened(",".join(parts).replace("/", "_"))


def name_of_seeds(seeds: Sequence[int]) -> str:
    """Name a folder for results over seeds; many of them by their first and their last.

    >>> name_of_seeds([0, 1, 2]), name_of_seeds(range(100)), name_of_seeds([*range(30), 40])
    ('seeds0,1,2', 'seeds0-99', 'seeds0-29,40')
    """
    if len(seeds) <= _MOST_SEEDS:
        return _shortened("seeds" + ",".join(map(str, seeds)))
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and seed == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], seed]
        else:
            spans.append([seed])
    return _shortened("seeds" + ",".join("-".join(map(str, span)) for span in spans))


def _shortened(text: str) -> str:
    """Make a name fit for a folder; a sum keeps different names different."""
    if len(text) <= _LONGEST_LABEL:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _LONGEST_LABEL - 9]}~{digest}"


def _unpickled(
    places: Mapping[str, Code], plain: dict[str, Any], name: str, seed: int, options: dict[str, Any]
) -> Run:
    load_files(places)
    return Run(name, recipe_from_plain_data(plain), seed, **options)

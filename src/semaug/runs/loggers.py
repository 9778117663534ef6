"""Loggers of Lightning beside TensorBoard: they get what a run writes down, and change nothing.

They are asked for by name (``csv``, ``wandb``, ``mlflow``), by the place of a class or function
(``package.module:Class``, ``my_file.py:name``), or in Python as objects.
"""

import inspect
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from semaug._torch.names import unknown_name
from semaug.errors import UserError, as_user_error
from semaug.outside import find, is_outside, short_name
from semaug.recipe.plain import flat_options
from semaug.runs.files import read_json, write_json
from semaug.runs.run import Run

# Where loggers are looked for, those with the fewest imports first.
_HOMES = ("lightning_fabric", "pytorch_lightning", "lightning.pytorch")
# Arguments by which a logger goes on with what a service keeps.
_IDS = {"id", "run_id", "experiment_key"}
_NO_METRICS = ("epoch", "step")


class RunLogger:
    """A logger with the rows of one run.

    A class is made with those of these arguments that it takes: ``root_dir`` and ``save_dir``, a
    folder in that of the run; ``experiment_name``, ``run_name`` and ``name``; and an id of what a
    service keeps of the run already. A function is called with the :class:`semaug.runs.run.Run`.

    A service goes on with what it has. All others get all rows anew whenever the run goes on.

    Args:
        logger: A name, a place, or an object with ``log_metrics`` and ``finalize``.
        run: Whose rows it gets.

    Raises:
        UserError: If there is no such logger, a package is missing, or it cannot be made.
    """

    def __init__(self, logger: Any, run: Run) -> None:
        name = short_name(logger) if isinstance(logger, str) else type(logger).__name__
        self._name, self._run = name, run
        self._folder = run.folder / "loggers" / re.sub(r"[^\w.-]+", "-", name)
        self._state_file = self._folder.with_name(f"{self._folder.name}.json")
        self._state: dict[str, Any] = {}
        self._is_service = False
        with self._guarded():
            if self._state_file.exists():
                self._state = dict(read_json(self._state_file, "delete it, and it begins anew"))
            found = _find(logger) if isinstance(logger, str) else logger
            if inspect.isclass(found):
                takes = inspect.signature(found).parameters
                self._is_service = not _IDS.isdisjoint(takes)
                found = found(**{key: x for key, x in self._arguments().items() if key in takes})
            elif inspect.isfunction(found):
                found = found(run)
        if not all(hasattr(found, method) for method in ("log_metrics", "finalize")):
            raise UserError(f"logger {name}: expected a logger of Lightning, got {found!r}")
        self._logger = found

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the options of the recipe, and rows of earlier starts.

        Raises:
            UserError: If the logger fails.
        """
        if not self._goes_on:
            shutil.rmtree(self._folder, ignore_errors=True)
            plain = {**flat_options(self._run.plain()["recipe"]), "seed": self._run.seed}
            with self._guarded(), suppress(AttributeError, NotImplementedError):
                self._logger.log_hyperparams(plain)
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Log the row of an epoch, unless a service has it from before the run was stopped.

        Raises:
            UserError: If the logger fails.
        """
        if self._goes_on and row["epoch"] <= self._state.get("epoch", 0):
            return
        self.show(row)
        if self._is_service:
            with self._guarded():
                self._state = {"id": self._logger.version, "epoch": row["epoch"]}
                self._state_file.parent.mkdir(exist_ok=True)
                write_json(self._state_file, self._state)

    def show(self, values: Mapping[str, Any]) -> None:
        """Log numbers of an epoch.

        Raises:
            UserError: If the logger fails.
        """
        numbers = {k: x for k, x in numbers_of(values).items() if k not in _NO_METRICS}
        with self._guarded():
            self._logger.log_metrics(numbers, step=int(values["epoch"]))
            getattr(self._logger, "save", lambda: None)()  # now, for a run may be killed

    def close(self, *, finished: bool) -> None:
        """End it.

        Raises:
            UserError: If the logger fails.
        """
        with self._guarded():
            self._logger.finalize("success" if finished else "failed")
            # Else the next run of this process would be taken for this one.
            getattr(getattr(self._logger, "experiment", None), "finish", lambda: None)()

    @property
    def _goes_on(self) -> bool:
        return self._is_service and bool(self._state)

    def _arguments(self) -> dict[str, Any]:
        kept = dict.fromkeys(_IDS, self._state.get("id"))
        title = f"{self._run.label} seed {self._run.seed}"
        if self._is_service:
            names = {"name": title, "run_name": title, "experiment_name": self._run.label}
            return {**kept, **names, "save_dir": str(self._folder)}
        folder = str(self._folder.parent)
        return {"root_dir": folder, "save_dir": folder, "name": self._folder.name, "version": ""}

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Say which logger fails, and draw for it no numbers that the run would draw."""
        state = torch.get_rng_state()
        try:
            with as_user_error(f"logger {self._name}: ", Exception):
                yield
        finally:
            torch.set_rng_state(state)


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row by name; several of one name, such as by process, get a place.

    >>> numbers_of({"epoch": 1, "train_loss": None, "test_seconds_by_process": [2.5, 3.0]})
    {'epoch': 1, 'test_seconds_by_process/0': 2.5, 'test_seconds_by_process/1': 3.0}
    """
    lists = ((name, x) for name, x in row.items() if isinstance(x, list))
    single = {name: x for name, x in row.items() if x is not None and not isinstance(x, list)}
    return single | {f"{name}/{k}": one for name, x in lists for k, one in enumerate(x)}


def make_loggers(loggers: Any, run: Run) -> list[RunLogger]:
    """Return loggers for a run.

    Args:
        loggers: One or several names, places or objects; None is none.
        run: Whose rows they get.

    Raises:
        UserError: If there is no such logger, a package is missing, or it cannot be made.
    """
    several = loggers if isinstance(loggers, list | tuple) else [loggers]
    return [RunLogger(logger, run) for logger in several if logger is not None]


def _find(name: str) -> Any:
    """Return the class of a logger, or what is at a place; import no more than that takes."""
    if is_outside(name):
        return find(name)
    known: dict[str, Any] = {}
    for home in _HOMES:
        if name not in known and find_spec(home.partition(".")[0]):
            members = vars(import_module(f"{home}.loggers"))
            known |= {key.removesuffix("Logger").lower(): x for key, x in members.items()}
    if not inspect.isclass(known.get(name)):
        classes = [key for key, member in known.items() if key and inspect.isclass(member)]
        more = "" if find_spec("pytorch_lightning") else "; more come with pytorch-lightning"
        raise UserError(unknown_name("train", "logger", name, classes) + more)
    return known[name]

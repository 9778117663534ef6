"""What a run writes down: rows of metrics, and the same for TensorBoard and other loggers."""

import math
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from semaug.runs.files import as_json, write_text, writing
from semaug.runs.loggers import RunLogger, numbers_of
from semaug.runs.run import Run


class Record:
    """The files that hold a row for each epoch.

    Opened with the rows of the checkpoint that a run goes on from, it writes the files anew:
    rows that came after that checkpoint, or were torn by a kill, are gone.
    """

    def __init__(
        self, run: Run, rows: list[dict[str, Any]], loggers: Sequence[RunLogger] = ()
    ) -> None:
        self._path = run.metrics
        write_text(self._path, "".join(as_json(row) + "\n" for row in rows))
        self._folder = run.folder / "tensorboard"
        shutil.rmtree(self._folder, ignore_errors=True)
        with writing(self._folder):
            self._writer = SummaryWriter(str(self._folder))
        for row in rows:
            self._show(row)
        self._loggers = loggers
        for logger in loggers:
            logger.begin(rows)

    def add(self, row: dict[str, Any]) -> None:
        """Append the row of an epoch."""
        with writing(self._path), self._path.open("a") as file:
            file.write(as_json(row) + "\n")
        self._show(row)
        for logger in self._loggers:
            logger.add(row)

    def add_classes(self, values: Mapping[str, float], epoch: float) -> None:
        """Show the metric of each class, for loggers alone: the summary holds them too."""
        named = {"epoch": epoch} | {f"by_class/{name}": x for name, x in values.items()}
        self._show(named)
        for logger in self._loggers:
            logger.show(named)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        with writing(self._folder):
            self._writer.close()
        for logger in self._loggers:
            logger.close(finished=kind is None)

    def _show(self, row: Mapping[str, Any]) -> None:
        with writing(self._folder):
            for name, value in numbers_of(row).items():
                if name not in ("epoch", "step"):
                    self._writer.add_scalar(name, value, row["epoch"])


def finite_or_none(value: Any) -> float | None:
    """Return a number for a row of the log, None for one that is not finite or not there."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None

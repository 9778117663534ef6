"""What a run writes down: rows of metrics, the same for TensorBoard, and its summary."""

import shutil
from collections.abc import Mapping
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from semaug.runs.files import as_json, write_text
from semaug.runs.run import Run

__all__ = ["NUM_AVERAGED", "Record", "summarize"]

NUM_AVERAGED = 10  # the last so many tests give the error that is reported


class Record:
    """The files that hold a row for each epoch.

    Opened with the rows of the checkpoint that a run goes on from, it writes the files anew:
    rows that came after that checkpoint, or were torn by a kill, are gone.
    """

    def __init__(self, run: Run, rows: list[dict[str, Any]]) -> None:
        self._path = run.metrics
        write_text(self._path, "".join(as_json(row) + "\n" for row in rows))
        folder = run.folder / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        for row in rows:
            self._show(row)

    def add(self, row: dict[str, Any]) -> None:
        """Append the row of an epoch."""
        with self._path.open("a") as file:
            file.write(as_json(row) + "\n")
        self._show(row)

    def add_classes(self, errors: Mapping[str, float], epoch: int) -> None:
        """Show the error of each class, for TensorBoard alone: the summary holds them too."""
        for name, error in errors.items():
            self._writer.add_scalar(f"error_per_class/{name}", error, epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.close()

    def _show(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step") and value is not None:
                self._writer.add_scalar(name, value, row["epoch"])


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Reduce the rows of a finished run to the numbers that are reported.

    Errors of networks after the first have their number behind.

    >>> summarize([{"epoch": 1, "test_error": 4.0}, {"epoch": 2, "test_error": 3.0}])
    {'error_mean_last_10': 3.5, 'error_last': 3.0, 'error_best': 3.0, 'epochs': 2}
    """
    summary: dict[str, Any] = {}
    for name in rows[-1]:
        if not name.startswith("test_"):
            continue
        evaluated = [row[name] for row in rows if row.get(name) is not None]
        last = evaluated[-NUM_AVERAGED:]
        kind, _, behind = name.removeprefix("test_").partition("error")
        summary |= {
            f"{kind}error_mean_last_10{behind}": sum(last) / len(last),
            f"{kind}error_last{behind}": evaluated[-1],
            f"{kind}error_best{behind}": min(evaluated),
        }
    return {**summary, "epochs": rows[-1]["epoch"]}

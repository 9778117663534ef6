"""What a run writes down: rows of metrics, and the same for TensorBoard."""

import shutil
from collections.abc import Mapping
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from semaug.runs.files import as_json, write_text
from semaug.runs.run import Run


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

    def add_classes(self, values: Mapping[str, float], epoch: float) -> None:
        """Show the metric of each class, for TensorBoard alone: the summary holds them too."""
        for name, value in values.items():
            self._writer.add_scalar(f"by_class/{name}", value, epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.close()

    def _show(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step") and value is not None:
                self._writer.add_scalar(name, value, row["epoch"])

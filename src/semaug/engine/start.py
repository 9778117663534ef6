"""What a loop is started with: a run, where it is trained, and what is shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console

from semaug.data import DataSet, FileSet, ImageSet, LoadError, Selection
from semaug.data.registry import data_root
from semaug.engine.options import TrainOptions
from semaug.engine.processes import Processes
from semaug.errors import UserError, as_user_error
from semaug.runs.run import Run


@dataclass
class Start:
    """All that a loop needs from outside of its recipe.

    Args:
        run: What to train, and where to keep it; its recipe has no ``"auto"`` left.
        device: Where.
        processes: Those that train together.
        options: Of training.
        console: Where to show progress.
        report: Called with the state of the run, such as ``"starts"``, once it is known that
            nothing is missing or misspelt.
    """

    run: Run
    device: torch.device
    processes: Processes
    options: TrainOptions
    console: Console
    report: Callable[[str], None]
    images: tuple[DataSet, Selection] | None = None  # once they are loaded
    image: tuple[int, ...] | None = None  # shape of one as networks take it, once that is known

    @property
    def recipe(self) -> Any:
        """The recipe of the run."""
        return self.run.recipe

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.run.seed

    @property
    def fabric(self) -> Fabric:
        """The engine that knows devices, precision and processes."""
        return self.processes.fabric

    def load_data(self) -> DataSet:
        """Read the images of the recipe, choose among them and put them on the device.

        The session records which they are.

        Raises:
            FileNotFoundError: If there are no files; the message says how to fetch them.
            UserError: If the data set is damaged, or has fewer images than asked for.
        """
        with self.console.status("reading the images"):
            self.images = load_data(self.run, self.options, self.device)
        return self.images[0]


def load_data(run: Run, options: TrainOptions, device: torch.device) -> tuple[DataSet, Selection]:
    """Read the images of a run and put them on a device; see :meth:`Start.load_data`."""
    recipe = run.recipe
    with as_user_error("", ValueError, LoadError):
        data = recipe.data.load(data_root(options.data_root), options.workers)
    parts = [getattr(data, name, None) for name in ("train", "test")]
    if not all(isinstance(part, ImageSet | FileSet) for part in parts):
        raise UserError(
            "recipe: expected `data` to load a DataSet of two ImageSets, train and test, got "
            f"{type(data).__name__} of {' and '.join(type(part).__name__ for part in parts)}"
        )
    with as_user_error("recipe: ", ValueError):
        data, selection = recipe.subset.select(data, quick=run.quick)
    if len(data.test) == 0:
        raise UserError(
            f"recipe: data={data.name} has no images to test on; keep some of the training "
            "images back with hold_out=N"
        )
    return data.to(device), selection

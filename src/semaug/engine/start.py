"""What a loop is started with: a run, where it is trained, and what is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor

from semaug.data import (
    DataSet,
    FileSet,
    ImageSet,
    LoadError,
    Selection,
    describe_classes,
)
from semaug.data.near_duplicates import find_near_duplicates
from semaug.data.registry import data_root
from semaug.engine.display import show_reading
from semaug.engine.options import TrainOptions
from semaug.engine.processes import Processes
from semaug.errors import UserError, as_recipe_error, as_user_error
from semaug.export import BackboneReport
from semaug.runs.loggers import RunLogger
from semaug.runs.run import Run
from semaug.runs.words import say_once


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
        loggers: What gets the rows of the run too; of the first process.
        tests_again: Whether the run is finished, and tested again on the images that it saw.
    """

    run: Run
    device: torch.device
    processes: Processes
    options: TrainOptions
    console: Console
    report: Callable[[str], None]
    loggers: Sequence[RunLogger] = ()
    tests_again: bool = False
    images: tuple[DataSet, Selection] | None = None  # once they are loaded
    described: dict[str, Any] | None = None  # of a loop that loads images itself: `images.json`
    image: tuple[int, ...] | None = None  # shape of one as networks take it, once that is known
    whiten: Callable[[Tensor], Tensor] | None = None  # of images, where the recipe says so
    pretrained: dict[str, BackboneReport] = field(default_factory=dict)  # by network, likewise

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

        The session records which they are. What a person should know of them is shown before.

        Raises:
            FileNotFoundError: If there are no files; the message says how to fetch them.
            UserError: If the data set is damaged, or has fewer images than asked for; if a finished
                run saw others.
        """
        from semaug.engine.images import describe_images  # which imports this module

        with show_reading(self.console) as progress:
            self.images = load_data(
                *(self.run, self.options, self.device),
                lambda line: say_once(self.console, line),
                progress,
            )
        data, selection = self.images
        if self.tests_again:
            self.check_images(describe_images(selection, data))
        return data

    def check_images(self, now: Mapping[str, Any]) -> None:
        """Check that a finished run that is tested again saw the images of today.

        A loop that loads images itself calls it.

        Args:
            now: Description of the images, as the run wrote it to ``images.json``.

        Raises:
            UserError: If they are others.
        """
        from semaug.engine.images import check_recorded, read_images

        path = self.run.folder / "images.json"
        if self.tests_again and path.exists():  # a loop may read no images of the house
            check_recorded(self.run, read_images(path), now)


def load_data(
    run: Run,
    options: TrainOptions,
    device: torch.device,
    tell: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[DataSet, Selection]:
    """Read the images of a run and put them on a device; see :meth:`Start.load_data`.

    Args:
        run: The run.
        options: Of training, which name the data root.
        device: Where labels lie, and images that are kept in memory.
        tell: Called with what a person should know of the images, line by line.
        progress: Called with the number of images hashed to find near duplicates, and of all.
    """
    recipe = run.recipe
    with as_user_error("", ValueError, LoadError):
        data = recipe.data.load(data_root(options.data_root), options.workers)
    parts = [getattr(data, name, None) for name in ("train", "test")]
    if not all(isinstance(part, ImageSet | FileSet) for part in parts):
        raise UserError(
            "recipe: expected `data` to load a DataSet of two ImageSets, train and test, got "
            f"{type(data).__name__} of {' and '.join(type(part).__name__ for part in parts)}"
        )
    for note in data.notes:
        tell(note)
    keeps_duplicates = getattr(recipe.subset, "keeps_duplicates", False) and not run.quick
    if keeps_duplicates and isinstance(data.train, FileSet):
        find_near_duplicates([data.train], progress=progress)  # which are known from here on
    told = len(data.notes)
    with as_recipe_error():
        data, selection = recipe.subset.select(data, quick=run.quick, seed=run.seed)
    for note in data.notes[told:]:
        tell(note)
    method: Any = getattr(recipe, "method", None)
    if hasattr(method, "other_images"):
        data = replace(data, others=method.other_images(run, data, selection, tell))
    if getattr(recipe.data, "is_users_own", False):
        tell(f"{len(data.train):,} images to train on, of {describe_classes(data.train)}")
    return data.to(device), selection

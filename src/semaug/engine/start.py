"""What a loop is started with: a run, where it is trained, and what is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor

from semaug.data import DataSet, Selection
from semaug.engine.data import load_data
from semaug.engine.display import show_reading
from semaug.engine.images import (
    check_recorded,
    describe_images,
    read_images,
    record_description,
    record_images,
)
from semaug.engine.options import TrainOptions
from semaug.engine.pretrained import record_pretrained
from semaug.engine.processes import Processes
from semaug.engine.whitening import keep_whitening
from semaug.export import BackboneReport
from semaug.runs.files import remove_partial_files
from semaug.runs.folder import write_start
from semaug.runs.loggers import RunLogger
from semaug.runs.read import Measure
from semaug.runs.run import Run
from semaug.runs.words import say, say_once


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

    def record(self, measures: Sequence[Measure]) -> list[dict[str, Any]]:
        """Write into the folder of the run what is trained, where, and on which images.

        The session calls it in the first process, once the networks are built.

        Args:
            measures: What is measured in tests.

        Returns:
            All starts of the run so far, see :func:`semaug.runs.folder.write_start`.

        Raises:
            OSError: If the disk does not take it.
            UserError: If the folder says that the run began with another recipe or other images.
        """
        remove_partial_files(self.run.folder)
        starts = write_start(self.run, self.device, measures)
        _warn_of_another_device(self.console, starts)
        if self.images is not None:
            whitening = keep_whitening(self.run, self.whiten)
            record_images(self.run, *self.images, self.image, whitening)
        elif self.described is not None:
            record_description(self.run, self.described)
        record_pretrained(self.run, self.pretrained, self.console)
        return starts

    def check_images(self, now: Mapping[str, Any]) -> None:
        """Check that a finished run that is tested again saw the images of today.

        A loop that loads images itself calls it.

        Args:
            now: Description of the images, as the run wrote it to ``images.json``.

        Raises:
            UserError: If they are others.
        """
        path = self.run.folder / "images.json"
        if self.tests_again and path.exists():  # a loop may read no images of the house
            check_recorded(self.run, read_images(path), now)


def _warn_of_another_device(console: Console, starts: Sequence[Mapping[str, Any]]) -> None:
    """Say that a run goes on elsewhere: it will not end bit for bit where it would have ended."""
    devices = [start.get("device") for start in starts[-2:]]
    if devices[0] != devices[-1]:
        say(
            console,
            f"warning: this run began on {devices[0]} and goes on with {devices[-1]}; rounding "
            "will make its result differ from that of an uninterrupted run",
            style="yellow",
        )

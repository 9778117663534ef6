"""Test the networks of a run on images that were augmented in several ways."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from torch import Tensor

from semaug.data import ImageSet, explain_worker_death
from semaug.data.registry import data_root as find_data_root
from semaug.engine.trained import Trained, load_trained
from semaug.errors import UserError, as_user_error
from semaug.runs.files import read_json
from semaug.transfer.answers import Answers, Sums, count_correct
from semaug.transfer.corruptions import find_corruptions
from semaug.transfer.result import Corrupted, Notes, Transfer
from semaug.transfer.sets import (
    SetMaker,
    choose_padding,
    load_test_sets,
    sum_of_images,
)

__all__ = ["measure_transfer", "transfer_accuracies"]


def measure_transfer(
    folder: str | Path,
    *,
    data_root: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    hue: float = 0.0,
    corruptions: Path | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Transfer:
    """Test the networks of a finished run, or read what an earlier call found.

    What is found is kept as ``transfer.json`` in the folder of the run, and holds for the
    weights that lie there, the seed, ``hue`` and the corrupted images.

    Args:
        folder: Of the run.
        data_root: Folder of the data sets; None is as in :func:`semaug.data.load_data`. The
            test sets of images in memory are kept in ``transfer`` there, or beside the runs if
            that cannot be. Those of images in files are made while they are tested.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seed: Of the test sets, not of the run.
        hue: Most that ``random_color`` turns hues by; 0 in the paper.
        corruptions: Folder of corrupted images, see :func:`semaug.transfer.find_corruptions`.
        workers: Processes that decode images in files; None is one for each core but one.
        console: Where to show progress; None shows none.

    Returns:
        Of the first network; ``others`` has those that trained beside it.

    Raises:
        FileNotFoundError: If the data is missing.
        OSError: If the disk does not take what is written, or an image cannot be read.
        TypeError: If ``seed`` or ``hue`` is not a number.
        UserError: If the run is not finished, a file is damaged, or a process that decodes was
            killed.
        ValueError: If ``seed`` or ``hue`` is out of range.
    """
    folder = Path(folder)
    notes = Notes(folder)
    trained: Trained | None = None
    networks = notes.test_sets(seed, hue)
    with _naming_deaths():
        if networks is None or len(networks) < _count_networks(folder):
            trained = load_trained(folder, data_root, device, workers)
            batches = _batches_of_sets(trained, _folders(data_root, folder), seed, hue)
            with _progress(console, trained.label, len(trained.data.test)) as advance:
                networks = _test_on_sets(trained, batches, advance)
            notes.add_test_sets(seed, hue, networks, _sum_of(trained))
        if corruptions is not None:
            corrupted = notes.corrupted(corruptions)
            if corrupted is None or len(corrupted) < len(networks):
                trained = trained or load_trained(folder, data_root, device, workers)
                corrupted = _test_on_corruptions(trained, corruptions, console)
                notes.add_corrupted(corruptions, corrupted)
            pairs = zip(networks, corrupted, strict=True)
            networks = [replace(network, corrupted=own) for network, own in pairs]
    return replace(networks[0], others=tuple(networks[1:]))


def transfer_accuracies(folder: str | Path) -> dict[str, float] | None:
    """Read what :func:`measure_transfer` found of the first network with the paper's settings.

    Args:
        folder: Of a run.

    Returns:
        Accuracies in percent, for each name in :data:`semaug.transfer.TEST_SETS`; None if they
        were not measured, or of other weights than lie in the folder.

    Raises:
        UserError: If the file is damaged.
    """
    found = Notes(Path(folder)).test_sets(seed=0, hue=0.0)
    return None if found is None else dict(found[0].accuracies)


def _batches_of_sets(
    trained: Trained, folders: Sequence[Path], seed: int, hue: float
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield the test sets side by side and their labels, in the batches of the run's own test."""
    test = trained.data.test
    if isinstance(test, ImageSet):
        sets = load_test_sets(test.images, trained.recipe.data, folders, seed=seed, hue=hue)
        for rows in torch.arange(len(test)).split(trained.recipe.evaluation_batch_size):
            labels = test.labels[rows.to(test.labels.device)]
            yield {name: images[rows] for name, images in sets.items()}, labels
        return
    side = trained.pipeline.example_images().shape[-1]
    padding = choose_padding(trained.data, side)
    make = SetMaker(len(test), seed=seed, hue=hue, padding=padding)
    for batch in trained.test_pixels():
        yield make(batch.pixels, batch.positions), batch.labels


def _test_on_sets(
    trained: Trained,
    batches: Iterator[tuple[dict[str, Tensor], Tensor]],
    advance: Callable[[int], None],
) -> list[Transfer]:
    """Predict all sets side by side, so that no image is needed twice, by each network."""
    sums = [Sums() for _ in range(trained.num_networks)]
    for sets, labels in batches:
        outputs: list[dict[str, Answers]] = [{} for _ in sums]
        for name, images in sets.items():
            prepared = trained.prepare(images)
            for network, own in enumerate(outputs):
                own[name] = trained.predict_with_features(prepared, network)
        for one, own in zip(sums, outputs, strict=True):
            one.add(own, labels)
        advance(len(labels))
    return [one.means() for one in sums]


def _test_on_corruptions(
    trained: Trained, folder: Path, console: Console | None
) -> list[Corrupted]:
    found = find_corruptions(folder, trained)
    networks: list[dict[str, list[float]]] = [{} for _ in range(trained.num_networks)]
    num_images = len(found.names) * found.num_severities * found.num_images
    with _progress(console, f"{trained.label}, corrupted", num_images) as advance:
        for name in found.names:
            for severity in range(found.num_severities):
                correct = _count_all(trained, found.batches(name, severity), advance)
                for own, count in zip(networks, correct, strict=True):
                    own.setdefault(name, []).append(100 * count / found.num_images)
    return [Corrupted(own, _mean_of_all(own)) for own in networks]


def _count_all(
    trained: Trained,
    batches: Iterator[tuple[Tensor, Tensor]],
    advance: Callable[[int], None],
) -> list[int]:
    """Count the images that each network classifies correctly."""
    correct = [0] * trained.num_networks
    for images, labels in batches:
        prepared = trained.prepare(images)
        for network in range(len(correct)):
            correct[network] += count_correct(trained.predict(prepared, network), labels)
        advance(len(labels))
    return correct


def _mean_of_all(accuracies: Mapping[str, list[float]]) -> float:
    every = [value for values in accuracies.values() for value in values]
    return sum(every) / len(every)


def _sum_of(trained: Trained) -> str:
    """Return what tells the test images from others: of those in files the sum of their names.

    It is that in ``images.json``. To read all files would take as long as to test on them.
    """
    test = trained.data.test
    if isinstance(test, ImageSet):
        return sum_of_images(test.images)
    return trained.sums["test_files"]


def _count_networks(folder: Path) -> int:
    """Return how many networks a run trained, by its summary; 1 if there is none to tell."""
    path = folder / "summary.json"
    if not path.exists():
        return 1
    summary = read_json(path, "restore a copy of it")
    with as_user_error(f"{path}: expected the summary of a run: ", AttributeError, TypeError):
        return 1 + len(summary["recipe"].get("method", {}).get("peers", ()))


@contextmanager
def _naming_deaths() -> Iterator[None]:
    """Say what to do where torch reports, wherever we are, that a process was killed."""
    try:
        yield
    except RuntimeError as error:
        explained = explain_worker_death(error)
        if explained is None:
            raise
        raise UserError(f"transfer: {explained}") from error


def _folders(data_root: Path | None, run: Path) -> list[Path]:
    """Return where test sets may be kept: beside the data, if it has a folder, or the runs."""
    root = find_data_root(data_root)
    beside_runs = run.resolve().parent.parent
    return [place / "transfer" for place in (root, beside_runs) if place.is_dir()]


@contextmanager
def _progress(
    console: Console | None, description: str, total: int
) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs, on a terminal."""
    hidden = console is None or not console.is_terminal
    columns = (
        BarColumn(bar_width=10),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)

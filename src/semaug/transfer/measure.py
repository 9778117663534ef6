"""Test a trained network on images that were augmented in several ways, and compare its answers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from torch import Tensor

from semaug.data.registry import data_root as find_data_root
from semaug.training.trained import Trained, load_trained
from semaug.transfer.corruptions import find_corruptions, images_in_memory
from semaug.transfer.result import PAIRS, Corrupted, Notes, Transfer
from semaug.transfer.sets import load_test_sets, sum_of_images

__all__ = ["measure_transfer", "symmetric_divergence", "transfer_accuracies"]

# N images, C classes, A features.


def measure_transfer(
    folder: str | Path,
    *,
    data_root: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    hue: float = 0.0,
    corruptions: Path | None = None,
    console: Console | None = None,
) -> Transfer:
    """Test the network of a finished run, or read what an earlier call found.

    What is found is kept as ``transfer.json`` in the folder of the run, and holds for the
    weights that lie there, the seed, ``hue`` and the corrupted images.

    Args:
        folder: Of the run.
        data_root: Folder of the data sets; None is as in :func:`semaug.data.load_data`. The
            test sets are kept in ``transfer`` there, or beside the runs if that cannot be.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seed: Of the test sets, not of the run.
        hue: Most that ``random_color`` turns hues by; 0 in the paper.
        corruptions: Folder of corrupted images, see :func:`semaug.transfer.find_corruptions`.
        console: Where to show progress; None shows none.

    Raises:
        FileNotFoundError: If the data is missing.
        OSError: If the disk does not take what is written.
        TypeError: If ``seed`` or ``hue`` is not a number.
        UserError: If the run is not finished, its images lie in files, or a file is damaged.
        ValueError: If ``seed`` or ``hue`` is out of range.
    """
    folder = Path(folder)
    notes = Notes(folder)
    trained: Trained | None = None
    on_sets = notes.test_sets(seed, hue)
    if on_sets is None:
        trained = load_trained(folder, data_root, device)
        images = images_in_memory(trained.data).images
        sets = load_test_sets(
            images, trained.recipe.data, _folders(data_root, folder), seed=seed, hue=hue
        )
        with _progress(console, trained.label, len(images)) as advance:
            on_sets = _test_on_sets(trained, sets, advance)
        notes.add_test_sets(seed, hue, on_sets, sum_of_images(images))
    if corruptions is None:
        return on_sets
    corrupted = notes.corrupted(corruptions)
    if corrupted is None:
        trained = trained or load_trained(folder, data_root, device)
        corrupted = _test_on_corruptions(trained, corruptions, console)
        notes.add_corrupted(corruptions, corrupted)
    return Transfer(on_sets.accuracies, on_sets.divergences, on_sets.distances, corrupted)


def transfer_accuracies(folder: str | Path) -> dict[str, float] | None:
    """Read the accuracies that :func:`measure_transfer` found with the settings of the paper.

    Args:
        folder: Of a run.

    Returns:
        In percent, for each name in :data:`semaug.transfer.TEST_SETS`; None if they were not
        measured, or of other weights than lie in the folder.

    Raises:
        UserError: If the file is damaged.
    """
    found = Notes(Path(folder)).test_sets(seed=0, hue=0.0)
    return None if found is None else dict(found.accuracies)


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return ``KL(p1 || p2) + KL(p2 || p1)`` of the predictions for each image, Eq. (1) of AIT.

    Args:
        first: Logits ``(N, C)``.
        second: Logits ``(N, C)``.

    Returns:
        ``(N,)`` float64, never negative.

    >>> symmetric_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.0
    """
    log_first, log_second = first.double().log_softmax(1), second.double().log_softmax(1)
    # Both factors of a term have the same sign, so that nothing cancels.
    return ((log_first.exp() - log_second.exp()) * (log_first - log_second)).sum(1)


def _test_on_sets(
    trained: Trained, sets: Mapping[str, Tensor], advance: Callable[[int], None]
) -> Transfer:
    """Predict all sets side by side, batch by batch, in the batches of the run's own test."""
    labels = trained.data.test.labels
    correct = dict.fromkeys(sets, 0)
    divergences = dict.fromkeys(PAIRS, 0.0)
    distances: dict[tuple[str, str], float] | None = dict.fromkeys(PAIRS, 0.0)
    for rows in torch.arange(len(labels)).split(trained.recipe.evaluation_batch_size):
        logits, features = {}, {}
        for name, images in sets.items():
            prepared = trained.prepare(images[rows])
            logits[name], features[name] = trained.predict_with_features(prepared)
            correct[name] += _count_correct(logits[name], labels[rows.to(labels.device)])
        for first, second in PAIRS:
            both = symmetric_divergence(logits[first], logits[second])
            divergences[first, second] += float(both.sum())
            distance = _distance(features[first], features[second])
            if distance is None:
                distances = None
            if distances is not None and distance is not None:
                distances[first, second] += float(distance.sum())
        advance(len(rows))
    return Transfer(
        {name: 100 * count / len(labels) for name, count in correct.items()},
        _means(divergences, len(labels)),
        None if distances is None else _means(distances, len(labels)),
    )


def _distance(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return None
    return (first.double() - second.double()).flatten(1).norm(dim=1)


def _means(sums: Mapping[tuple[str, str], float], count: int) -> dict[str, float]:
    return {",".join(pair): total / count for pair, total in sums.items()}


def _count_correct(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(dim=1) == labels.to(logits.device)).sum())


def _test_on_corruptions(trained: Trained, folder: Path, console: Console | None) -> Corrupted:
    found = find_corruptions(folder, trained.data)
    accuracies: dict[str, list[float]] = {name: [] for name in found.names}
    steps = len(found.names) * found.num_severities
    with _progress(console, f"{trained.label}, corrupted", steps) as advance:
        for name, values in accuracies.items():
            for severity in range(found.num_severities):
                values.append(_accuracy(trained, *found.load(name, severity)))
                advance(1)
    every = [value for values in accuracies.values() for value in values]
    return Corrupted(accuracies, sum(every) / len(every))


def _accuracy(trained: Trained, images: Tensor, labels: Tensor) -> float:
    correct = 0
    batch_size = trained.recipe.evaluation_batch_size
    for some, wanted in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        correct += _count_correct(trained.predict(trained.prepare(some)), wanted)
    return 100 * correct / len(labels)


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

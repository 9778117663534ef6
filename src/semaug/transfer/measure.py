"""Test the predictors of a run on images that were augmented in several ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean

from rich.console import Console

from semaug.data import ImageSet, explain_worker_death
from semaug.engine.display import show_bar
from semaug.engine.options import TrainOptions
from semaug.engine.trained import Trained, load_trained
from semaug.errors import UserError
from semaug.runs.read import is_untested, load_summary, measure_of
from semaug.transfer.answers import Answers, Sums, count_correct
from semaug.transfer.corruptions import find_corruptions, fingerprint
from semaug.transfer.result import Corrupted, Notes, Transfer
from semaug.transfer.sets import SetMaker, choose_padding, sum_of_images


def measure_transfer(
    folder: str | Path,
    options: TrainOptions | None = None,
    *,
    seed: int = 0,
    hue: float = 0.0,
    corruptions: Path | None = None,
    console: Console | None = None,
) -> dict[str, Transfer]:
    """Test the predictors of a finished run, or read what an earlier call found.

    What is found is kept as ``transfer.json`` in the folder of the run, and holds for the
    weights that lie there, the seed, ``hue`` and the corrupted images.

    Args:
        folder: Of a run that classifies images: its main metric is their error or accuracy.
        options: Data root, device, and processes that decode images in files.
        seed: Of the test sets, not of the run.
        hue: Most that ``random_color`` turns hues by; 0 in the paper.
        corruptions: Folder of corrupted images, see :func:`semaug.transfer.find_corruptions`.
        console: Where to show progress; None shows none.

    Returns:
        By name of the predictor, the main one, ``""``, first.

    Raises:
        FileNotFoundError: If the data is missing.
        OSError: If the disk does not take what is written, or an image cannot be read.
        TypeError: If ``seed`` or ``hue`` is not a number.
        UserError: If the run is not finished, classifies no images or has none to test on, a file
            is damaged, code of the run was changed since, or a process that decodes was killed.
        ValueError: If ``seed`` or ``hue`` is out of range.
    """
    folder, options = Path(folder), options or TrainOptions()
    summary = load_summary(folder)
    if is_untested(summary):
        raise UserError(f"transfer: {folder}: expected a run with test images, got one without")
    name = measure_of(summary).name
    if name not in ("error", "accuracy"):
        raise UserError(
            f"transfer: {folder}: expected a run with a test error, got one with {name}"
        )
    notes = Notes(folder)
    found = notes.read("test_sets", _key(seed, hue), Transfer)
    corrupted = None
    if corruptions is not None:
        place, files = str(corruptions.resolve()), fingerprint(corruptions)
        corrupted = notes.read("corrupted", place, Corrupted, files=files)
    with _naming_deaths():
        if found is None or (corrupted is None and corruptions is not None):
            trained = load_trained(folder, options)
            if trained.data.has_masks or not trained.data.has_bytes:
                what = "masks" if trained.data.has_masks else "images that are no bytes"
                raise UserError(f"transfer: {folder}: expected a label for each image, got {what}")
        if found is None:
            found = _test_on_sets(trained, seed, hue, console)
            notes.add("test_sets", _key(seed, hue), found, images=_sum_of(trained))
        if corruptions is not None:
            if corrupted is None:
                corrupted = _test_on_corruptions(trained, corruptions, console)
                notes.add("corrupted", place, corrupted, files=files)
            found = {key: replace(one, corrupted=corrupted[key]) for key, one in found.items()}
    return found


def transfer_accuracies(folder: str | Path) -> dict[str, float] | None:
    """Read what :func:`measure_transfer` found of the main predictor with the paper's settings.

    Args:
        folder: Of a run.

    Returns:
        Accuracies in percent, for each name in :data:`semaug.transfer.TEST_SETS`; None if they
        were not measured, or of other weights than lie in the folder.

    Raises:
        UserError: If the file is damaged.
    """
    found = Notes(Path(folder)).read("test_sets", _key(0, 0.0), Transfer)
    return None if found is None else dict(found[""].accuracies)


def _key(seed: int, hue: float) -> str:
    return f"crop=1/8,seed={seed},hue={float(hue)!r}"


def _test_on_sets(
    trained: Trained, seed: int, hue: float, console: Console | None
) -> dict[str, Transfer]:
    """Predict all sets side by side, so that no image is needed twice, by each predictor."""
    num_images = len(trained.data.test)
    padding = choose_padding(trained.example_pixels())
    make = SetMaker(num_images, seed=seed, hue=hue, padding=padding)
    sums = {predictor: Sums() for predictor in trained.predictors}
    with show_bar(console, trained.label, num_images) as advance:
        for batch in trained.test_pixels():
            answers: dict[str, dict[str, Answers]] = {predictor: {} for predictor in sums}
            for name, images in make(batch.pixels.cpu(), batch.positions).items():
                prepared = trained.prepare(images)
                for predictor, own in answers.items():
                    own[name] = trained.predict_with_features(prepared, predictor)
            for predictor, own in answers.items():
                sums[predictor].add(own, batch.labels)
            advance(len(batch.labels))
    return {predictor: own.means() for predictor, own in sums.items()}


def _test_on_corruptions(
    trained: Trained, folder: Path, console: Console | None
) -> dict[str, Corrupted]:
    found = find_corruptions(folder, trained)
    accuracies: dict[str, dict[str, list[float]]] = {name: {} for name in trained.predictors}
    num_images = len(found.names) * found.num_severities * found.num_images
    with show_bar(console, f"{trained.label}, corrupted", num_images) as advance:
        for name in found.names:
            for severity in range(found.num_severities):
                correct = dict.fromkeys(accuracies, 0)
                for images, labels in found.batches(name, severity):
                    prepared = trained.prepare(images)
                    for predictor in correct:
                        logits = trained.logits(prepared, predictor)
                        correct[predictor] += int(count_correct(logits, labels))
                    advance(len(labels))
                for predictor, count in correct.items():
                    share = 100 * count / found.num_images
                    accuracies[predictor].setdefault(name, []).append(share)
    return {
        predictor: Corrupted(own, mean([value for values in own.values() for value in values]))
        for predictor, own in accuracies.items()
    }


def _sum_of(trained: Trained) -> str:
    """Return what tells the test images from others: of those in files the sum of their names.

    It is that in ``images.json``. To read all files would take as long as to test on them.
    """
    test = trained.data.test
    return sum_of_images(test.images) if isinstance(test, ImageSet) else trained.sums["test_files"]


@contextmanager
def _naming_deaths() -> Iterator[None]:
    """Say what to do where torch reports, wherever we are, that a process was killed."""
    try:
        yield
    except RuntimeError as error:
        if explained := explain_worker_death(error):
            raise UserError(f"transfer: {explained}") from error
        raise

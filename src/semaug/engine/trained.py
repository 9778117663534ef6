"""Trained networks: what a finished run folder holds, ready to be asked about images."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from semaug.augmentation import ZCA
from semaug.average import WeightAverage
from semaug.data import DataSet, FileSet, ImageSet, LoadedBatch, LoadError
from semaug.engine.build import build_data, build_method
from semaug.engine.device import choose_device, count_workers, operators
from semaug.engine.evaluate import Wrong, count_wrong
from semaug.engine.images import describe_images
from semaug.engine.pipeline import Pipeline
from semaug.engine.processes import Processes
from semaug.errors import UserError, as_user_error
from semaug.features import WithFeatures, with_features
from semaug.methods import Mutual
from semaug.recipe.recipe import Recipe
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.files import read_json
from semaug.runs.run import label

__all__ = ["Trained", "load_trained", "recipe_from_plain_data"]

# N images, C classes, A features, H and W pixels.

_WHITENED_AT_ONCE = 1000  # as the pipeline does
_REMEDY = "restore a copy of it, or delete it and train the run with --resume, which writes it anew"


@dataclass(frozen=True, eq=False)
class Trained:
    """The networks of a finished run in evaluation mode, on their device, with its images.

    There is one, or several that trained together: the recipe's own, then its peers. The weights
    are those that the run tested in its last epoch: averaged ones where the recipe says so.

    Args:
        folder: Of the run.
        label: Name of the recipe with its changes.
        seed: Of the run.
        recipe: With all changes.
        method: What was trained; ``method.predict(images)`` returns logits.
        pipeline: Prepares images; it holds those of the run.
        processes: This one; its engine knows the precision.
        sums: Of the images, as ``images.json`` of a run has them.
        workers: Processes that decode images in files while they are tested; 0 decodes in this one.
    """

    folder: Path
    label: str
    seed: int
    recipe: Recipe
    method: nn.Module
    pipeline: Pipeline
    processes: Processes
    sums: Mapping[str, str]
    workers: int = 0

    @property
    def num_networks(self) -> int:
        """How many networks trained together."""
        return self.recipe.method.num_networks

    @property
    def data(self) -> DataSet:
        """The images that the run was trained and tested on, those in memory on the device."""
        return self.pipeline.data

    def prepare(self, images: Tensor) -> Tensor:
        """Turn images into what the network takes: normalized, or whitened, as in training.

        Args:
            images: ``(N, 3, H, W)`` uint8, of the size that the run has; on any device.

        Returns:
            ``(N, 3, H, W)`` on the device of the run.
        """
        images = images.to(self.pipeline.device)
        if self._whiten is not None:
            images = torch.cat([self._whiten(piece) for piece in images.split(_WHITENED_AT_ONCE)])
        return self.pipeline.prepare(images)

    def predict(self, images: Tensor, network: int = 0) -> Tensor:
        """Return logits ``(N, C)``, without gradients, in the precision of the run.

        Args:
            images: ``(N, 3, H, W)`` as :meth:`prepare` returns them.
            network: Which of several, counted from 0.
        """
        with self._mode():
            logits: Tensor = self._predicting[network](images)
        return logits

    def predict_with_features(
        self, images: Tensor, network: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Return logits ``(N, C)`` and the features ``(N, A)`` that the classifier received.

        Features are None where no one layer makes the logits: where they are the mean of those
        of several networks, say.

        Args:
            images: ``(N, 3, H, W)`` as :meth:`prepare` returns them.
            network: Which of several, counted from 0.
        """
        with_features = self._with_features[network]
        if with_features is None:
            return self.predict(images, network), None
        with self._mode():
            logits, features = with_features(images)
        return logits, features

    def test_pixels(self, places: Tensor | None = None) -> Iterator[LoadedBatch]:
        """Yield test images as :meth:`prepare` takes them, in the batches of the run's own test.

        Those in files as its test sees them: resized, and their middle cut out.

        Args:
            places: ``(n,)`` int64, which images; None is all of them in order.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        if places is None:
            places = torch.arange(len(self.data.test))
        with self.pipeline, as_user_error("", ValueError, LoadError):
            yield from self.pipeline.test_loader.epoch(places)

    def with_test_images(self, files: FileSet) -> "Trained":
        """Return the same networks with other test images, seen as those of the run.

        Args:
            files: Of the classes of the run, whose own images lie in files too.
        """
        data = replace(self.data, test=files.to(self.pipeline.device))
        return replace(self, pipeline=Pipeline(self.recipe, data, self.workers))

    def test_error(self) -> float:
        """Return the first network's test error, see :meth:`test_errors`."""
        return self.test_errors()[0]

    def test_errors(self) -> list[float]:
        """Return each network's test error in percent, that of the last epoch of the run.

        Exactly, on the same device and, on a CPU, with the same number of threads; but for
        rounding where the run was compiled, which this is not.

        Raises:
            OSError: If images lie in files, and one cannot be read.
            UserError: If such a file is damaged.
        """

        def predict(images: Tensor) -> Tensor:
            return torch.stack([self.predict(images, k) for k in range(self.num_networks)])

        labels = self.data.test.labels
        wrong = Wrong.none(self.num_networks, self.data.num_classes, labels.device)
        with self.pipeline:
            count_wrong(predict, self.pipeline.test_batches(), wrong)
        return [100 * missed / len(labels) for missed in wrong.by_class.sum(dim=1).tolist()]

    @contextmanager
    def _mode(self) -> Iterator[None]:
        """Compute as the run did when it tested."""
        with (
            operators(self.pipeline.device, deterministic=self.recipe.deterministic),
            self.processes.fabric.autocast(),
            torch.no_grad(),
        ):
            yield

    @cached_property
    def _whiten(self) -> ZCA | None:
        if self.pipeline.white is None:
            return None
        assert isinstance(self.data.train, ImageSet)
        return ZCA.fit(self.data.train.images)

    @cached_property
    def _predicting(self) -> tuple["_Predicting", ...]:
        return tuple(_Predicting(self.method, network) for network in range(self.num_networks))

    @cached_property
    def _with_features(self) -> tuple[WithFeatures | None, ...]:
        # Of what predicts, not of a network by its name: a prediction may be that of several.
        example_images = self.pipeline.example_images()
        return tuple(_find_features(each, example_images) for each in self._predicting)


class _Predicting(nn.Module):
    """Calls ``predict`` of a method as its forward, or another network than the first."""

    def __init__(self, method: nn.Module, network: int) -> None:
        super().__init__()
        self.method = method
        self.network = network
        self.training = method.training

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor
        if self.network == 0:
            logits = self.method.predict(images)  # type: ignore[operator]
            return logits
        assert isinstance(self.method, Mutual)
        output = self.method.networks[self.network](images)
        logits = output[0] if self.method.needs_features else output
        return logits


def _find_features(predicting: _Predicting, example_images: Tensor) -> WithFeatures | None:
    try:
        return with_features(predicting, example_images=example_images)
    except ValueError:
        return None


def load_trained(
    folder: str | Path,
    data_root: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Trained:
    """Load the networks of a finished run, with the images they were trained and tested on.

    Args:
        folder: Of the run, such as ``runs/digits_resnet8/seed0``.
        data_root: Folder of the data sets; None is as in :func:`semaug.data.load_data`.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        workers: Processes that decode images that lie in files; None is one for each core but
            one. How many there are changes no result.

    Raises:
        FileNotFoundError: If the data is missing.
        UserError: If the folder holds no finished run, something in it is damaged or was written
            by another version, or the images are not those of the run.

    >>> from semaug.engine.trained import load_trained
    >>> load_trained("nowhere")
    Traceback (most recent call last):
    semaug.errors.UserError: nowhere: expected the folder of a run, got no such folder
    """
    folder = Path(folder)
    summary = _finished(folder)
    path = folder / "summary.json"
    with as_user_error(f"{path}: expected the summary of a run; {_REMEDY}: ", KeyError, TypeError):
        recipe = recipe_from_plain_data(summary["recipe"])
        name = label(summary["name"], summary["overrides"], summary["quick"])
        seed = int(summary["seed"])
        quick = bool(summary["quick"])
    place = choose_device(device)
    data, selection = build_data(recipe, data_root, place, quick=quick, workers=workers)
    sums = describe_images(selection, data)["sha256"]
    _check_images(folder, sums, data.name)
    num_workers = count_workers(workers)
    pipeline = Pipeline(recipe, data, num_workers)
    num_steps = recipe.epochs * math.ceil(len(data.train) / recipe.batch_size)
    build = partial(build_method, recipe, data, pipeline.example_images())
    with torch.random.fork_rng(devices=[]):
        method = build(seed=seed, num_steps=num_steps)
    method.to(place, pipeline.dtype).to(memory_format=pipeline.layout)
    _load_weights(folder / "checkpoint.pt", recipe, method)
    method.eval().requires_grad_(False)
    processes = Processes(place, recipe.precision)
    return Trained(folder, name, seed, recipe, method, pipeline, processes, sums, num_workers)


def recipe_from_plain_data(plain: Mapping[str, Any]) -> Recipe:
    """Undo :meth:`semaug.recipe.recipe.Recipe.as_plain_data`; what is absent takes its default.

    Raises:
        UserError: If a field is unknown or a value out of range.

    >>> from semaug.recipes import find_recipe
    >>> recipe = find_recipe("digits_resnet8_isda")
    >>> recipe_from_plain_data(recipe.as_plain_data()) == recipe
    True
    """
    recipe: Recipe = _rebuild(Recipe, plain)
    return recipe


def _rebuild(hint: Any, value: Any) -> Any:
    """Make of plain data what a hint says: dataclasses of dicts, tuples of lists."""
    if isinstance(value, Mapping):
        kind: Any = next(kind for kind in (hint, *get_args(hint)) if is_dataclass(kind))
        known = {field.name for field in fields(kind)}
        if unknown := sorted(value.keys() - known):
            raise UserError(
                f"recipe: expected fields that this version knows, got {', '.join(unknown)}"
            )
        hints = get_type_hints(kind)
        return kind(**{name: _rebuild(hints[name], part) for name, part in value.items()})
    if isinstance(value, list):
        inner = next((kind for kind in get_args(hint) if kind is not Ellipsis), None)
        return tuple(_rebuild(inner, part) for part in value)
    return value


def _finished(folder: Path) -> dict[str, Any]:
    """Return the summary of a run.

    Raises:
        UserError: If the run is not finished, or this is the folder of none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the folder of a run, got no such folder")
    path = folder / "summary.json"
    if path.exists():
        summary: dict[str, Any] = read_json(path, _REMEDY)
        return summary
    rows = folder / "metrics.jsonl"
    if not rows.exists():
        raise UserError(f"{folder}: expected the folder of a run, got one without summary.json")
    done = len(rows.read_bytes().splitlines())
    raise UserError(
        f"{folder}: expected a finished run, got one that has done {done} epochs; go on with it by "
        "semaug train and --resume"
    )


def _check_images(folder: Path, now: Mapping[str, str], name: str) -> None:
    """Compare the images of a data set with those of the run; early runs did not describe theirs.

    Args:
        folder: Of the run.
        now: Sums of the images that there are.
        name: Of the data set.
    """
    path = folder / "images.json"
    if not path.exists():
        return
    before = read_json(path, "restore a copy of it, or delete it").get("sha256", {})
    if any(now.get(part, total) != total for part, total in before.items()):
        raise UserError(
            f"{path}: the run saw other images than data={name} has now; restore the data "
            "set, or name its folder with --data-root"
        )


def _load_weights(path: Path, recipe: Recipe, method: nn.Module) -> None:
    """Give a method the weights that were tested last.

    Raises:
        UserError: If the checkpoint is missing, damaged, or of an unfinished run.
    """
    if not path.exists():
        raise UserError(f"{path}: expected the weights of the run, got no such file")
    state = load_checkpoint(path)
    if state["epoch"] != recipe.epochs:
        raise UserError(
            f"{path}: expected the weights after epoch {recipe.epochs}, got those after epoch "
            f"{state['epoch']}"
        )
    context = f"{path}: holds the state of another version: "
    with as_user_error(context, KeyError, RuntimeError, ValueError):
        method.load_state_dict(state["method"])
        if recipe.ema_decay is not None:
            network = method.get_submodule("network")
            average = WeightAverage(network, recipe.ema_decay)
            average.load_state_dict(state["average"])
            network.load_state_dict(average.averaged.state_dict())

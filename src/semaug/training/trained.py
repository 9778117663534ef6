"""A trained network: what a finished run folder holds, ready to be asked about images."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from semaug.augmentation import ZCA
from semaug.data import DataSet, ImageSet, Selection
from semaug.features import WithFeatures, with_features
from semaug.training.average import WeightAverage
from semaug.training.build import build_data, build_method
from semaug.training.checkpoint import load_checkpoint
from semaug.training.device import choose_device, operators
from semaug.training.errors import UserError, as_user_error
from semaug.training.files import read_json
from semaug.training.images import describe_images
from semaug.training.pipeline import Pipeline
from semaug.training.processes import Processes
from semaug.training.recipe import Recipe
from semaug.training.run import label

__all__ = ["Trained", "load_trained", "recipe_from_plain_data"]

# N images, C classes, A features, H and W pixels.

_WHITENED_AT_ONCE = 1000  # as the pipeline does
_REMEDY = "restore a copy of it, or delete it and train the run with --resume, which writes it anew"


@dataclass(frozen=True, eq=False)
class Trained:
    """The network of a finished run in evaluation mode, on its device, with its images.

    Its weights are those that the run tested in its last epoch: averaged ones where the recipe
    says so.

    Args:
        folder: Of the run.
        label: Name of the recipe with its changes.
        seed: Of the run.
        recipe: With all changes.
        method: What was trained; ``method.predict(images)`` returns logits.
        pipeline: Prepares images; it holds those of the run.
        processes: This one; its engine knows the precision.
    """

    folder: Path
    label: str
    seed: int
    recipe: Recipe
    method: nn.Module
    pipeline: Pipeline
    processes: Processes

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

    def predict(self, images: Tensor) -> Tensor:
        """Return logits ``(N, C)``, without gradients, in the precision of the run.

        Args:
            images: ``(N, 3, H, W)`` as :meth:`prepare` returns them.
        """
        with self._mode():
            logits: Tensor = self.method.predict(images)  # type: ignore[operator]
        return logits

    def predict_with_features(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits ``(N, C)`` and the features ``(N, A)`` that the classifier received.

        Features are None where no one layer makes the logits: where they are the mean of those
        of several networks, say.

        Args:
            images: ``(N, 3, H, W)`` as :meth:`prepare` returns them.
        """
        if self._with_features is None:
            return self.predict(images), None
        with self._mode():
            logits, features = self._with_features(images)
        return logits, features

    def test_error(self) -> float:
        """Return the test error in percent, which is that of the last epoch of the run.

        Exactly, on the same device and, on a CPU, with the same number of threads; but for
        rounding where the run was compiled, which this is not.

        Raises:
            OSError: If images lie in files, and one cannot be read.
            UserError: If such a file is damaged.
        """
        wrong = [
            (self.predict(batch.images).argmax(dim=1) != batch.labels).sum()
            for batch in self.pipeline.test_batches()
        ]
        return 100 * int(torch.stack(wrong).sum()) / len(self.data.test)

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
    def _with_features(self) -> WithFeatures | None:
        # Of what predicts, not of a network by its name: a method may have several.
        predicting = _Predicting(self.method)
        try:
            return with_features(predicting, example_images=self.pipeline.example_images())
        except ValueError:
            return None


class _Predicting(nn.Module):
    """Calls ``predict`` of a method as its forward."""

    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.method = method
        self.train(method.training)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.method.predict(images)  # type: ignore[operator]
        return logits


def load_trained(
    folder: str | Path, data_root: Path | None = None, device: str = "auto"
) -> Trained:
    """Load the network of a finished run, with the images it was trained and tested on.

    Args:
        folder: Of the run, such as ``runs/digits_resnet8/seed0``.
        data_root: Folder of the data sets; None is as in :func:`semaug.data.load_data`.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        FileNotFoundError: If the data is missing.
        UserError: If the folder holds no finished run, something in it is damaged or was written
            by another version, or the images are not those of the run.

    >>> from semaug.training.trained import load_trained
    >>> load_trained("nowhere")
    Traceback (most recent call last):
    semaug.training.errors.UserError: nowhere: expected the folder of a run, got no such folder
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
    data, selection = build_data(recipe, data_root, place, quick=quick)
    _check_images(folder, selection, data)
    pipeline = Pipeline(recipe, data)
    num_steps = recipe.epochs * math.ceil(len(data.train) / recipe.batch_size)
    build = partial(build_method, recipe, data, pipeline.example_images())
    with torch.random.fork_rng(devices=[]):
        method = build(seed=seed, num_steps=num_steps)
    method.to(place, pipeline.dtype).to(memory_format=pipeline.layout)
    _load_weights(folder / "checkpoint.pt", recipe, method)
    method.eval().requires_grad_(False)
    return Trained(folder, name, seed, recipe, method, pipeline, Processes(place, recipe.precision))


def recipe_from_plain_data(plain: Mapping[str, Any]) -> Recipe:
    """Undo :meth:`semaug.training.recipe.Recipe.as_plain_data`; what is absent takes its default.

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


def _check_images(folder: Path, selection: Selection, data: DataSet) -> None:
    """Compare the test images with those of the run; early runs did not describe theirs."""
    path = folder / "images.json"
    if not path.exists():
        return
    now = describe_images(selection, data)["sha256"]
    before = read_json(path, "restore a copy of it, or delete it").get("sha256", {})
    if any(now.get(name, total) != total for name, total in before.items()):
        raise UserError(
            f"{path}: the run saw other images than data={data.name} has now; restore the data "
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

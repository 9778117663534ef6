"""Trained networks: what a finished run folder holds, ready to be asked about images."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semaug.average import WeightAverage
from semaug.data import DataSet, FileSet, ImageSet, LoadedBatch, Loader
from semaug.data.colors import class_colors
from semaug.data.views import View, Whole
from semaug.engine.build import Builder
from semaug.engine.device import choose_device, count_workers, operators
from semaug.engine.images import (
    REMEDY,
    check_recorded,
    describe_images,
    describe_input,
    read_images,
)
from semaug.engine.measure import measure
from semaug.engine.options import TrainOptions
from semaug.engine.predict import MaskForm, Networks, view_of_size
from semaug.engine.preprocessing import form_of, network_input, preprocessing_of, test_view
from semaug.engine.processes import Processes
from semaug.engine.start import load_data
from semaug.engine.streams import Streams, read
from semaug.engine.whitening import kept_whitening
from semaug.errors import UserError, as_user_error
from semaug.features import WithFeatures, with_features
from semaug.methods import Method
from semaug.outside import load_recorded
from semaug.recipe.overrides import override
from semaug.recipe.plain import outside_names, recipe_from_plain_data
from semaug.recipe.plan import make_plan, stream_plan, streams_of
from semaug.recipe.recipe import Recipe
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.read import load_summary
from semaug.runs.run import Run

# N images, C classes, A features, H and W pixels.

_WHITENED_AT_ONCE = 1000  # as the streams do


@dataclass(frozen=True, eq=False)
class Trained(Networks):
    """The networks of a finished run in evaluation mode, on their device.

    The weights are those that the run tested in its last epoch: averaged ones where the recipe
    says so. The images of the run are read where they are asked for, by :attr:`data` and what
    tests: predicting needs none of them.

    Args:
        run: What was trained; its recipe has all changes.
        method: It owns the networks.
        device: Where the networks are.
        builder: Built the method.
        processes: This one; its engine knows the precision.
        sums: Of the images, as ``images.json`` of a run has them.
        open_streams: Reads the images of the run.
        workers: Processes that decode photographs; 0 decodes in this one.
    """

    run: Run
    method: Method
    device: torch.device
    builder: Builder
    processes: Processes
    sums: Mapping[str, str]
    open_streams: Callable[[], Streams]
    workers: int = 0

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.run.folder

    @property
    def label(self) -> str:
        """Name of the recipe with its changes."""
        return self.run.label

    @property
    def recipe(self) -> Recipe:
        """What was trained."""
        return self.run.recipe

    @cached_property
    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """What was tested, by name; ``""`` is the main one."""
        return self.method.predictors()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.builder.data.classes

    @cached_property
    def streams(self) -> Streams:
        """What prepares the images of the run.

        Raises:
            FileNotFoundError: If they are missing.
            UserError: If they are not those that the run saw.
        """
        return self.open_streams()

    @property
    def data(self) -> DataSet:
        """The images that the run was trained and tested on, those in memory on the device.

        Raises:
            FileNotFoundError: If they are missing.
            UserError: If they are not those that the run saw.
        """
        return self.streams.data

    def prepare(self, images: Tensor) -> Tensor:
        """Turn images into what the network takes: normalized, or whitened, as in training.

        Args:
            images: ``(N, 3, H, W)`` uint8, of the size that the run has; on any device.

        Returns:
            ``(N, 3, H, W)`` on the device of the run.
        """
        images = images.to(self.device)
        if self._whiten is not None:
            images = torch.cat([self._whiten(piece) for piece in images.split(_WHITENED_AT_ONCE)])
        return network_input(self.recipe, self.builder.data, images)

    @property
    def batch_size(self) -> int:
        """Images of a batch in the test of the run."""
        return self.recipe.evaluation_batch_size if self.view.one_size else 1

    @property
    def view(self) -> View:
        """What makes a picture of a decoded photograph, as of the test images of the run.

        Raises:
            UserError: If the run was not trained on images of bytes.
        """
        data: Any = self.builder.data
        channels, height, width = self.builder.example_images.shape[1:]
        if channels != 3 or data.mean is None:
            raise UserError(
                f"predict: {self.folder}: expected a run on photographs, got one on data="
                f"{data.name}, whose images are no photographs"
            )
        if "test_files" in self.sums:
            return test_view(self.recipe, data.has_masks)
        if data.has_masks:
            return Whole(min(data.pixels))
        side = getattr(self.recipe.data, "side", None)  # of a run of an earlier version
        return view_of_size(*(data.pixels or (side or height, side or width)))

    @property
    def masks(self) -> MaskForm | None:
        """How pixels are labeled; None of a run that classifies images."""
        data: Any = self.builder.data
        if not data.has_masks:
            return None
        colors = class_colors(data.num_classes, data.colors)
        return MaskForm(colors, tuple(data.ids or range(data.num_classes)))

    def answer(
        self, pictures: Tensor, predictor: str, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Return outputs for pictures ``(N, 3, H, W)`` uint8, evaluated as in the run's test."""
        evaluator = self.builder.evaluator(self.method)
        images = self.prepare(pictures)
        with self._mode():
            predict = self.predictors[predictor]
            return evaluator(lambda seen: {predictor: predict(seen)}, images, size)[predictor]

    def logits(self, images: Tensor, predictor: str = "") -> Tensor:
        """Return logits ``(N, C)``, without gradients, in the precision of the run.

        Args:
            images: ``(N, 3, H, W)`` as :meth:`prepare` returns them.
            predictor: Name of the predictor.
        """
        with self._mode():
            return self.predictors[predictor](images)

    def predict_with_features(
        self, images: Tensor, predictor: str = ""
    ) -> tuple[Tensor, Tensor | None]:
        """Return logits ``(N, C)`` and the features ``(N, A)`` that the classifier received.

        Features are None where no one layer makes the logits: where they are the mean of those
        of several networks, say.

        Args:
            images: ``(N, 3, H, W)`` as :meth:`prepare` returns them.
            predictor: Name of the predictor.
        """
        with_features = self._with_features[predictor]
        if with_features is None:
            return self.logits(images, predictor), None
        with self._mode():
            logits, features = with_features(images)
        return logits, features

    def predict_with_gradients(
        self, images: Tensor, predictor: str = ""
    ) -> tuple[Tensor, Tensor | None]:
        """Like :meth:`predict_with_features`, but gradients flow back to the images.

        Args:
            images: ``(N, C, H, W)`` floating-point numbers from 0 for black to 1 for white, of the
                size that the run has, before they are prepared.
            predictor: Name of the predictor.

        Raises:
            UserError: If the run was not trained on images of bytes.
        """
        images = images.to(self.device)
        wanted: Any = preprocessing_of(self.recipe) or self.builder.data
        if self._whiten is not None:
            images = self._whiten(images)
        elif wanted.mean is None:
            raise UserError(f"{self.folder}: expected a run on images of bytes")
        else:
            mean, std = (images.new_tensor(x).view(-1, 1, 1) for x in (wanted.mean, wanted.std))
            images = (images - mean) / std
        with_features = self._with_features[predictor]
        with self._mode(gradients=True):
            images = network_input(self.recipe, self.builder.data, images)
            if with_features is None:
                return self.predictors[predictor](images), None
            logits, features = with_features(images)
        return logits, features

    def classifier_weight(self, predictor: str = "") -> Tensor:
        """Return the weight ``(C, A)`` that turns features into logits, but for a bias.

        Args:
            predictor: Name of the predictor, one with features.
        """
        with_features = self._with_features[predictor]
        assert with_features is not None
        return with_features.weight.detach()

    def test_pixels(self, places: Tensor | None = None) -> Iterator[LoadedBatch]:
        """Yield test images as :meth:`prepare` takes them, see :meth:`pixels`."""
        return self.pixels(self.data.test, places)

    def pixels(
        self, images: ImageSet | FileSet, places: Tensor | None = None
    ) -> Iterator[LoadedBatch]:
        """Yield images as :meth:`prepare` takes them, in the batches of the run's own test.

        Those in files as its test sees them: resized, and their middle cut out.

        Args:
            images: Of the run, or files of anybody's.
            places: ``(n,)`` int64, which images; None is all of them in order.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it. If there are files, and the run
                was not trained on photographs.
        """
        places = torch.arange(len(images)) if places is None else places
        view, size = self.view if isinstance(images, FileSet) else None, self.batch_size
        with Loader(images, batch_size=size, view=view, workers=self.workers) as loader:
            yield from read(loader.epoch(places))

    def example_pixels(self) -> Tensor:
        """Return some images ``(N, 3, H, W)`` of the size that :meth:`test_pixels` yields."""
        test = self.data.test
        return self.streams.example_images() if isinstance(test, FileSet) else test.images

    def after_epoch(self, epoch: int | None = None) -> "Trained":
        """Return the networks as they were trained until the end of an epoch.

        Their weights are those that the loss saw, not averages over steps.

        Args:
            epoch: One of :attr:`semaug.runs.run.Run.kept_epochs`; None is the last.

        Raises:
            UserError: If the checkpoint is missing, damaged, or of another version.
        """
        path = self.run.checkpoint if epoch is None else self.run.kept_checkpoint(epoch)
        state = load_state(path, self.builder.plan.epochs if epoch is None else epoch)
        return replace(self, method=_restored(self.builder, self.device, state, path))

    def test(self) -> dict[str, dict[str, float]]:
        """Return what the run tested in its last epoch: by predictor, then by metric.

        Exactly, on the same device and, on a CPU, with the same number of threads; but for
        rounding where the run was compiled, which this is not.

        Raises:
            OSError: If images lie in files, and one cannot be read.
            UserError: If such a file is damaged, or there are no test images.
        """
        if len(self.data.test) == 0:
            raise UserError(f"{self.folder}: expected a run with test images, got one without")
        with self.streams, self._mode():
            tested = measure(
                self.method.predict_each,
                self.builder.evaluator(self.method),
                self.streams.test_batches(),
                partial(self.builder.metrics, self.method),
                self.predictors,
            )
        return tested.merged(lambda counts: counts, self.data.test.classes)[0]

    @contextmanager
    def _mode(self, *, gradients: bool = False) -> Iterator[None]:
        """Compute as the run did when it tested."""
        with (
            operators(self.device, deterministic=self.recipe.deterministic),
            self.processes.fabric.autocast(),
            torch.set_grad_enabled(gradients),
        ):
            yield

    @cached_property
    def _whiten(self) -> Callable[[Tensor], Tensor] | None:
        if not getattr(self.recipe.augment, "whitening", False):
            return None
        return kept_whitening(self.run, self.device) or self.streams.whiten

    @cached_property
    def _with_features(self) -> dict[str, WithFeatures | None]:
        # Of what predicts, not of a network by its name: a prediction may be that of several.
        layout, dtype = form_of(self.recipe)
        example_images = self.builder.example_images.to(self.device, dtype, memory_format=layout)
        return {
            name: _find_features(_Predicting(self.method, predict), example_images)
            for name, predict in self.predictors.items()
        }


class _Recorded:
    """The data set of a run as its folder tells it; what that does not tell is read when needed.

    Args:
        name: Of the data set.
        facts: As :func:`semaug.engine.images.describe_input` returns them.
        read_data: Reads the data set.
    """

    def __init__(self, name: str, facts: Mapping[str, Any], read_data: Callable[[], DataSet]):
        self.name = name
        self.classes = tuple(facts["classes"])
        self.mean, self.std, self.pixels = facts["mean"], facts["std"], facts.get("pixels")
        self.num_classes, self.num_images = len(self.classes), facts["train"]
        masks = facts.get("masks")
        self.has_masks = masks is not None
        self.colors, self.ids = (masks or {}).get("colors"), (masks or {}).get("ids")
        self._read_data = read_data

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of Python, such as those that copies look for
            raise AttributeError(name)
        return getattr(self._read_data(), name)


class _Predicting(nn.Module):
    """Calls a predictor of a method as its forward."""

    def __init__(self, method: nn.Module, predict: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.method = method
        self.predict = predict
        self.training = method.training

    def forward(self, images: Tensor) -> Tensor:
        return self.predict(images)


def _find_features(predicting: _Predicting, example_images: Tensor) -> WithFeatures | None:
    try:
        return with_features(predicting, example_images=example_images)
    except ValueError:
        return None


def load_finished_run(
    folder: str | Path, *, trust_code: bool = False
) -> tuple[Run, dict[str, Any]]:
    """Return a finished run and its summary.

    Args:
        folder: Of the run.
        trust_code: Whether copies of code from outside, in the folder, may be executed.

    Raises:
        UserError: If the folder holds no finished run, something in it is damaged or was written
            by another version, or code of it was changed since.
    """
    folder = Path(folder)
    summary = load_summary(folder)
    plain, code = summary["recipe"], summary["code"]
    load_recorded(folder, code, [*outside_names(plain)], trusted=trust_code)
    context = f"{folder / 'summary.json'}: expected the summary of a run: "
    with as_user_error(context, AttributeError, LookupError, TypeError, ValueError):
        recipe = recipe_from_plain_data(plain)
    seed, overrides, quick = summary["seed"], summary["overrides"], summary["quick"]
    return _Finished(summary["name"], recipe, seed, overrides, quick, folder), summary


class _Finished(Run):
    """A run in a given folder, whatever its name."""

    @property
    def folder(self) -> Path:
        """Where everything about the run is kept."""
        return self.root


_OF_TESTS = ("evaluation", "evaluation_batch_size", "metrics")


def tested_with(run: Run, changes: Mapping[str, str]) -> Run:
    """Return a run with other options of its test, for testing what it trained otherwise.

    Args:
        run: A finished one.
        changes: ``name: value`` as on the command line: of ``evaluation``,
            ``evaluation_batch_size``, ``metrics``, and what the data set lists in
            :attr:`semaug.data.DataSource.test_options`.

    Raises:
        UserError: If a name is unknown or one of training, or a value does not fit.
    """
    recipe = override(run.recipe, changes, str(run.folder / "recipe.json"))
    others = {*_names_of_changes(run.recipe, recipe)} - {*_OF_TESTS}
    if "data" in others and type(recipe.data) is type(run.recipe.data):
        own = {*_names_of_changes(run.recipe.data, recipe.data)} - {*recipe.data.test_options}
        others = others - {"data"} | {f"data.{name}" for name in own}
    if others:
        allowed = [*_OF_TESTS, *(f"data.{name}" for name in recipe.data.test_options)]
        raise UserError(
            f"evaluate: expected changes of how a run is tested ({', '.join(allowed)}), got one of "
            f"{', '.join(sorted(others))}, which decides how it was trained"
        )
    return replace(run, recipe=recipe)


def _names_of_changes(before: Any, now: Any) -> Iterator[str]:
    return (f.name for f in fields(before) if getattr(before, f.name) != getattr(now, f.name))


def load_trained(
    folder: str | Path,
    options: TrainOptions | None = None,
    changes: Mapping[str, str] | None = None,
) -> Trained:
    """Load the networks of a finished run; its images are read once they are asked for.

    Args:
        folder: Of the run, such as ``runs/digits_resnet8/seed0``.
        options: Data root, device, and processes that decode images in files.
        changes: Other options of its test, see :func:`tested_with`.

    Raises:
        FileNotFoundError: If the images are missing, and the run is of an earlier version or its
            method asks for them.
        UserError: If the folder holds no finished run, something in it is damaged or was written
            by another version, or code of it was changed since.

    >>> from semaug.engine.trained import load_trained
    >>> load_trained("nowhere")
    Traceback (most recent call last):
    semaug.errors.UserError: nowhere: expected the folder of a run, got no such folder
    """
    options = options or TrainOptions()
    run, _ = load_finished_run(folder, trust_code=options.trust_code)
    if not isinstance(run.recipe, Recipe):
        raise UserError(
            f"{folder}: expected a run of networks that predict, got one of "
            f"{type(run.recipe).__name__}"
        )
    trained, run = run, tested_with(run, changes or {})
    place, recipe = choose_device(options.device), run.recipe
    path = run.folder / "images.json"
    recorded = read_images(path)
    context = f"{path}: expected a description of images; {REMEDY}: "

    @cache
    def open_streams() -> Streams:
        data, selection = load_data(run, options, place)
        if recipe.data == trained.recipe.data:
            check_recorded(run, recorded, describe_images(selection, data))
        kept = kept_whitening(run, data.train.labels.device)
        return Streams(recipe, data, count_workers(options.workers), whiten=kept)

    with as_user_error(context, AttributeError, KeyError, TypeError, ValueError):
        sums, name, facts = recorded["sha256"], recorded["data"], recorded.get("input")
        if facts is None:  # of an earlier version
            seen = open_streams()
            facts = describe_input(seen.data, seen.example_images().shape[1:])
        data: Any = _Recorded(name, facts, lambda: open_streams().data)
        streams = streams_of(recipe).items()
        plans = {key: stream_plan(recipe, stream, facts[stream.part]) for key, stream in streams}
        plan = make_plan(recipe, plans)
        example_images = torch.randn(2, *facts["image"], generator=torch.Generator().manual_seed(0))
        builder = Builder(recipe, data, plan, example_images, run.seed)
    state = load_state(run.checkpoint, plan.epochs)
    method = _restored(builder, place, state, run.checkpoint, recipe.ema_decay)
    processes = Processes(place, recipe.precision)
    workers = count_workers(options.workers)
    return Trained(run, method, place, builder, processes, sums, open_streams, workers)


def _restored(
    builder: Builder,
    place: torch.device,
    state: Mapping[str, Any],
    path: Path,
    ema_decay: float | None = None,
) -> Method:
    """Build a method with the weights of a checkpoint, averaged ones if a decay says so."""
    with torch.random.fork_rng(devices=[]):
        method = builder.method()
    layout, dtype = form_of(builder.recipe)
    method.to(place, dtype).to(memory_format=layout)
    context = f"{path}: holds the state of another version: "
    with as_user_error(context, KeyError, RuntimeError, ValueError):
        method.load_state_dict(state["method"])
        if ema_decay is not None:
            networks = nn.ModuleList(method.networks())
            average = WeightAverage(networks, ema_decay)
            average.load_state_dict(state["average"])
            networks.load_state_dict(average.averaged.state_dict())
    return method.eval().requires_grad_(False)


def load_state(path: Path, epoch: int) -> dict[str, Any]:
    """Return the states of the objects that a run saved after an epoch, by name.

    Raises:
        UserError: If the checkpoint is missing, damaged, or of another epoch.
    """
    if not path.exists():
        raise UserError(f"{path}: expected the weights of the run, got no such file")
    state = load_checkpoint(path)
    if state["epoch"] != epoch:
        raise UserError(
            f"{path}: expected the weights after epoch {epoch}, got those after epoch "
            f"{state['epoch']}"
        )
    objects: dict[str, Any] = state["objects"]
    return objects

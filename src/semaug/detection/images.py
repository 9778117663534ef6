"""The images of a detector's run: which they are, their order, and how they are read."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from torch import Tensor

from semaug.data import LoadError, splits
from semaug.data.registry import data_root
from semaug.data.workers import Answers
from semaug.detection.boxes import Target
from semaug.detection.scenes import SceneData, Scenes
from semaug.detection.transforms import collate, flip, normalize, resize, resized_size
from semaug.engine.options import TrainOptions
from semaug.engine.seeding import make_generator
from semaug.errors import UserError, as_user_error, check_option
from semaug.registry import detectors
from semaug.runs.run import Run

__all__ = ["Batches", "Request", "SceneFiles", "describe_scenes", "load_scenes"]

# Places of images, and whether each is mirrored.
Request = list[tuple[int, bool]]


def load_scenes(
    run: Run, options: TrainOptions, tell: Callable[[str], None] = lambda line: None
) -> SceneData:
    """Read the annotations of a run, and choose images to train and to test on.

    Args:
        run: The run.
        options: Of training, which name the data root.
        tell: Called with what a person should know of the images, line by line.

    Raises:
        FileNotFoundError: If there are no files.
        UserError: If the data set is damaged, has no boxes or, for a detector of masks, no masks,
            or has fewer images than asked for.
    """
    recipe, subset = run.recipe, run.recipe.subset
    with as_user_error("", ValueError, LoadError):
        data: Any = recipe.data.load(data_root(options.data_root), options.workers)
    if not hasattr(getattr(data, "train", None), "for_training"):
        raise UserError(
            "recipe: expected images with boxes for a detector, which data="
            f"{getattr(data, 'name', type(data).__name__)} does not have"
        )
    train, test, wanted = data.train, data.test, subset.test_images
    if subset.train_percent is not None:
        one_class = torch.zeros(len(train), dtype=torch.int64)
        seed = run.seed if subset.subset_seed == "run" else subset.subset_seed
        train = train.subset(splits.fraction(one_class, subset.train_percent, seed))
    if wanted is not None:
        wanted = min(wanted, len(test)) if run.quick else wanted
        check_option("test_images", wanted, wanted <= len(test), f"<= {len(test)}")
        test = test.subset(torch.arange(wanted) * len(test) // max(wanted, 1))
    train = train.for_training()
    for note in dict.fromkeys((*data.notes, *train.notes)):
        tell(note)
    if len(train) == 0:
        raise UserError(f"recipe: expected images with boxes in data={data.name}, got none")
    if recipe.detector.masks and not data.has_masks:
        name = detectors.name_of(recipe.detector)
        raise UserError(
            f"recipe: expected masks for detector={name}, which data={data.name} does not have"
        )
    return replace(data, train=train, test=test)


def describe_scenes(data: SceneData) -> dict[str, Any]:
    """Return plain data for ``images.json``: numbers of images and sums of their objects."""
    counts = torch.bincount(data.train.labels, minlength=data.num_classes).tolist()
    parts = {"train": data.train, "test": data.test}
    sums = {
        f"{name}_{field}": hashlib.sha256(getattr(part, field).numpy().tobytes()).hexdigest()
        for name, part in parts.items()
        for field in ("starts", "boxes", "labels")
    }
    return {
        "data": data.name,
        "options": {},
        "test_on": "test",
        "train_images": len(data.train),
        "test_images": len(data.test),
        "images_per_class": dict(zip(data.classes, counts, strict=True)),  # objects of each
        "sha256": sums,
    }


class Batches:
    """The order of the training images, in which all images of a step are alike in their aspect.

    It depends on the seed and the number of the pass alone, so that a run goes on at any step.

    Args:
        sizes: Height and width of each image.
        batch_size: Images in a step.
        flip: Part of them that are mirrored.
        seed: Of the run.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], batch_size: int, flip: float, seed: int
    ) -> None:
        is_high = torch.tensor([width < height for height, width in sizes])
        groups = [own.nonzero()[:, 0] for own in (is_high, ~is_high)]
        self._groups = [group for group in groups if len(group)]
        self._batch_size, self._flip, self._seed = batch_size, flip, seed
        self.steps = sum(ceil(len(group) / batch_size) for group in self._groups)

    @property
    def num_images(self) -> int:
        """Images in a pass, those that fill up steps included."""
        return self.steps * self._batch_size

    def of_pass(self, number: int) -> list[Request]:
        """Return the images of each step of a pass, counted from 0."""
        generator = make_generator(self._seed, "order of detection", number)
        parts: list[Tensor] = []
        for group in self._groups:
            order = group[torch.randperm(len(group), generator=generator)]
            missing = -len(order) % self._batch_size
            again = order[torch.randint(len(order), (missing,), generator=generator)]
            parts += torch.cat([order, again]).split(self._batch_size)
        mixed = [parts[k] for k in torch.randperm(len(parts), generator=generator).tolist()]
        draws = torch.rand(
            len(parts), self._batch_size, generator=make_generator(self._seed, "flips", number)
        )
        return [
            list(zip(part.tolist(), mirrored, strict=True))
            for part, mirrored in zip(mixed, (draws < self._flip).tolist(), strict=True)
        ]

    def between(self, first: int, last: int) -> Iterator[Request]:
        """Yield the images of the steps of the run from one up to another, counted from 0."""
        bounds = [first, *range((first // self.steps + 1) * self.steps, last, self.steps), last]
        for start, stop in pairwise(bounds):
            if start < stop:
                number, place = divmod(start, self.steps)
                yield from self.of_pass(number)[place : place + stop - start]


@dataclass(frozen=True)
class SceneFiles(Answers):
    """Reads, resizes, mirrors, normalizes and pads images.

    Args:
        scenes: All of them.
        size: Largest length of the longer and of the shorter side.
        mean: Of each channel, on a scale of 0 to 1.
        std: Standard deviation, likewise.
        masks: Whether targets have masks.
        own: Which images of a request are read, by their place in it; None is all. They are padded
            to the size of the whole request.
    """

    scenes: Scenes
    size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    masks: bool = False
    own: tuple[int, ...] | None = None

    def read(self, request: Request) -> tuple[Tensor, list[tuple[int, int]], list[Target]]:
        """Return padded images ``(N, 3, H, W)``, the size of each before padding, and targets."""
        found, sides = [], (min(self.size), max(self.size))
        for place, is_mirrored in request if self.own is None else [request[k] for k in self.own]:
            image, target = self.scenes.read(place, with_masks=self.masks)
            image, target = resize(image, target, *sides)
            image, target = flip(image, target) if is_mirrored else (image, target)
            found.append((normalize(image, self.mean, self.std), target))
        sizes = [resized_size(self.scenes.sizes[place], *sides) for place, _ in request]
        return collate(found, sizes)

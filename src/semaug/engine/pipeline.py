"""From images on a disk to what a network takes: augmented, normalized, in the order of an epoch.

What an epoch shows depends on the seed and the epoch alone, whatever the batch size, the
number of workers, the device, and the step at which a stopped run goes on.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor

from semaug.augmentation import (
    ZCA,
    Augmentation,
    AutoAugment,
    ColorJitter,
    Compose,
    CropFlip,
    Cutout,
    Grayscale,
    Mix,
    RandAugment,
    normalize,
)
from semaug.data import (
    DataSet,
    FileSet,
    ImageSet,
    LoadedBatch,
    Loader,
    LoadError,
    RandomResizedCrop,
    ResizeCenterCrop,
    epoch_order,
)
from semaug.data import batches as load_batches
from semaug.data.views import SeveralViews, View
from semaug.engine.seeding import make_generator
from semaug.errors import UserError, as_user_error
from semaug.methods import Batch
from semaug.recipe.recipe import Augment, Recipe

__all__ = ["Pipeline", "build_augmentation"]

_AT_ONCE = 1000  # images that are whitened
_SAMPLES = 64  # images that show what a loss does
_IMAGE_SIZE = 224  # of images that lie in files
_RESIZE = 256 / 224  # their shorter side before the center crop of the test, over the crop


class Pipeline:
    """The batches of a run. Leave it as a context manager, to end what reads files.

    Args:
        recipe: Says how images are augmented.
        data: On the device; if its images lie in files, they follow batch by batch.
        workers: Processes that decode images that lie in files, for training and for testing
            each; 0 decodes in this one.
        rank: Which piece of each batch is wanted, where several processes train together.
        world_size: Number of pieces.

    Raises:
        UserError: If an augmentation cannot take the images, or a file is damaged.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.recipe = recipe
        self.data = data
        self.device = data.train.labels.device
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.dtype = torch.float64 if recipe.precision == "64" else torch.float32
        in_files = isinstance(data.train, FileSet)
        _check_fit(recipe, data)
        size = recipe.augment.image_size or _IMAGE_SIZE
        self.num_views = recipe.method.num_views
        self.train_view = None
        if in_files:
            self.train_view = SeveralViews(RandomResizedCrop(size), self.num_views)
        test_view = ResizeCenterCrop(round(size * _RESIZE), size) if in_files else None
        self.augments = [build_augmentation(augment, data) for augment in recipe.augments()]
        self.mix = None
        if recipe.augment.mixup or recipe.augment.cutmix:
            self.mix = Mix(recipe.augment.mixup, recipe.augment.cutmix)
        self.white = _whiten(data) if recipe.augment.whitening else None
        load = partial(Loader, workers=workers, rank=rank, world_size=world_size)
        self.train_loader = load(data.train, batch_size=recipe.batch_size, view=self.train_view)
        self.test_loader = load(data.test, batch_size=recipe.evaluation_batch_size, view=test_view)
        self._try()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.train_loader.close()
        self.test_loader.close()

    def train_batches(
        self, seed: int, epoch: int, first_step: int = 0, order: Tensor | None = None
    ) -> Iterator[Batch]:
        """Yield the augmented batches of an epoch, or what is left of it.

        Each image is in one of them; its views, where the method wants several, stay together.

        Args:
            seed: Of the run.
            epoch: Counted from 0.
            first_step: Batches of this epoch that the run has seen already.
            order: int64 places of the images wanted, as the epoch shows them; None is all of
                them in the order of the epoch.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        if order is None:
            order = epoch_order(len(self.data.train), make_generator(seed, "order", epoch))
        view_draws, draws = self._draw_for(seed, epoch, order)
        mix_draws = None
        if self.mix is not None:
            mix_draws = self._draw(self.mix, "mix", seed, epoch)[order].to(self.device)
        loaded = self.train_loader.epoch(order, view_draws=view_draws, first_step=first_step)
        for batch in _read(loaded):
            images = self._augment(batch, draws)
            if self.mix is None or mix_draws is None:
                yield Batch(images, batch.labels)
            else:
                yield self._mix(images, batch.labels, mix_draws[batch.rows])

    def sample_batch(self, seed: int, epoch: int) -> Batch:
        """Return a few images as an epoch shows them, not mixed, and the same for all processes.

        They are evenly spread over the set.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        num_images = len(self.data.train)
        count = min(_SAMPLES, num_images)
        order = torch.arange(count) * num_images // count
        view_draws, draws = self._draw_for(seed, epoch, order)
        batch = self._load(order, view_draws)
        return Batch(self._augment(batch, draws), batch.labels)

    def test_batches(self) -> Iterator[Batch]:
        """Yield the test images in order, as they are.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        order = torch.arange(len(self.data.test))
        for batch in _read(self.test_loader.epoch(order)):
            pixels = batch.pixels if self.white is None else self.white.test[batch.positions]
            yield Batch(self.prepare(pixels), batch.labels)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn bytes, or whitened images, into network input in the memory format of the recipe."""
        if pixels.dtype == torch.uint8:
            assert self.data.mean is not None
            assert self.data.std is not None
            pixels = normalize(pixels, self.data.mean, self.data.std)
        return pixels.to(self.dtype).contiguous(memory_format=self.layout)

    def example_images(self) -> Tensor:
        """Return two training images as the network takes them."""
        return self.prepare(self._first_pixels())

    def _first_pixels(self) -> Tensor:
        """Return the first two training images, or the only one."""
        order = torch.arange(min(2, len(self.data.train)))
        view_draws = None
        if self.train_view is not None:
            view_draws = torch.zeros(len(order), self.train_view.num_draws)
        pixels = self._load(order, view_draws).pixels
        if self.train_view is not None:
            pixels = pixels[:, 0]
        return pixels if self.white is None else self.white.train[: len(pixels)]

    def _load(self, order: Tensor, view_draws: Tensor | None) -> LoadedBatch:
        """Return a few training images at once, decoded in this process."""
        batches = load_batches(
            self.data.train,
            order,
            batch_size=len(order),
            view=self.train_view,
            view_draws=view_draws,
        )
        return next(_read(batches))

    def _draw_for(self, seed: int, epoch: int, order: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        """Draw what decides about the crops and the augmentation of an epoch, view by view.

        The draws are those of each image, in the order in which images come.
        """
        view_draws = None
        if self.train_view is not None:
            single = self.train_view.view
            crops = [
                self._draw(single, _purpose("view", k), seed, epoch) for k in range(self.num_views)
            ]
            view_draws = torch.cat(crops, dim=1)[order]
        draws = [
            self._draw(augment, _purpose("augmentation", k), seed, epoch)[order].to(self.device)
            for k, augment in enumerate(self.augments)
        ]
        return view_draws, draws

    def _draw(self, what: Augmentation | Mix | View, purpose: str, seed: int, epoch: int) -> Tensor:
        return what.draw(len(self.data.train), make_generator(seed, purpose, epoch))

    def _augment(self, batch: LoadedBatch, draws: list[Tensor]) -> Tensor:
        """Turn pixels as they were loaded into network input, ``(V, N, C, H, W)`` of V > 1 views.

        The views lie one after the other, as in a batch of V N images.
        """
        pixels = batch.pixels if self.white is None else self.white.train[batch.positions]
        views = [
            augment(pixels if self.train_view is None else pixels[:, k], own[batch.rows])
            for k, (augment, own) in enumerate(zip(self.augments, draws, strict=True))
        ]
        if self.num_views == 1:
            return self.prepare(views[0])
        return self.prepare(torch.cat(views)).unflatten(0, (self.num_views, -1))

    def _mix(self, images: Tensor, labels: Tensor, draws: Tensor) -> Batch:
        """Mix images with others of the batch, each view alike."""
        assert self.mix is not None
        num_classes = self.data.num_classes
        if self.num_views == 1:
            mixed_images, targets = self.mix(images, labels, draws, num_classes)
            return Batch(mixed_images, labels, targets)
        mixed = [self.mix(view, labels, draws, num_classes) for view in images]
        together = torch.cat([view for view, _ in mixed]).unflatten(0, (self.num_views, -1))
        return Batch(together, labels, mixed[0][1])  # all have the same targets

    def _try(self) -> None:
        """Augment two images, to find what does not fit before anything is written."""
        pixels = self._first_pixels()
        context = f"recipe: augmentation does not fit data={self.recipe.data}: "
        with as_user_error(context, ValueError, TypeError):
            for augment in self.augments:
                draws = torch.zeros(len(pixels), augment.num_draws, device=self.device)
                self.prepare(augment(pixels, draws))


def _check_fit(recipe: Recipe, data: DataSet) -> None:
    """Refuse what has no meaning for images in memory, or for those in files."""
    augment = recipe.augment
    in_files = isinstance(data.train, FileSet)
    if in_files and augment.padding > 0:
        raise UserError(
            f"recipe: images of data={recipe.data} lie in files and get a random resized crop, so "
            f"`padding` has no meaning for them, got {augment.padding}; add padding=0"
        )
    if in_files and augment.whitening:
        raise UserError(
            f"recipe: expected no `whitening` of images that lie in files, as in data={recipe.data}"
        )
    colors = {
        "policy": augment.policy,
        "grayscale": augment.grayscale,
        "jitter": any(augment.jitter),
    }
    for name, wanted in colors.items():
        if augment.whitening and wanted:
            raise UserError(
                f"recipe: expected no `{name}` with `whitening`: it changes colors, and whitened "
                "images have none"
            )
    if not in_files and augment.image_size is not None:
        raise UserError(
            f"recipe: `image_size` has no effect, for images of data={recipe.data} have one size"
        )


def _purpose(what: str, view: int) -> str:
    """Name what is drawn for a view; the first is that of methods with one view."""
    return what if view == 0 else f"{what} of view {view + 1}"


class _White(NamedTuple):
    """Whitened images, float32 on the device."""

    train: Tensor
    test: Tensor


def _whiten(data: DataSet) -> _White:
    """Whiten all images once, as the papers do: 12 bytes a pixel, and no product at each step."""
    assert isinstance(data.train, ImageSet)
    assert isinstance(data.test, ImageSet)
    whiten = ZCA.fit(data.train.images)
    both = []
    for part in (data.train, data.test):
        white = torch.empty_like(part.images, dtype=torch.float32)
        for own, piece in zip(white.split(_AT_ONCE), part.images.split(_AT_ONCE), strict=True):
            own.copy_(whiten(piece))
        both.append(white)
    return _White(*both)


def _read(batches: Iterator[LoadedBatch]) -> Iterator[LoadedBatch]:
    """Hand batches on; what is wrong with a file is an error for users."""
    while True:
        with as_user_error("", ValueError, LoadError):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def build_augmentation(augment: Augment, data: DataSet) -> Compose:
    """Build what happens to bytes on the device, in the order of the fields of the recipe."""
    parts: list[Augmentation] = []
    if augment.padding or augment.flip:
        parts.append(CropFlip(augment.padding, augment.padding_mode, augment.flip))
    if augment.policy == "randaugment":
        assert augment.randaugment_ops is not None
        assert augment.randaugment_magnitude is not None
        parts.append(RandAugment(augment.randaugment_ops, augment.randaugment_magnitude))
    elif augment.policy is not None:
        parts.append(AutoAugment(augment.policy.removeprefix("autoaugment_")))
    if augment.grayscale:
        parts.append(Grayscale(augment.grayscale))
    if any(augment.jitter):
        parts.append(ColorJitter(*augment.jitter))
    if augment.cutout:
        # 0 is the mean; on bytes, the one that normalization turns into 0 to the nearest byte.
        mean = tuple(round(255 * value) for value in data.mean or ())
        parts.append(Cutout(augment.cutout, fill=0 if augment.whitening else mean))
    return Compose(*parts)

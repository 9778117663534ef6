"""From images on a disk to what a network takes: the streams of batches that a method wants.

Each stream has its own order, batch size, views and draws. What it shows depends on the seed,
the epoch and its name alone, whatever the number of workers, the device, and the step at which a
stopped run goes on. The first stream is the one that epochs count: each image is in one batch of
an epoch, the last of which may be shorter. The others cycle: epoch after epoch of their own, in
batches that are always full.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from semaug.augmentation import Augmentation
from semaug.augmentation.zca import fit_whitening
from semaug.data import (
    DataSet,
    FileSet,
    ImageSet,
    LoadedBatch,
    Loader,
    LoadError,
    RandomResizedCrop,
    epoch_order,
)
from semaug.data import batches as load_batches
from semaug.data.views import SeveralViews
from semaug.engine.evaluation import resize_outputs
from semaug.engine.preprocessing import (
    augment_of,
    form_of,
    network_input,
    stretched,
    test_view,
)
from semaug.engine.seeding import make_generator
from semaug.errors import UserError, as_user_error
from semaug.methods import Batch, Samples, StepOutput, Stream
from semaug.recipe.plan import Plan, make_plan, stream_plan, streams_of

_AT_ONCE = 1000  # images that are whitened

Whiten = Callable[[Tensor], Tensor]  # images (N, C, H, W) to numbers of this shape
_IGNORED = -100  # by losses
_SAMPLES = 64  # images that show what a loss does

_Parts = list[tuple[int, Tensor]]  # own epochs of a stream, and which images it shows of each


class Streams:
    """The batches of a run. Leave it as a context manager, to end what reads files.

    Args:
        recipe: Says which streams there are, and how images are augmented.
        data: On the device; if its images lie in files, they follow batch by batch.
        workers: Processes that decode images that lie in files, for each stream and for testing;
            0 decodes in this one.
        rank: Which piece of each batch is wanted, where several processes train together.
        world_size: Number of pieces.
        whiten: Fitted before, where the recipe whitens images; None fits it to those of the data.

    Raises:
        UserError: If there are no images for a stream, an augmentation cannot take them, or a
            file is damaged.
    """

    def __init__(
        self,
        recipe: Any,
        data: DataSet,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        whiten: Whiten | None = None,
    ) -> None:
        self.recipe = recipe
        self.data = data
        self.workers = workers
        self.device = data.train.labels.device
        self.layout, self.dtype = form_of(recipe)
        self.whiten: Whiten | None = None
        self.white: dict[str, Tensor] | None = None  # all images, by part
        if getattr(recipe.augment, "whitening", False):
            self._check_in_memory()
            self.whiten = whiten or self._fit_whitening()
            self.white = self._whiten_all(self.whiten)
        load = partial(Loader, workers=workers, rank=rank, world_size=world_size)
        self.streams = {
            name: _Stream(name, spec, self, load) for name, spec in streams_of(recipe).items()
        }
        plans = {name: stream.plan for name, stream in self.streams.items()}
        self.plan = make_plan(recipe, plans)
        self.test_view = None
        if isinstance(data.test, FileSet):
            self.test_view = test_view(recipe, data.has_masks)
        # Images of several sizes go one by one, one for each process.
        alone = self.test_view is not None and not self.test_view.one_size
        batch_size = world_size if alone else recipe.evaluation_batch_size
        self.test_loader = load(data.test, batch_size=batch_size, view=self.test_view)
        for stream in self.streams.values():
            stream.try_it()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for loader in (self.test_loader, *(stream.loader for stream in self.streams.values())):
            loader.close()

    @property
    def first(self) -> "_Stream":
        """The stream that epochs count."""
        return self.streams[self.plan.counted]

    def train_batches(
        self, seed: int, epoch: int, first_step: int = 0
    ) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
        """Yield the augmented batches of an epoch, or what is left of it.

        With each come the labels of all its streams, those that a method does not see too: they
        are for metrics.

        Args:
            seed: Of the run.
            epoch: Counted from 0.
            first_step: Batches of this epoch that the run has seen already.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        readers = {
            name: stream.batches(seed, stream.parts(seed, epoch, self.plan), first_step)
            for name, stream in self.streams.items()
        }
        for step in range(first_step, self.plan.steps_in(epoch)):
            pairs = {name: next(reader) for name, reader in readers.items()}
            streams = {name: samples for name, (samples, _) in pairs.items()}
            total = epoch * self.plan.steps_per_epoch + step
            yield Batch(streams, total), {name: labels for name, (_, labels) in pairs.items()}

    def shown(self, seed: int, epoch: int, order: Tensor) -> Iterator[Samples]:
        """Yield some images of the first stream as an epoch shows them, in an order."""
        for samples, _ in self.first.batches(seed, [(epoch, order)]):
            yield samples

    def sample_batch(self, seed: int, epoch: int) -> Batch:
        """Return a few images of each stream as an epoch shows them, the same for all processes.

        They are evenly spread over the set, and not mixed.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        streams = self.streams.items()
        return Batch({name: stream.sample(seed, epoch, self.plan) for name, stream in streams})

    def test_batches(self, places: Tensor | None = None) -> Iterator[Samples]:
        """Yield the test images in order, as they are.

        Args:
            places: Of some of them; None is all.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        order = torch.arange(len(self.data.test)) if places is None else places
        for loaded in read(self.test_loader.epoch(order)):
            pixels = loaded.pixels
            if self.white is not None:
                pixels = self.white["test"][loaded.positions]
            yield Samples(self.prepare(pixels), self.mask(loaded.labels), None, loaded.positions)

    def test_pictures(self, places: Tensor) -> list[Tensor] | None:
        """Return test images as their test sees them, decoded in this process.

        Args:
            places: ``(n,)`` int64, which images.

        Returns:
            ``(1 or 3, H, W)`` uint8 each; images that are no bytes are stretched to it together.
            None if they have another number of channels.

        Raises:
            OSError: If a file cannot be read.
            UserError: If a file is damaged; the message names it.
        """
        images, view = self.data.test, self.test_view
        loaded = read(load_batches(images, places, batch_size=1, view=view))
        pixels = [one for batch in loaded for one in batch.pixels]
        if pixels and pixels[0].dtype != torch.uint8:
            pixels = [*stretched(torch.stack(pixels))]
        return pixels if all(len(one) in (1, 3) for one in pixels) else None

    def mask(self, labels: Tensor) -> Tensor:
        """Mark pixels of no class, such as 255 in a mask, as torch's losses ignore them."""
        if labels.ndim == 1:
            return labels
        return labels.masked_fill(labels >= self.data.num_classes, _IGNORED)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn bytes into network input, see :func:`network_input`."""
        return network_input(self.recipe, self.data, pixels)

    def _fit_whitening(self) -> Whiten:
        """Return the whitening by all images that are trained on, those without labels too."""
        images: Any = self.data.train if self.data.unlabeled is None else self.data.unlabeled
        return fit_whitening(self.recipe.augment.whitening, images.images)

    def _parts(self) -> dict[str, Any]:
        data = self.data
        everything = {"train": data.train, "test": data.test, "unlabeled": data.unlabeled}
        everything |= data.others or {}
        return {name: part for name, part in everything.items() if part is not None}

    def _check_in_memory(self) -> None:
        if not all(isinstance(part, ImageSet) for part in self._parts().values()):
            raise UserError(
                "recipe: expected no `whitening` of images that lie in files, as in "
                f"data={self.data.name}"
            )

    def _whiten_all(self, whiten: Whiten) -> dict[str, Tensor]:
        """Whiten all images once, as the papers do: 12 bytes a pixel, and no product at each step.

        By name of the part of the data set.
        """
        white = {}
        for name, part in self._parts().items():
            images = part.images
            white[name] = torch.empty_like(images, dtype=torch.float32)
            for own, piece in zip(white[name].split(_AT_ONCE), images.split(_AT_ONCE), strict=True):
                own.copy_(whiten(piece))
        return white

    def example_images(self) -> Tensor:
        """Return two training images as the network takes them."""
        return self.prepare(self.first.first_pixels())

    def shares(self, batch: Batch, step: int) -> dict[str, float]:
        """Return which part of the joint batch of each stream a batch is."""
        return {
            name: samples.images.shape[self.streams[name].several]
            / self.plan.joint_size(name, step)
            for name, samples in batch.streams.items()
        }

    @torch.no_grad()
    def count(
        self,
        metrics: Mapping[str, Any],
        output: StepOutput,
        batch: Batch,
        truths: Mapping[str, Tensor],
        align_corners: bool = False,
    ) -> None:
        """Count what a step predicted; a mixed image counts as its larger part.

        Args:
            metrics: One for each stream, by its name.
            output: Of the step.
            batch: That it saw.
            truths: Labels of each stream, those that the method did not see too.
            align_corners: How outputs for pixels are resized, as of a method.
        """
        for name, outputs in output.outputs_of_streams().items():
            targets = batch.streams[name].targets
            labels = truths[name] if targets is None else targets.argmax(dim=1)
            if labels.ndim > 1 and outputs.shape[2:] != labels.shape[1:]:
                outputs = resize_outputs(outputs, labels.shape[1:], align_corners)
            metrics[name].update(outputs, labels)


class _Stream:
    """One stream: its images, their order, their views."""

    def __init__(self, name: str, spec: Stream, owner: Streams, load: Any) -> None:
        recipe, data = owner.recipe, owner.data
        images = data.part(spec.part)
        if images is None:
            raise UserError(
                f"recipe: the method wants images without labels, and data={data.name} has none; "
                "keep the labels of some images only, with labeled_per_class=N"
            )
        self.name, self.spec, self.owner = name, spec, owner
        self.images: ImageSet | FileSet = images
        self.is_labeled = spec.part != "unlabeled"
        self.plan = stream_plan(recipe, spec, len(images))
        self.several = int(len(spec.views) > 1)  # dimension of the images in a batch
        self.view = None
        specs = [
            augment_of(recipe, view.augment or recipe.augment, isinstance(images, FileSet))
            for view in spec.views
        ]
        if isinstance(images, FileSet):
            view = getattr(specs[0], "train_view", None)
            self.view = SeveralViews(view(data) if view else RandomResizedCrop(), len(specs))
        self.augments: list[Augmentation] = [one.build(data) for one in specs]
        mix = getattr(recipe.augment, "mix", None) if self.is_labeled else None
        self.mix = None if mix is None else mix()
        self.loader = load(images, batch_size=self.plan.batch_size, view=self.view)

    def parts(self, seed: int, epoch: int, plan: Plan) -> _Parts:
        """Return which images an epoch of the run shows, by own epoch of this stream."""
        if self.name == plan.counted and not plan.cycles:
            return [(epoch, self._order(seed, epoch))]
        batch_size, num_images = self.plan.batch_size, self.plan.num_images
        begin = epoch * plan.steps_per_epoch * batch_size
        end = begin + plan.steps_in(epoch) * batch_size
        return [
            (own, self._order(seed, own)[max(begin - own * num_images, 0) : end - own * num_images])
            for own in range(begin // num_images, (end - 1) // num_images + 1)
        ]

    def batches(
        self, seed: int, parts: _Parts, first_step: int = 0
    ) -> Iterator[tuple[Samples, Tensor]]:
        """Yield batches of some images, each with its labels."""
        order = torch.cat([places for _, places in parts])
        view_draws, draws, mix_draws = self._draw_all(seed, parts)
        for samples, batch in self.with_draws(order, view_draws, draws, first_step):
            if self.mix is not None:
                samples = self._mix(samples, mix_draws[batch.rows])
            truth = samples.labels
            assert truth is not None
            yield samples if self.is_labeled else samples._replace(labels=None), truth

    def with_draws(
        self, order: Tensor, view_draws: Tensor | None, draws: list[Tensor], first_step: int = 0
    ) -> Iterator[tuple[Samples, LoadedBatch]]:
        """Yield batches of some images, cropped and augmented as rows of draws say."""
        loaded = self.loader.epoch(order, view_draws=view_draws, first_step=first_step)
        for batch in read(loaded):
            yield self._augment(batch, draws), batch

    def at_once(self, seed: int, parts: _Parts) -> Samples:
        """Return some images as one batch, decoded in this process and not mixed."""
        order = torch.cat([places for _, places in parts])
        view_draws, draws, _ = self._draw_all(seed, parts)
        samples = self._augment(self._load(order, view_draws), draws)
        return samples if self.is_labeled else samples._replace(labels=None)

    def sample(self, seed: int, epoch: int, plan: Plan) -> Samples:
        """Return a few images, evenly spread over the set, as an epoch of the run shows them."""
        count = min(_SAMPLES, len(self.images))
        order = torch.arange(count) * len(self.images) // count
        return self.at_once(seed, [(self.parts(seed, epoch, plan)[0][0], order)])

    def first_pixels(self) -> Tensor:
        """Return the first two images, or the only one, before they are augmented."""
        order = torch.arange(min(2, len(self.images)))
        view_draws = None if self.view is None else torch.zeros(len(order), self.view.num_draws)
        loaded = self._load(order, view_draws)
        pixels = loaded.pixels if self.view is None else loaded.pixels[:, 0]
        white = self.owner.white
        return pixels if white is None else white[self.spec.part][loaded.positions]

    def try_it(self) -> None:
        """Show two images, to find what does not fit before anything is written."""
        context = f"recipe: augmentation does not fit data={self.owner.data.name}: "
        with as_user_error(context, RuntimeError, TypeError, ValueError):
            self.at_once(0, [(0, torch.arange(min(2, len(self.images))))])

    def _order(self, seed: int, epoch: int) -> Tensor:
        return epoch_order(len(self.images), self._generator(seed, "order", epoch))

    def _generator(self, seed: int, purpose: str, epoch: int) -> torch.Generator:
        """Seed draws by their purpose; those of the stream "labeled" have no name behind."""
        whose = "" if self.name == "labeled" else f", {self.name}"
        return make_generator(seed, purpose + whose, epoch)

    def _load(self, order: Tensor, view_draws: Tensor | None) -> LoadedBatch:
        """Return a few images at once, decoded in this process."""
        batches = load_batches(
            self.images, order, batch_size=len(order), view=self.view, view_draws=view_draws
        )
        return next(read(batches))

    def _draw_all(self, seed: int, parts: _Parts) -> tuple[Tensor | None, list[Tensor], Any]:
        """Draw what decides about crops, augmentation and mixing, a row for each image shown."""

        def draw(what: Any, purpose: str) -> Tensor:
            return torch.cat(
                [
                    what.draw(len(self.images), self._generator(seed, purpose, epoch))[places]
                    for epoch, places in parts
                ]
            )

        view_draws = None
        if self.view is not None:
            crops = [draw(self.view.view, _purpose("view", k)) for k in range(len(self.augments))]
            view_draws = torch.cat(crops, dim=1)
        draws = [draw(one, _purpose("augmentation", k)) for k, one in enumerate(self.augments)]
        self._share_draws(draws)
        mix_draws = None if self.mix is None else draw(self.mix, "mix").to(self.owner.device)
        return view_draws, [own.to(self.owner.device) for own in draws], mix_draws

    def _share_draws(self, draws: list[Tensor]) -> None:
        """Let random operations of other views turn out as in the first one, where they are to."""
        first = self.augments[0].draw_names
        for own, augment, view in zip(draws, self.augments, self.spec.views, strict=True):
            for name in view.shares:
                pairs = [
                    [place for place, found in enumerate(names) if found == name]
                    for names in (first, augment.draw_names)
                ]
                if not pairs[0] or len(pairs[0]) != len(pairs[1]):
                    raise UserError(
                        f"recipe: a view shares the draws of {name!r}, which both views must have; "
                        f"the first has {', '.join(first) or 'none'}"
                    )
                own[:, pairs[1]] = draws[0][:, pairs[0]]

    def _augment(self, batch: LoadedBatch, draws: list[Tensor]) -> Samples:
        """Turn pixels as they were loaded into network input, ``(V, N, C, H, W)`` of V > 1 views.

        The views lie one after the other, as in a batch of V N images. Masks move as the first.
        """
        pixels, labels, white = batch.pixels, batch.labels, self.owner.white
        if white is not None:
            pixels = white[self.spec.part][batch.positions]
        rows = [own[batch.rows] for own in draws]
        if labels.ndim > 1:
            pairs = zip(self.augments, rows, strict=True)
            rows = [augment.choose_draws(labels, own) for augment, own in pairs]
        views = [
            augment(pixels if self.view is None else pixels[:, k], own)
            for k, (augment, own) in enumerate(zip(self.augments, rows, strict=True))
        ]
        if labels.ndim > 1:
            labels = self.owner.mask(self.augments[0].move(labels, rows[0]))
        images = self.owner.prepare(views[0] if len(views) == 1 else torch.cat(views))
        if len(views) > 1:
            images = images.unflatten(0, (len(views), -1))
        return Samples(images, labels, positions=batch.positions)

    def _mix(self, samples: Samples, draws: Tensor) -> Samples:
        """Mix images with others of the batch, each view alike."""
        assert self.mix is not None
        views = samples.images if self.several else samples.images.unsqueeze(0)
        num_classes = self.owner.data.num_classes
        mixed = [self.mix(view, samples.labels, draws, num_classes) for view in views]
        images = torch.stack([view for view, _ in mixed]) if self.several else mixed[0][0]
        return samples._replace(images=images, targets=mixed[0][1])  # all have the same targets


def _purpose(what: str, view: int) -> str:
    """Name what is drawn for a view; the first is that of methods with one view."""
    return what if view == 0 else f"{what} of view {view + 1}"


def read(batches: Iterator[LoadedBatch]) -> Iterator[LoadedBatch]:
    """Hand batches on; what is wrong with a file is an error for users.

    Raises:
        UserError: If a file is damaged; the message names it.
    """
    while True:
        with as_user_error("", ValueError, LoadError):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch

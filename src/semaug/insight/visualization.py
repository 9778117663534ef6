"""Augmented features as images, beside what an honest look at them needs.

For a few images: the image, its reconstruction from its features, images of features drawn from
N(a, strength S_y), as a control images of features as far from a in directions at random, images of
the class at random, and the training images nearest to the first augmented one.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, section 6.5.1, Appendix E,
Figs. 6, 7 and 12 to 14
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semaug._torch.checks import check_positive_int
from semaug._torch.names import unknown_name
from semaug.data import FileSet, ImageSet
from semaug.engine.seeding import derive_seed, make_generator
from semaug.engine.trained import Trained
from semaug.errors import UserError
from semaug.generation.generator import Generator
from semaug.generation.quality import nearest_neighbours
from semaug.insight.decoder import DecoderInverter, DecoderTraining, train_decoder
from semaug.insight.features import Statistics, compute_batch, statistics_of
from semaug.insight.files import Kept
from semaug.insight.reverse import Inverter, ReverseMapping, Search
from semaug.insight.shown import Nearest, Shown, Visualization
from semaug.transfer.plots import choose_samples

__all__ = ["visualize"]

_MOST_CLASSES = 5  # of which an image is shown by default
_MOST_BYTES = 2**28  # of training images that are compared with
_MOST_TESTED = 1000  # images that a decoder is tested on
_PIXELS_AT_ONCE = 2**20

# N images, K images made of each, M augmentations, A features, h and w pixels.


class _Read(NamedTuple):
    """Images as the network sees them."""

    pixels: Tensor  # (N, C, h, w) uint8 on the CPU
    logits: Tensor
    features: Tensor
    labels: Tensor


class _Looks:
    """A network as a function of images from -1 to 1, and chosen images as it sees them."""

    def __init__(self, trained: Trained, predictor: str, chosen: _Read) -> None:
        self.trained, self.predictor, self.chosen = trained, predictor, chosen

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and features, with gradients."""
        found = self.trained.predict_with_gradients((images + 1) / 2, self.predictor)
        logits, features = found
        assert features is not None  # compute_batch has checked it
        return logits, features.to(torch.promote_types(features.dtype, torch.float32))

    def features(self, images: Tensor) -> Tensor:
        """Return features, with gradients."""
        return self.both(images)[1]

    @torch.no_grad()
    def at(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and features of any number of images."""
        size = max(1, _PIXELS_AT_ONCE // images[0, 0].numel())
        logits, features = zip(*(self.both(some) for some in images.split(size)), strict=True)
        return torch.cat(logits), torch.cat(features)

    def show(
        self, images: Tensor, targets: Tensor | None = None, begin: Tensor | None = None
    ) -> Shown:
        """Look at K images for each of the N chosen ones.

        Args:
            images: ``(N * K, C, h, w)``.
            targets: ``(N, K, A)`` features that are wanted.
            begin: ``(N, 1, A)``, of the reconstructions.
        """
        labels, count = self.chosen.labels, len(images) // len(self.chosen.labels)
        logits, got = (x.unflatten(0, (-1, count)) for x in self.at(images))
        probs = logits.double().softmax(dim=2).cpu()[torch.arange(len(labels)), :, labels.cpu()]
        pictures = ((images + 1) * 127.5).round().clamp(0, 255).byte().cpu()
        residuals = followed = None
        if targets is not None:
            residuals = _relative(got, targets).cpu()
        if targets is not None and begin is not None:
            way = targets - self.chosen.features.unsqueeze(1)
            followed = (((got - begin) * way).sum(2) / way.square().sum(2)).cpu()
        return Shown(pictures.unflatten(0, (-1, count)), probs, residuals, followed)


def _relative(features: Tensor, targets: Tensor) -> Tensor:
    return (features - targets).norm(dim=-1) / targets.norm(dim=-1)


def visualize(
    trained: Trained,
    inverter: Generator | Inverter | None = None,
    *,
    classes: Sequence[str] = (),
    num_images: int = 1,
    images: ImageSet | FileSet | None = None,
    num_draws: int = 3,
    num_nearest: int = 5,
    strength: float | None = None,
    estimate: bool = False,
    search: Search | None = None,
    decoder: DecoderTraining | None = None,
    predictor: str = "",
    seed: int = 0,
    kept: Kept | None = None,
    advance: Callable[[float], None] = lambda count: None,
) -> Visualization:
    """Make images of augmented features.

    Args:
        trained: The network.
        inverter: What finds images of features: a generator, by reverse mapping; None, by a decoder
            that is trained for it; or another one.
        classes: Whose first test images are shown; the first five classes by default.
        num_images: Test images of each class.
        images: Those to show instead, all of the one class in ``classes``.
        num_draws: M.
        num_nearest: Training images that are shown as the nearest.
        strength: lambda; None is that of the loss, or 0.5 for a loss without.
        estimate: Whether covariances are estimated though the loss of the run has some.
        search: Settings of reverse mapping.
        decoder: Settings of the decoder.
        predictor: Name of the predictor.
        seed: Of all that is drawn.
        kept: Where a search that was stopped is found.
        advance: Called with the number of iterations, or of steps, that were made.

    Raises:
        OSError: If a file cannot be read.
        TypeError: If a number is of another type.
        UserError: If there is no such class, it has no image or no statistics, the images are no
            bytes, the generator makes others, a search diverged, a file is damaged, or the
            predictor has no features.
        ValueError: If a number is out of range.
    """
    counts = {"num_images": num_images, "num_draws": num_draws, "num_nearest": num_nearest}
    check_positive_int("visualize", **counts)
    train = trained.data.train
    if train.labels.ndim > 1:
        raise UserError(f"{trained.folder}: expected a label for each image, got masks")
    names, chosen = _chosen(trained, classes, num_images, images, predictor)
    if isinstance(inverter, Generator):
        _check_generator(inverter, trained, tuple(chosen.pixels.shape[1:]))
    found = statistics_of(trained, predictor, strength=strength, estimate=estimate, seed=seed)
    ways = _ways(trained, found, chosen, num_draws, seed)
    places = torch.arange(len(train))
    if len(train) > (most := max(1, _MOST_BYTES // chosen.pixels[0].numel())):
        places = choose_samples(train.labels, seed, most)
    gallery = _read(trained, train, places, predictor)
    looks, kept = _Looks(trained, predictor, chosen), kept or Kept()
    options: dict[str, Any] = {"seed": seed, "kept": kept, "advance": advance}
    if inverter is None:
        known = gallery.pixels, gallery.features
        by: Inverter = DecoderInverter(train_decoder(looks.features, *known, decoder, **options))
    elif isinstance(inverter, Generator):
        by = ReverseMapping(inverter, looks.features, search, **options)
    else:
        by = inverter

    features, labels = chosen.features, chosen.labels
    originals = chosen.pixels.to(features) / 127.5 - 1
    codes = by.reconstruct(originals, features, labels)
    targets = features.unsqueeze(1) + ways
    wanted, count = targets.flatten(0, 1), targets.shape[1]
    repeated = labels.repeat_interleave(count)
    moved = by.augment(codes.repeat_interleave(count, dim=0), wanted, repeated)
    with torch.no_grad():
        again, made = by.make(codes, labels), by.make(moved, repeated).unflatten(0, (-1, count))
    begin = looks.at(again)[1].unsqueeze(1)
    first, random = made[:, :num_draws], made[:, num_draws:]
    at_random = _random_images(by, gallery, labels.repeat_interleave(num_draws), seed)
    means = _class_means(gallery, len(trained.classes))
    tested = _tested(looks, by, means, seed) if isinstance(by, DecoderInverter) else {}
    return Visualization(
        names,
        tuple(trained.classes[label] for label in labels.tolist()),
        by.name,
        found.origin,
        found.strength,
        {
            "original": looks.show(originals),
            "reconstruction": looks.show(again, features.unsqueeze(1)),
            "augmented": looks.show(first.flatten(0, 1), targets[:, :num_draws], begin),
            "random direction": looks.show(random.flatten(0, 1), targets[:, num_draws:], begin),
            "random image": looks.show(at_random),
        },
        _nearest(looks, made[:, 0], gallery, places, num_nearest),
        _relative(targets[:, :num_draws], features.unsqueeze(1)).cpu(),
        float(_relative(means[labels], features).mean()),
        tested,
        len(places),
    )


def _ways(trained: Trained, found: Statistics, chosen: _Read, count: int, seed: int) -> Tensor:
    """Return what augmentation adds to features, then directions at random of equal norm.

    Returns:
        ``(N, 2 M, A)``.

    Raises:
        UserError: If augmentation adds nothing to an image.
    """
    draws = torch.Generator(trained.device).manual_seed(derive_seed(seed, "augmented features"))
    noise = found.estimator.sample(chosen.labels, count, generator=draws).transpose(0, 1)
    noise = found.strength**0.5 * noise.detach().to(chosen.features)
    lengths = noise.norm(dim=2, keepdim=True)
    if not lengths.all():
        name = trained.classes[int(chosen.labels[(lengths == 0).flatten(1).any(dim=1)][0])]
        raise UserError(
            f"visualize: expected a strength above 0 and a covariance of {name!r} that is not 0, "
            f"got strength {found.strength:g} and covariances {found.origin}; --strength and "
            "--estimate choose others"
        )
    random = make_generator(seed, "directions at random")
    other = torch.randn(noise.shape, generator=random).to(noise)
    return torch.cat([noise, other * (lengths / other.norm(dim=2, keepdim=True))], dim=1)


def _tested(looks: _Looks, decoder: DecoderInverter, means: Tensor, seed: int) -> dict[str, float]:
    """Return the re-encoding error of a decoder on test images, and what class means come to."""
    test = looks.trained.data.test
    if len(test) == 0:
        return {}
    places = choose_samples(test.labels, seed, _MOST_TESTED)
    seen = _read(looks.trained, test, places, looks.predictor)
    reached = looks.at(decoder.make(seen.features, seen.labels))[1]
    return {
        "images": len(places),
        "error": float(_relative(reached, seen.features).mean()),
        "within": float(_relative(means[seen.labels], seen.features).mean()),
    }


def _class_means(gallery: _Read, num_classes: int) -> Tensor:
    """Return the mean feature of each class, ``(C, A)``."""
    counts = gallery.labels.bincount(minlength=num_classes).clamp(min=1)
    sums = gallery.features.new_zeros(num_classes, gallery.features.shape[1])
    return sums.index_add(0, gallery.labels, gallery.features) / counts.unsqueeze(1)


def _nearest(
    looks: _Looks, images: Tensor, gallery: _Read, places: Tensor, count: int
) -> dict[str, Nearest]:
    """Find the training images nearest to N images from -1 to 1, in two spaces."""
    made = ((images + 1) * 127.5).flatten(1).cpu()
    spaces = {
        "pixels": (made, gallery.pixels.flatten(1), 255.0),
        "features": (looks.at(images)[1], gallery.features, 1.0),
    }
    found, own = {}, gallery.labels.cpu()
    for space, (queries, references, unit) in spaces.items():
        distances, where = nearest_neighbours(queries, references, min(count, len(places)))
        distances, where = distances.cpu() / unit, where.cpu()
        found[space] = Nearest(gallery.pixels[where], places[where], own[where], distances)
    return found


def _read(
    trained: Trained, images: ImageSet | FileSet, places: Tensor | None, predictor: str
) -> _Read:
    """Read images, with what the network sees.

    Raises:
        UserError: If they are no bytes.
    """
    parts = []
    for batch in trained.pixels(images, places):
        if batch.pixels.dtype != torch.uint8:
            raise UserError(
                f"{trained.folder}: expected images of bytes, got {batch.pixels.dtype} numbers"
            )
        seen = compute_batch(trained, trained.prepare(batch.pixels), predictor)
        parts.append((batch.pixels.cpu(), *seen, batch.labels.to(trained.device)))
    if not parts:
        raise UserError(f"{trained.folder}: expected images to look at, got none")
    return _Read(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _chosen(
    trained: Trained,
    classes: Sequence[str],
    num_images: int,
    images: ImageSet | FileSet | None,
    predictor: str,
) -> tuple[tuple[str, ...], _Read]:
    """Return names of images and the images, each with the label that augments it."""
    for name in classes:
        if name not in trained.classes:
            raise UserError(unknown_name("visualize", "class", name, trained.classes))
    if images is not None:
        if len(classes) != 1:
            raise UserError(
                "visualize: expected one class, whose covariance augments the images, got "
                f"{len(classes)}"
            )
        read = _read(trained, images, None, predictor)
        count = range(len(images))
        names = [f"image {k}" for k in count]
        if isinstance(images, FileSet):
            names = [Path(str(images.paths[k])).name for k in count]
        label = trained.classes.index(classes[0])
        return tuple(names), read._replace(labels=torch.full_like(read.labels, label))
    test = trained.data.test
    present = [name for k, name in enumerate(trained.classes) if (test.labels == k).any()]
    places = []
    for name in classes or present[:_MOST_CLASSES]:
        own = (test.labels == trained.classes.index(name)).nonzero().squeeze(1).cpu()
        if len(own) == 0:
            raise UserError(f"visualize: expected test images of {name!r}, got none")
        places.append(own[:num_images])
    if not places:
        raise UserError(f"{trained.folder}: expected a run with test images, got one without")
    chosen = torch.cat(places)
    return tuple(f"test {k}" for k in chosen.tolist()), _read(trained, test, chosen, predictor)


def _check_generator(generator: Generator, trained: Trained, image: tuple[int, ...]) -> None:
    """Check that a generator makes images of the run.

    Raises:
        UserError: If it makes others.
    """
    if tuple(generator.image) != image:
        got, wanted = ("x".join(map(str, one)) for one in (generator.image, image))
        raise UserError(
            f"visualize: expected a generator of images of {wanted}, as {trained.label} has them, "
            f"got one of {got}: {generator.name}"
        )
    known = tuple(generator.classes) in ((), tuple(trained.classes))
    if generator.num_classes not in (1, len(trained.classes)) or not known:
        raise UserError(
            f"visualize: expected a generator of the {len(trained.classes)} classes of "
            f"{trained.label}, in their order, or of images without classes, got one of "
            f"{generator.num_classes} others: {generator.name}"
        )


def _random_images(inverter: Inverter, gallery: _Read, labels: Tensor, seed: int) -> Tensor:
    """Return an image of each label from -1 to 1: made if the inverter can, else of training."""
    random = make_generator(seed, "images at random")
    made = inverter.random(labels, random)
    if made is not None:
        return made
    own = gallery.labels.cpu()
    places = []
    for label in labels.tolist():
        among = (own == label).nonzero().squeeze(1)
        among = among if len(among) else torch.arange(len(own))
        places.append(among[torch.randint(len(among), (1,), generator=random)])
    return gallery.pixels[torch.cat(places)].to(labels.device, torch.float32) / 127.5 - 1

"""What directions in feature space mean: the images of a class that lie furthest along them.

The paper names three ways to find a direction (its Fig. 4): a person chooses two sets of images,
and the direction leads from the mean feature of the one to that of the other; it is drawn from
N(0, S_c), the covariance of the class; it is drawn at random. Beside them stand the strongest
directions of S_c, its eigenvectors. Each has a share of the variance of the class, v' S v / tr S of
a unit vector v: a random one has 1 / A on average.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, section 4.1, Figs. 3 and 4
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semaug._torch.names import unknown_name
from semaug.data import FileSet, ImageSet
from semaug.engine.preprocessing import stretched
from semaug.engine.seeding import make_generator
from semaug.engine.trained import Trained
from semaug.errors import UserError
from semaug.insight.features import compute_outputs, covariance_of, loss_of

_ROUNDING = 1e-10  # of squares of features, which are float32

# N images of a class, A features, K directions, E images at an end, h and w pixels.


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction, and the images of a class at its ends.

    Args:
        name: What it is, such as ``"direction 1"``.
        share: Of the variance of the class, from 0 to 1.
        deviation: Standard deviation of the images along it, in units of the features.
        places: ``(2, E)`` int64 of training images: at the low end, the lowest first, and at the
            high end, the highest last.
        projections: ``(2, E)`` float64, how far from the mean of the class.
        pictures: ``(2, E, 3, h, w)`` uint8.
    """

    name: str
    share: float
    deviation: float
    places: Tensor
    projections: Tensor
    pictures: Tensor


@dataclass(frozen=True, eq=False)
class ClassDirections:
    """Directions of a class.

    Args:
        name: Of the class.
        num_images: N, of the training images.
        num_features: A.
        trace: Variance of the class, summed over features.
        origin: Where the covariance is from, in words.
        within: Share of the square of the direction between two sets of images that lies within
            the strongest directions that are shown; None without sets.
        directions: Those found.
    """

    name: str
    num_images: int
    num_features: int
    trace: float
    origin: str
    within: float | None
    directions: tuple[Direction, ...]

    def plain(self, names: Callable[[int], str]) -> dict[str, Any]:
        """Return plain data.

        Args:
            names: Names a training image by its place.
        """

        def end(one: Direction, side: int) -> list[dict[str, Any]]:
            pairs = zip(one.places[side].tolist(), one.projections[side].tolist(), strict=True)
            return [{"image": names(place), "place": place, "at": at} for place, at in pairs]

        return {
            **{k: getattr(self, k) for k in ("num_images", "num_features", "trace", "within")},
            "class": self.name,
            "statistics": self.origin,
            "directions": [
                {
                    **{k: getattr(one, k) for k in ("name", "share", "deviation")},
                    "lowest": end(one, 0),
                    "highest": end(one, 1),
                }
                for one in self.directions
            ],
        }


def principal_directions(covariance: Tensor, number: int) -> Tensor:
    """Return the strongest directions of a covariance, the strongest first.

    The largest element of each is positive, so that equal covariances have equal directions.

    Args:
        covariance: ``(A, A)``, symmetric.
        number: K, at most A.

    Returns:
        ``(K, A)`` unit vectors.

    >>> principal_directions(torch.diag(torch.tensor([1.0, 3.0])), 1)
    tensor([[0., 1.]])
    """
    vectors = torch.linalg.eigh(covariance).eigenvectors.T.flip(0)[:number]
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * largest.sign()


def find_directions(
    trained: Trained,
    name: str,
    *,
    strongest: int = 4,
    num_images: int = 6,
    between: tuple[ImageSet | FileSet, ImageSet | FileSet] | None = None,
    sampled: int = 2,
    random: int = 2,
    predictor: str = "",
    estimate: bool = False,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> ClassDirections:
    """Find directions of a class, and its training images furthest along each.

    Args:
        trained: The network.
        name: Of the class.
        strongest: How many of the strongest directions; fewer if there are fewer features.
        num_images: E; fewer if the class has fewer than twice as many.
        between: Two sets of images, of the class or not: the direction from the mean of the first
            to that of the second.
        sampled: How many directions drawn from N(0, S_c).
        random: How many directions drawn evenly from all.
        predictor: Name of the predictor.
        estimate: Whether the covariance is that of the features of the class now, though the loss
            of the run has statistics. Other runs have none, and theirs always is.
        seed: Of what is drawn.
        advance: Called with the number of images of each batch.

    Raises:
        OSError: If a file cannot be read.
        UserError: If there is no such class, it has fewer than two images or no variance, the two
            sets have the same mean, a file is damaged, or the predictor has no features.
    """
    train = trained.data.train
    if name not in trained.classes:
        raise UserError(unknown_name("directions", "class", name, trained.classes))
    if train.labels.ndim > 1:
        raise UserError(f"{trained.folder}: expected a label for each image, got masks")
    label = trained.classes.index(name)
    places = (train.labels == label).nonzero().squeeze(1).cpu()
    if len(places) < 2:
        raise UserError(f"directions: expected two training images of {name!r}, got {len(places)}")
    features = compute_outputs(trained, train, places, predictor, advance).features.double()
    centred = features - features.mean(dim=0)
    if estimate or (loss := loss_of(trained, predictor)) is None:
        covariance = centred.T @ centred / len(centred)
        origin = "estimated from the features of the class"
    else:
        covariance = covariance_of(loss.estimator, label)  # type: ignore[arg-type]
        origin = "of the loss of the run"
    trace = float(covariance.trace())
    if not trace > _ROUNDING * float(features.square().sum(dim=1).mean()):
        raise UserError(f"directions: expected features of {name!r} that vary, got equal ones")

    axes = principal_directions(covariance, strongest)
    found = {f"direction {place}": one for place, one in enumerate(axes, start=1)}
    within = None
    if between is not None:
        first, second = (
            compute_outputs(trained, images, None, predictor, advance).features.double().mean(dim=0)
            for images in between
        )
        chosen = second - first
        if chosen.square().sum() <= _ROUNDING * first.square().sum():
            raise UserError("directions: expected two sets of images that differ in their mean")
        found["from one set to the other"] = chosen
        within = float((axes @ chosen).square().sum() / chosen.square().sum())
    generator = make_generator(seed, f"directions of {name}")
    drawn = torch.randn(sampled + random, len(covariance), generator=generator).to(covariance)
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    names = [f"drawn from N(0, Σ), {k + 1}" for k in range(sampled)]
    found |= dict(zip(names, drawn[:sampled] @ root, strict=True))
    found |= dict(zip([f"random, {k + 1}" for k in range(random)], drawn[sampled:], strict=True))

    count = min(num_images, len(places) // 2)
    units = torch.stack([one / one.norm() for one in found.values()])
    at, order = (centred @ units.T).sort(dim=0)  # (N, K)
    at, order = (x.T.unfold(1, count, len(x) - count).cpu() for x in (at, order))  # (K, 2, E)
    chosen_places = places[order]
    pictures = _pictures(trained, chosen_places.flatten()).unflatten(0, chosen_places.shape)
    shares = ((units @ covariance) * units).sum(dim=1) / trace
    deviations = (centred @ units.T).std(dim=0, correction=0)
    directions = tuple(
        Direction(*one)
        for one in zip(
            found, shares.tolist(), deviations.tolist(), chosen_places, at, pictures, strict=True
        )
    )
    return ClassDirections(name, len(places), len(covariance), trace, origin, within, directions)


def _pictures(trained: Trained, places: Tensor) -> Tensor:
    """Return training images ``(n, 3, h, w)`` uint8 as the network sees them, before it does."""
    pixels = torch.cat([batch.pixels.cpu() for batch in trained.pixels(trained.data.train, places)])
    if pixels.shape[1] not in (1, 3):
        raise UserError(
            f"{trained.folder}: expected images of 1 or 3 channels, got {pixels.shape[1]}"
        )
    pixels = pixels if pixels.dtype == torch.uint8 else stretched(pixels)
    return pixels.expand(-1, 3, -1, -1)

"""What images of augmented features show: the pictures, and what a network makes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Nearest", "Shown", "Visualization"]

# N images, K images made of each, M augmentations, h and w pixels.


@dataclass(frozen=True, eq=False)
class Shown:
    """K images beside each of N, and what the network makes of them.

    Args:
        pictures: ``(N, K, C, h, w)`` uint8 on the CPU.
        probs: ``(N, K)``, probability of the class of the image.
        residuals: ``(N, K)``, ``|f(image) - target| / |target|``; None without a target.
        followed: ``(N, K)``, how far the features went from those of the reconstruction towards the
            target, in parts of the way from the features of the image to it; None without.
    """

    pictures: Tensor
    probs: Tensor
    residuals: Tensor | None = None
    followed: Tensor | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain data but for pictures."""
        found = {name: getattr(self, name) for name in ("probs", "residuals", "followed")}
        return {name: value.tolist() for name, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Nearest:
    """The training images nearest to the first augmented image of each of N.

    Args:
        pictures: ``(N, K, C, h, w)`` uint8 on the CPU.
        places: ``(N, K)`` int64 of training images, the nearest first.
        labels: ``(N, K)`` int64.
        distances: ``(N, K)``, Euclidean; of pixels on a scale of 0 to 1.
    """

    pictures: Tensor
    places: Tensor
    labels: Tensor
    distances: Tensor


@dataclass(frozen=True, eq=False)
class Visualization:
    """Images of augmented features.

    Args:
        names: Of the N images: ``test 14`` by its place, or that of its file.
        labels: Names of their classes.
        inverter: What made images of features.
        origin: Where the covariances are from, in words.
        strength: lambda.
        shown: By name: ``original``, ``reconstruction``, ``augmented``, ``random direction`` and
            ``random image``.
        nearest: By ``pixels`` and ``features``.
        shifts: ``(N, M)``, how far augmentation moves features, ``|ã - a| / |a|``.
        within: Mean of ``|a - m_y| / |a|`` for the N images, m_y the mean of training features of
            the class: the residual of what shows the class alone.
        tested: Re-encoding error of a decoder: mean of ``|f(d(a)) - a| / |a|`` over test images,
            and of ``within`` over the same; empty of others.
        compared: Training images among which the nearest were looked for.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    inverter: str
    origin: str
    strength: float
    shown: dict[str, Shown]
    nearest: dict[str, Nearest]
    shifts: Tensor
    within: float
    tested: dict[str, float]
    compared: int

    def plain(self, name_of: Callable[[int], str], classes: Sequence[str]) -> dict[str, Any]:
        """Return plain data.

        Args:
            name_of: Names a training image by its place.
            classes: Names of the classes.
        """
        nearest = {
            space: [
                [
                    {"image": name_of(place), "class": classes[label], "distance": distance}
                    for place, label, distance in zip(*rows, strict=True)
                ]
                for rows in zip(
                    found.places.tolist(),
                    found.labels.tolist(),
                    found.distances.tolist(),
                    strict=True,
                )
            ]
            for space, found in self.nearest.items()
        }
        facts = ("inverter", "strength", "within", "compared")
        return {
            **{name: getattr(self, name) for name in facts},
            "images": [*self.names],
            "classes": [*self.labels],
            "statistics": self.origin,
            "shifts": self.shifts.tolist(),
            "re_encoding": self.tested,
            "shown": {name: one.plain() for name, one in self.shown.items()},
            "nearest": nearest,
        }

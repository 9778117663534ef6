"""A recipe and one line about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CIFAR", "CIFAR_STRENGTH", "Row", "describe", "percent_of_epochs"]

# By name of the data set, as a person reads it.
CIFAR = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}

# The papers choose lambda_0 from {0.1, 0.25, 0.5, 0.75, 1} for each network on held-out images,
# and do not print what they chose.
CIFAR_STRENGTH = "0.5"


@dataclass(frozen=True)
class Row:
    """A recipe with cross-entropy and one line about it.

    Args:
        recipe: The recipe.
        description: For people.
        isda: Options of the loss of its twin with ISDA; None if it has none.
    """

    recipe: Any
    description: str
    isda: Mapping[str, str] | None = field(default_factory=lambda: {"strength": CIFAR_STRENGTH})


def describe(network: str, data: str, *parts: str) -> str:
    """Say in a sentence what a recipe is.

    >>> describe("ResNet-110", "CIFAR-10", "Cutout", "cross-entropy")
    'ResNet-110 on CIFAR-10 with Cutout and cross-entropy.'
    """
    return f"{network} on {data} with {' and '.join(parts)}."


def percent_of_epochs(epochs: int, *falls_in: int) -> tuple[float, ...]:
    """Return the milestones of a learning rate that falls in some epochs, counted from 1.

    It falls with the first step of such an epoch, as in the released code of ISDA and of AIT.

    >>> percent_of_epochs(160, 80, 120)  # after 79 and 119 whole epochs
    (49.375, 74.375)
    """
    return tuple(100 * (epoch - 1) / epochs for epoch in falls_in)

"""Draws of a loss that neither a restart nor the number of processes changes."""

import torch
from torch import Tensor

from semaug._torch.compile import settled
from semaug._torch.draws import normal_draws, places_in_batch, random_bits
from semaug.losses._strength import Steps

__all__ = ["Draws"]

# N samples, A features.


class Draws(Steps):
    """Steps, and a seed: what is drawn depends on both, and on the position of an image.

    Args:
        owner: Name of the loss, for messages.

    Attributes:
        seed: int64 scalar, drawn from torch's global generator; kept in the state.
    """

    seed: Tensor

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.register_buffer("seed", torch.randint(2**31, ()))

    def reset_parameters(self) -> None:
        """Go back to step 0, with another seed."""
        super().reset_parameters()
        self.seed.random_(2**31)

    def bits(
        self, positions: Tensor | None, num_samples: int, columns: int, device: torch.device
    ) -> Tensor:
        """Draw whole numbers below 2^32, ``(N, columns)`` int64.

        Args:
            positions: ``(N,)`` int64 of the images in their set; None takes places in the batch.
            num_samples: N.
            columns: How many each sample gets.
            device: Of the numbers.
        """
        places = places_in_batch(positions, num_samples, device)
        return settled(random_bits(places, self.checked(), self.seed, columns))

    def normal(self, positions: Tensor | None, like: Tensor) -> Tensor:
        """Draw standard normal numbers of the shape ``(N, A)``, dtype and device of a tensor.

        Args:
            positions: As of :meth:`bits`.
            like: ``(N, A)``.
        """
        places = places_in_batch(positions, len(like), like.device)
        return settled(normal_draws(like, places, self.checked(), self.seed))

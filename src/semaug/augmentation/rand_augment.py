"""RandAugment: a few operations out of fourteen, all of one strength.

Source: Cubuk et al., 2019, https://arxiv.org/abs/1909.13719
"""

from dataclasses import dataclass
from operator import index

from torch import Tensor

from semaug._torch.checks import check_int
from semaug.augmentation.operations import Operation, Operations, computed_once
from semaug.augmentation.operator import check_fill

# N images, H and W pixels.

_NAMES = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)


@dataclass(frozen=True)
class RandAugment(Operations):
    """Apply operations to each image, each drawn from the same fourteen.

    All are equally likely, doing nothing among them. Those that have a direction go either
    way with probability one half. Given the same decisions, every image comes out as from
    ``torchvision.transforms.RandAugment`` of a Pillow image, bit for bit: pixels are moved,
    not interpolated.

    Args:
        num_ops: How many operations, one after the other; N in the paper.
        magnitude: How strong they are, from 0 to ``num_bins - 1``; M in the paper.
        num_bins: Number of magnitudes to choose from.
        fill: What lies outside of an image that is moved: a byte for all channels, or one for
            each; black by default, as in torchvision.

    Raises:
        TypeError: If a number is not an int, or ``fill`` neither a number nor a tuple of them.
        ValueError: If ``num_ops`` is below 1, ``num_bins`` below 2, ``magnitude`` negative or not
            below ``num_bins``, or ``fill`` not finite.
    """

    num_ops: int = 2
    magnitude: int = 9
    num_bins: int = 31
    fill: float | tuple[float, ...] = 0

    def __post_init__(self) -> None:
        check_int("RandAugment", "num_ops", self.num_ops, 1)
        check_int("RandAugment", "num_bins", self.num_bins, 2)
        check_int("RandAugment", "magnitude", self.magnitude, 0)
        if self.magnitude >= self.num_bins:
            raise ValueError(
                f"RandAugment: expected `magnitude` from 0 to {self.num_bins - 1}, "
                f"got {self.magnitude}"
            )
        check_fill("RandAugment", self.fill)

    @property
    def num_draws(self) -> int:
        """Two for each operation, which one and its direction."""
        return 2 * self.num_ops

    def choose(self, draws: Tensor) -> tuple[tuple[Operation, ...], Tensor]:
        """Return the fourteen operations in both directions, and which each image gets."""
        name = (draws[:, ::2] * len(_NAMES)).long().clamp_(max=len(_NAMES) - 1)
        operations = _operations(index(self.magnitude), index(self.num_bins))
        return operations, 2 * name + (draws[:, 1::2] < 0.5)


@computed_once
def _operations(magnitude: int, num_bins: int) -> tuple[Operation, ...]:
    """List all there is to choose from, each in both directions."""
    return tuple(
        Operation(name, magnitude, num_bins, negative)
        for name in _NAMES
        for negative in (False, True)
    )

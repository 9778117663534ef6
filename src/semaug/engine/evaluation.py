"""What stands between the networks and the metrics: how an image is shown to be tested.

An evaluator calls ``predict(images)``, a function of images ``(N, C, H, W)`` to the outputs of each
predictor by its name, once or several times, and returns one output for each predictor: ``(N, K)``,
or ``(N, K, H, W)`` of the size of the truth where there is a label for each pixel.

Of a single pass the outputs are returned as they are. Over several passes, flipped or scaled, the
softmax probabilities are averaged, in float32 or better, and their logarithm is returned: softmax
of what an evaluator returns is always the probabilities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug.errors import UserError, check_option
from semaug.registry import Sizes, evaluations

__all__ = ["Evaluator", "Predict", "SlidingWindow", "Whole"]

# N images of C channels, H and W pixels; K classes.

# From images to the outputs of networks by name.
Predict = Callable[[Tensor], Mapping[str, Tensor]]
# From a predictor, images, and the size of dense labels, to outputs of that size.
Evaluator = Callable[[Predict, Tensor, tuple[int, int] | None], dict[str, Tensor]]


@evaluations.register("whole")
@dataclass(frozen=True, kw_only=True)
class Whole:
    """Each image as a whole.

    Args:
        mirror: Whether the mirror image is predicted too, and probabilities are averaged.
        scales: Factors by which images are resized; over several, probabilities are averaged.

    Raises:
        UserError: If there is no scale, or one is not positive.
    """

    mirror: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        inside = all(0 < scale < math.inf for scale in self.scales)
        check_option("scales", self.scales, inside and len(self.scales) > 0, "> 0, one or more")

    def build(self, sizes: Sizes) -> Evaluator:
        """Return the evaluator."""
        return self._evaluate

    def _evaluate(
        self, predict: Predict, images: Tensor, size: tuple[int, int] | None
    ) -> dict[str, Tensor]:
        """Return the outputs for images, of height and width ``size`` if these are masks'."""
        passes = list(product(self.scales, (False, True)[: 1 + self.mirror]))
        totals: dict[str, Tensor] = {}
        for scale, mirrored in passes:
            seen = _resize(images, [max(1, round(side * scale)) for side in images.shape[2:]])
            for name, outputs in predict(seen.flip(-1) if mirrored else seen).items():
                if size is not None:
                    outputs = _resize(outputs.flip(-1) if mirrored else outputs, size)
                if len(passes) > 1:
                    outputs = _widen(outputs).softmax(dim=1)
                totals[name] = totals[name] + outputs if name in totals else outputs
        if len(passes) == 1:
            return totals
        return {name: (total / len(passes)).log() for name, total in totals.items()}


@evaluations.register("sliding_window")
@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Whole):
    """Sliding windows over each image, for masks; outputs are averaged where windows overlap.

    An image smaller than the window is padded with zeros, the mean color, on the right and below.

    Args:
        window: Height and width, in pixels.
        stride_percent: Distance from one window to the next, in percent of the window; the last
            one ends with the image.

    Raises:
        UserError: If a number is out of range.
    """

    window: int
    stride_percent: float = 66.7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("window", self.window, self.window >= 1, ">= 1")
        inside = 0 < self.stride_percent <= 100
        check_option("stride_percent", self.stride_percent, inside, "above 0 and <= 100")

    def _evaluate(
        self, predict: Predict, images: Tensor, size: tuple[int, int] | None
    ) -> dict[str, Tensor]:
        if size is None:
            raise UserError(
                "recipe: evaluation=sliding_window expects a label for each pixel, got one for "
                "each image; take evaluation=whole"
            )
        return super()._evaluate(partial(self._slide, predict), images, size)

    def _slide(self, predict: Predict, images: Tensor) -> Mapping[str, Tensor]:
        """Return outputs of the size of the images, or those of the only window as they are."""
        height, width = images.shape[2:]
        if (height, width) == (self.window, self.window):
            return predict(images)
        below, right = (max(0, self.window - side) for side in (height, width))
        padded = F.pad(images, (0, right, 0, below))
        count = torch.zeros(padded.shape[2:], device=images.device)
        totals: dict[str, Tensor] = {}
        for top, left in product(*map(self._starts, padded.shape[2:])):
            place = (..., slice(top, top + self.window), slice(left, left + self.window))
            count[place] += 1
            for name, outputs in predict(padded[place]).items():
                outputs = _widen(_resize(outputs, (self.window, self.window)))
                if name not in totals:
                    totals[name] = outputs.new_zeros(*outputs.shape[:2], *count.shape)
                totals[name][place] += outputs
        return {name: (total / count)[..., :height, :width] for name, total in totals.items()}

    def _starts(self, length: int) -> list[int]:
        stride = max(1, round(self.window * self.stride_percent / 100))
        return [*range(0, length - self.window, stride), length - self.window]


def _resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly, with pixels as squares; an image of that size stays as it is."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(_widen(images), tuple(size), mode="bilinear", align_corners=False)


def _widen(outputs: Tensor) -> Tensor:
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))

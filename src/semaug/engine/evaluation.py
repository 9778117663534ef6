"""What stands between the networks and the metrics: how an image is shown to be tested.

An evaluator calls ``predict(images)``, a function of images ``(N, C, H, W)`` to the outputs of each
predictor by its name, once or several times, and returns one output for each predictor: ``(N, K)``,
or ``(N, K, H, W)`` of the size of the truth where there is a label for each pixel.

Where an image or a pixel is shown once, its outputs are returned as they are. Where it is shown
several times, by overlapping windows, mirrored or scaled, an average in float32 or better is: of
the softmax probabilities, whose logarithm is returned, or of the outputs themselves. So softmax of
what an evaluator returns always are probabilities. Sums are kept, and no list of outputs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug.errors import UserError, check_option
from semaug.registry import Sizes, evaluations

__all__ = ["Evaluator", "Predict", "SlidingWindow", "Whole", "resize_outputs"]

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
        mirror: Whether the mirror image is predicted too.
        scales: Factors by which images are resized. Outputs for pixels get the size of the truth
            before they are averaged.
        average: What is averaged where an image is shown several times, ``"probabilities"`` or
            ``"logits"``.

    Raises:
        UserError: If there is no scale, or one is not positive.
    """

    mirror: bool = False
    scales: tuple[float, ...] = (1.0,)
    average: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        inside = all(0 < scale < math.inf for scale in self.scales)
        check_option("scales", self.scales, inside and len(self.scales) > 0, "> 0, one or more")

    def build(self, sizes: Sizes) -> Evaluator:
        """Return the evaluator; it resizes outputs for pixels as ``sizes.align_corners`` says."""
        return partial(self._evaluate, sizes.align_corners)

    def _evaluate(
        self,
        align_corners: bool,
        predict: Predict,
        images: Tensor,
        size: tuple[int, int] | None,
    ) -> dict[str, Tensor]:
        """Return the outputs for images, of height and width ``size`` if these are masks'."""
        passes = list(product(self.scales, (False, True)[: 1 + self.mirror]))
        totals: dict[str, Tensor] = {}
        for scale, mirrored in passes:
            seen = _resize(images, [max(1, round(side * scale)) for side in images.shape[2:]])
            for name, outputs in predict(seen.flip(-1) if mirrored else seen).items():
                if size is not None:
                    if align_corners:  # those corners are of the image as it was shown
                        outputs = resize_outputs(outputs, seen.shape[2:], align_corners)
                    outputs = _resize(outputs.flip(-1) if mirrored else outputs, size)
                if len(passes) > 1:
                    outputs = self._summand(outputs)
                totals[name] = totals[name] + outputs if name in totals else outputs
        if len(passes) == 1:
            return totals
        return {name: self._logits_of_mean(total / len(passes)) for name, total in totals.items()}

    def _summand(self, outputs: Tensor) -> Tensor:
        return _widen(outputs) if self.average == "logits" else _widen(outputs).softmax(dim=1)

    def _logits_of_mean(self, mean: Tensor) -> Tensor:
        return mean if self.average == "logits" else mean.log()


@evaluations.register("sliding_window")
@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Whole):
    """Sliding windows over each image, for masks; they are averaged where they overlap.

    An image smaller than the window is padded with zeros, the mean color, on the right and below.

    Args:
        window: Height and width, in pixels.
        stride_percent: Distance from one window to the next, in percent of the window, rounded up;
            the last one ends with the image. The default is two thirds.

    Raises:
        UserError: If a number is out of range.
    """

    window: int
    stride_percent: float = 200 / 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("window", self.window, self.window >= 1, ">= 1")
        inside = 0 < self.stride_percent <= 100
        check_option("stride_percent", self.stride_percent, inside, "above 0 and <= 100")

    def _evaluate(
        self,
        align_corners: bool,
        predict: Predict,
        images: Tensor,
        size: tuple[int, int] | None,
    ) -> dict[str, Tensor]:
        if size is None:
            raise UserError(
                "recipe: evaluation=sliding_window expects a label for each pixel, got one for "
                "each image; take evaluation=whole"
            )
        slide = partial(self._slide, align_corners, predict)
        return super()._evaluate(align_corners, slide, images, size)

    def _slide(self, align_corners: bool, predict: Predict, images: Tensor) -> Mapping[str, Tensor]:
        """Return outputs of the size of the images, or those of the only window as they are."""
        height, width = images.shape[2:]
        if (height, width) == (self.window, self.window):
            return predict(images)
        below, right = (max(0, self.window - side) for side in (height, width))
        padded = F.pad(images, (0, right, 0, below))
        places = list(product(*map(self._window_starts, padded.shape[2:])))
        count = torch.zeros(padded.shape[2:], device=images.device)
        totals: dict[str, Tensor] = {}
        for top, left in places:
            place = (..., slice(top, top + self.window), slice(left, left + self.window))
            count[place] += 1
            for name, outputs in predict(padded[place]).items():
                outputs = resize_outputs(outputs, (self.window, self.window), align_corners)
                outputs = self._summand(outputs) if len(places) > 1 else _widen(outputs)
                if name not in totals:
                    totals[name] = outputs.new_zeros(*outputs.shape[:2], *count.shape)
                totals[name][place] += outputs
        if len(places) > 1:
            totals = {name: self._logits_of_mean(total / count) for name, total in totals.items()}
        return {name: total[..., :height, :width] for name, total in totals.items()}

    def _window_starts(self, length: int) -> list[int]:
        stride = math.ceil(self.window * self.stride_percent / 100 - 1e-9)  # 6 is not 6.0...01
        return [*range(0, length - self.window, stride), length - self.window]


def resize_outputs(outputs: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Resize outputs ``(N, K, h, w)`` bilinearly; those of that size stay as they are.

    Args:
        outputs: Of pixels.
        size: Height and width.
        align_corners: Whether the middles of the corners lie on each other; else the borders.
    """
    if tuple(outputs.shape[2:]) == tuple(size):
        return outputs
    wide = _widen(outputs)
    return F.interpolate(wide, tuple(size), mode="bilinear", align_corners=align_corners)


def _resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize with pixels as squares."""
    return resize_outputs(images, size, align_corners=False)


def _widen(outputs: Tensor) -> Tensor:
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))

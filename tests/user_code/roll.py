"""Roll: shift each image by any number of pixels; what leaves at one side enters at the other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semaug.augmentation import Augmentation
from semaug.data import DataSet
from semaug.errors import check_option


@dataclass(frozen=True, kw_only=True)
class Roll:
    """Shift each image cyclically, as far as it is wide and high at most.

    Args:
        percent: Largest shift, in percent of the side.
    """

    percent: float = 100.0

    def __post_init__(self) -> None:
        check_option("percent", self.percent, 0 <= self.percent <= 100, "from 0 to 100")

    def build(self, data: DataSet) -> Augmentation:
        return Rolled(self.percent / 100)


class Rolled(Augmentation):
    """Shift down and to the right by as much as two draws say."""

    num_draws = 2

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        down, right = (self.share * draws).unbind(1)
        rows = (
            torch.arange(height, device=images.device) - (down * height).long()[:, None]
        ) % height
        columns = (
            torch.arange(width, device=images.device) - (right * width).long()[:, None]
        ) % width
        place = torch.arange(len(images), device=images.device).view(-1, 1, 1)
        return images.movedim(1, -1)[place, rows[:, :, None], columns[:, None]].movedim(-1, 1)

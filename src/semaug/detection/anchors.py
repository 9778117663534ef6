"""Boxes that a detector starts from: some around each cell of each feature map."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semaug.detection.presets import Preset

__all__ = ["STRIDES", "AnchorGrid"]

STRIDES = (4, 8, 16, 32, 64)  # pixels between cells of the levels P2 to P6


class AnchorGrid:
    """Anchors of all levels.

    Args:
        scales: Sides of square anchors, in strides of their level.
        ratios: Heights over widths; scales of one ratio stand beside each other.
        preset: How anchors stand, and which are trained.
    """

    def __init__(self, scales: Sequence[float], ratios: Sequence[float], preset: Preset) -> None:
        self.preset = preset
        roots = torch.tensor(ratios, dtype=torch.float64).sqrt()[:, None]
        units = torch.tensor(scales, dtype=torch.float64)[None]
        sides = torch.stack([units / roots, units * roots], dim=-1).flatten(0, 1)
        self.cell = torch.cat([-sides, sides], dim=1) / 2  # (A, 4), in strides

    def __len__(self) -> int:
        """Return how many anchors a cell has."""
        return len(self.cell)

    def __call__(self, maps: Sequence[Tensor], images: Tensor) -> list[Tensor]:
        """Make the anchors of each level, in the order of rows, columns and ratios.

        Args:
            maps: ``(B, D, h, w)`` of each level.
            images: ``(B, 3, H, W)``.

        Returns:
            ``(h * w * A, 4)`` of each level, of the dtype of the images.
        """
        return [
            self._of_level(stride, one.shape[2:], images)
            for stride, one in zip(STRIDES, maps, strict=True)
        ]

    def _of_level(self, stride: int, grid: torch.Size, images: Tensor) -> Tensor:
        cell, steps = self.cell * stride, [stride, stride]
        if self.preset.anchors_rounded:
            cell = cell.round()
            steps = [x // y for x, y in zip(images.shape[2:], grid, strict=True)]
        rows, columns = (
            torch.arange(n, device=images.device, dtype=images.dtype) * step
            for n, step in zip(grid, steps, strict=True)
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        shifts = torch.stack([x, y, x, y], dim=-1).view(-1, 1, 4)
        return (shifts + cell.to(shifts)).view(-1, 4)

    def trained(
        self, anchors: Sequence[Tensor], maps: Sequence[Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Tell which anchors of all levels, one after the other, may be trained on an image.

        Args:
            anchors: Of each level.
            maps: ``(B, D, h, w)`` of each level.
            size: Height and width of the image before padding.
        """
        together = torch.cat(list(anchors))
        valid = torch.ones(len(together), dtype=torch.bool, device=together.device)
        if self.preset.anchors_on_image:  # or on its own padding to a multiple of 32
            valid = torch.cat(
                [
                    self._on_image(stride, one, size)
                    for stride, one in zip(STRIDES, maps, strict=True)
                ]
            )
        if self.preset.anchors_inside:
            limits = together.new_tensor([size[1], size[0]])
            valid &= (together[:, :2] >= 0).all(dim=1) & (together[:, 2:] < limits).all(dim=1)
        return valid

    def _on_image(self, stride: int, one: Tensor, size: tuple[int, int]) -> Tensor:
        rows, columns = (
            torch.arange(n, device=one.device) * stride < -(-side // 32) * 32
            for n, side in zip(one.shape[2:], size, strict=True)
        )
        return (rows[:, None] & columns).flatten().repeat_interleave(len(self))

"""The region proposal network: which anchors hold an object, and where exactly."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import batched_nms, box_iou

from semaug.detection.anchors import AnchorGrid
from semaug.detection.boxes import Target
from semaug.detection.matching import decode_boxes, encode_boxes, sample
from semaug.detection.presets import Preset

__all__ = ["RegionProposals"]

_STDS = (1.0, 1.0, 1.0, 1.0)
_PER_LEVEL = (1000, 2000)  # boxes that enter suppression, in evaluation and in training
_KEPT = 1000  # in evaluation
_OVERLAP = 0.7
_SAMPLED, _POSITIVE = 256, 0.5


class RegionProposals(nn.Module):
    """Head, losses and proposals of all levels; section 3.1 of https://arxiv.org/abs/1506.01497.

    Args:
        width: Channels of the feature maps.
        grid: Of anchors.
        preset: Settings.
    """

    def __init__(self, width: int, grid: AnchorGrid, preset: Preset) -> None:
        super().__init__()
        self.head = RPNHead(width, len(grid))  # starts at N(0, .01) in both presets
        self.grid, self.preset = grid, preset

    def forward(
        self,
        maps: Sequence[Tensor],
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Target] | None = None,
        generators: Sequence[torch.Generator | None] = (),
    ) -> tuple[list[Tensor], dict[str, tuple[Tensor, int]]]:
        """Propose boxes.

        Args:
            maps: ``(B, D, h, w)`` of P2 to P6.
            images: ``(B, 3, H, W)``, for their size and dtype.
            sizes: Height and width of each before padding.
            targets: Of each image, for losses.
            generators: Of each image, on the CPU; draw the anchors to train on.

        Returns:
            Boxes ``(N, 4)`` of each image, best first and without gradient, and for each loss its
            sum over the sampled anchors of all images, and how many these are.
        """
        anchors = self.grid(maps, images)
        logits, deltas = (
            [_by_anchor(one, images.dtype, len(self.grid)) for one in level]
            for level in self.head(list(maps))
        )
        proposals = [
            self._proposed(
                [one[i, :, 0].detach() for one in logits],
                [one[i].detach() for one in deltas],
                anchors,
                size,
            )
            for i, size in enumerate(sizes)
        ]
        if targets is None:
            return proposals, {}
        trained = [self.grid.trained(anchors, maps, size) for size in sizes]
        together = torch.cat(anchors), torch.cat(logits, dim=1)[..., 0], torch.cat(deltas, dim=1)
        return proposals, self._losses(*together, trained, targets, generators)

    def _proposed(
        self,
        logits: list[Tensor],
        deltas: list[Tensor],
        anchors: list[Tensor],
        size: tuple[int, int],
    ) -> Tensor:
        best = [one.topk(min(_PER_LEVEL[self.training], len(one))) for one in logits]
        boxes = torch.cat(
            [
                decode_boxes(of[top.indices], near[top.indices], _STDS, size)
                for of, near, top in zip(deltas, anchors, best, strict=True)
            ]
        )
        scores = torch.cat([top.values for top in best])
        levels = torch.cat([torch.full_like(top.indices, i) for i, top in enumerate(best)])
        sides = boxes[:, 2:] - boxes[:, :2]
        least = self.preset.least_side
        large = ((sides >= least) & (sides > 0)).all(dim=1)
        boxes, scores, levels = boxes[large], scores[large], levels[large]
        kept = self.preset.proposals if self.training else _KEPT
        return boxes[batched_nms(boxes, scores, levels, _OVERLAP)[:kept]]

    def _losses(
        self,
        anchors: Tensor,
        logits: Tensor,
        deltas: Tensor,
        trained: list[Tensor],
        targets: Sequence[Target],
        generators: Sequence[torch.Generator | None],
    ) -> dict[str, tuple[Tensor, int]]:
        objectness, box = logits.sum() * 0, deltas.sum() * 0
        count = 0
        for target, valid, scores, moves, generator in zip(
            targets, trained, logits, deltas, generators, strict=True
        ):
            places = valid.nonzero()[:, 0]
            matches = self.preset.rpn_matching(box_iou(target.boxes, anchors[places]))
            positive, negative = sample(matches, _SAMPLED, _POSITIVE, generator)
            wanted = target.boxes[matches[positive]]
            positive, negative = places[positive], places[negative]
            chosen = torch.cat([scores[positive], scores[negative]])
            labels = (torch.arange(len(chosen), device=chosen.device) < len(positive)).to(chosen)
            objectness = objectness + F.binary_cross_entropy_with_logits(
                chosen, labels, reduction="sum"
            )
            box = box + F.smooth_l1_loss(
                moves[positive],
                encode_boxes(wanted, anchors[positive], _STDS),
                reduction="sum",
                beta=self.preset.rpn_beta,
            )
            count += len(chosen)
        return {"rpn_objectness": (objectness, count), "rpn_box": (box, count)}


def _by_anchor(output: Tensor, dtype: torch.dtype, per_cell: int) -> Tensor:
    """Turn ``(B, A * K, h, w)`` into ``(B, h * w * A, K)``."""
    return (
        output.to(dtype).permute(0, 2, 3, 1).reshape(len(output), -1, output.shape[1] // per_cell)
    )

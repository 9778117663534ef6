"""What is made of the region of each box: classes, better boxes, masks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import box_area, roi_align

from semaug.detection.anchors import STRIDES
from semaug.detection.matching import encode_boxes
from semaug.detection.presets import Preset, Stage

__all__ = ["BoxHead", "MaskHead", "paste_masks", "pool_regions"]

_FINEST = 56  # pixels of the geometric mean of sides up to twice which P2 is pooled
_SIDE, _MASK_SIDE = 7, 14  # bins of RoIAlign
_MASK_LAYERS = 4


def pool_regions(maps: Sequence[Tensor], boxes: Sequence[Tensor], side: int, how: Preset) -> Tensor:
    """Pool the region of each box from the level for its size.

    Args:
        maps: ``(B, D, h, w)`` of P2 to P5, and of further levels, which are not used.
        boxes: ``(N, 4)`` of each image.
        side: Bins along each side.
        how: RoIAlign samples.

    Returns:
        ``(K, D, side, side)`` of the boxes of all images, one image after the other; equation 1 of
        Lin et al., 2017, https://arxiv.org/abs/1612.03144, chooses the level.
    """
    together = torch.cat(list(boxes))
    images = [torch.full_like(one[:, :1], i) for i, one in enumerate(boxes)]
    regions = torch.cat([torch.cat(images), together], dim=1)
    sizes = box_area(together).sqrt()
    levels = (sizes / _FINEST + 1e-6).log2().floor().clamp(0, 3)
    places = [(levels == level).nonzero()[:, 0] for level in range(4)]
    pooled = [
        roi_align(one.to(regions), regions[at], side, 1 / stride, how.sampling_ratio, how.aligned)
        for one, at, stride in zip(maps[:4], places, STRIDES[:4], strict=True)
    ]  # from each level, if no region at all, so that its weights are in the graph
    return torch.cat(pooled)[torch.cat(places).argsort()]


class BoxHead(TwoMLPHead):
    """Two hidden layers, class logits with the background last, and changes of the box.

    ``Shared2FCBBoxHead`` of MMDetection, on a hidden part of torchvision.

    Args:
        width: D, channels of the feature maps.
        hidden: Units of each hidden layer.
        num_classes: C.
        stage: Settings.
        preset: Settings that all stages share.
    """

    def __init__(
        self, width: int, hidden: int, num_classes: int, stage: Stage, preset: Preset
    ) -> None:
        super().__init__(width * _SIDE**2, hidden)
        self.stage, self.preset = stage, preset
        self.cls_score = nn.Linear(hidden, num_classes + 1)
        self.bbox_pred = nn.Linear(hidden, 4 * (1 if stage.agnostic else num_classes))
        if preset.own_initialization:
            for layer in (self.fc6, self.fc7):
                nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(self.cls_score.weight, std=0.01)
            nn.init.normal_(self.bbox_pred.weight, std=0.001)
            for layer in self.children():
                nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits ``(K, C + 1)`` and changes ``(K, C or 1, 4)`` of the K boxes."""
        hidden = super().forward(pool_regions(maps, boxes, _SIDE, self.preset))
        dtype = boxes[0].dtype
        deltas = self.bbox_pred(hidden).to(dtype)
        return self.cls_score(hidden).to(dtype), deltas.view(len(deltas), -1, 4)

    def losses(
        self, logits: Tensor, deltas: Tensor, labels: Tensor, boxes: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sum the weighted losses of sampled boxes.

        Args:
            logits: ``(K, C + 1)``.
            deltas: ``(K, C or 1, 4)``.
            labels: ``(K,)``, with C for the background.
            boxes: ``(K, 4)``.
            wanted: ``(P, 4)`` boxes of the objects of the P positive ones.

        Returns:
            Cross-entropy of classes and Smooth-L1 of positive boxes. Without any, all parameters
            are in the graph all the same.
        """
        positive = (labels < logits.shape[1] - 1).nonzero()[:, 0]
        column = labels[positive] * (not self.stage.agnostic)
        box = F.smooth_l1_loss(
            deltas[positive, column],
            encode_boxes(wanted, boxes[positive], self.stage.stds),
            reduction="sum",
            beta=self.stage.beta,
        )
        weight = self.stage.weight
        return weight * F.cross_entropy(logits, labels, reduction="sum"), weight * box


class MaskHead(nn.Module):
    """Four convolutions, a deconvolution and a mask of 28x28 for each class.

    ``FCNMaskHead`` of MMDetection, on parts of torchvision; https://arxiv.org/abs/1703.06870.

    Args:
        width: D, channels of the feature maps and of all layers.
        num_classes: C.
        preset: Settings.
    """

    def __init__(self, width: int, num_classes: int, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.convs = MaskRCNNHeads(width, [width] * _MASK_LAYERS, 1)
        self.predictor = MaskRCNNPredictor(width, width, num_classes)
        if preset.own_initialization:
            nn.init.zeros_(self.predictor.conv5_mask.bias)
            nn.init.zeros_(self.predictor.mask_fcn_logits.bias)

    def forward(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return the mask logits ``(K, 28, 28)`` of the K boxes of all images, for their labels."""
        pooled = pool_regions(maps, boxes, _MASK_SIDE, self.preset)
        logits: Tensor = self.predictor(self.convs(pooled)).to(boxes[0].dtype)
        return logits[torch.arange(len(labels), device=labels.device), labels]

    def loss(
        self,
        maps: Sequence[Tensor],
        boxes: Sequence[Tensor],
        labels: Tensor,
        masks: Sequence[Tensor],
        objects: Sequence[Tensor],
    ) -> tuple[Tensor, int]:
        """Sum the binary cross-entropy over the pixels of the masks of all positive boxes.

        Args:
            maps: ``(B, D, h, w)`` of each level.
            boxes: ``(N, 4)`` positive ones of each image.
            labels: Of all of them.
            masks: ``(G, H, W)`` of the objects of each image.
            objects: ``(N,)`` the number of the object of each box.

        Returns:
            The sum, and the number of pixels.
        """
        logits = self(maps, boxes, labels)
        side, how = logits.shape[-1], self.preset
        cut = [
            roi_align(
                mask[:, None].to(own),
                torch.cat([number[:, None].to(own), own], dim=1),
                side,
                aligned=how.aligned,
            )[:, 0]
            for own, mask, number in zip(boxes, masks, objects, strict=True)
        ]
        wanted = torch.cat(cut)
        if how.hard_masks:
            wanted = (wanted >= 0.5).to(logits)
        loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        return loss, logits.numel()


def paste_masks(probs: Tensor, boxes: Tensor, size: tuple[int, int], *, whole: bool) -> Tensor:
    """Put masks of boxes into images.

    Args:
        probs: ``(N, 28, 28)``.
        boxes: ``(N, 4)``.
        size: Height and width of the image.
        whole: Whether boxes are widened to whole pixels first, as in torchvision; else each pixel
            takes the mask at its center, as in MMDetection.

    Returns:
        ``(N, H, W)`` bool: where the mask is above one half.
    """
    if whole:
        pasted: Tensor = paste_masks_in_image(probs[:, None], boxes, size)[:, 0] > 0.5
        return pasted
    found = torch.zeros(len(probs), *size, dtype=torch.bool, device=probs.device)
    for prob, box, out in zip(probs, boxes, found, strict=True):
        x1, y1 = (int(x) for x in (box[:2].floor() - 1).clamp(min=0))
        x2, y2 = (int(x) for x in box[2:].ceil() + 1)
        window = out[y1:y2, x1:x2]
        y, x = (
            2 * (torch.arange(n, device=box.device) + first + 0.5 - box[k]) / (box[k + 2] - box[k])
            for n, first, k in zip(window.shape, (y1, x1), (1, 0), strict=True)
        )
        at = torch.stack(torch.broadcast_tensors(x[None] - 1, y[:, None] - 1), dim=-1)
        window.copy_(F.grid_sample(prob[None, None], at[None], align_corners=False)[0, 0] > 0.5)
    return found

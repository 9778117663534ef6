"""Two-stage detectors on a feature pyramid: Faster R-CNN, Mask R-CNN and Cascade R-CNN.

Sources: Ren et al., 2015, https://arxiv.org/abs/1506.01497; Lin et al., 2017,
https://arxiv.org/abs/1612.03144; He et al., 2017, https://arxiv.org/abs/1703.06870; Cai and
Vasconcelos, 2018, https://arxiv.org/abs/1712.00726; with the settings of MMDetection 3.3,
``configs/_base_/models``, or of torchvision.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FeaturePyramidNetwork, batched_nms, box_iou
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from semaug._torch.checks import check_labels, check_range, check_shapes
from semaug._torch.distributed import sum_over_ranks, world_size
from semaug.detection.anchors import STRIDES, AnchorGrid
from semaug.detection.backbone import first_modules
from semaug.detection.boxes import Detections, Target
from semaug.detection.matching import decode_boxes, sample
from semaug.detection.presets import Preset, Stage
from semaug.detection.roi import BoxHead, MaskHead, paste_masks
from semaug.detection.rpn import RegionProposals

__all__ = ["Detector"]

_SAMPLED, _POSITIVE = 512, 0.25
_LEAST_SIDE = 0.01  # pixels of a box that is found


class Detector(nn.Module):
    """A backbone, a feature pyramid, proposals, one or more box heads, perhaps a mask head.

    In training mode parts of the backbone stay as they are, and so do its running statistics.

    Args:
        backbone: Maps images to the four feature maps with strides 4, 8, 16 and 32, and has timm's
            ``feature_info`` of them.
        num_classes: C.
        preset: Settings of all parts.
        stages: Of each box head, one after the other.
        masks: Whether there is a mask head.
        width: Channels of the feature pyramid and of the heads on it.
        head_width: Units of the hidden layers of a box head.
        anchor_scales: Sides of square anchors, in strides of their level.
        anchor_ratios: Heights over widths.
        frozen_stages: How many of the four levels of the backbone are not trained, the stem with
            the first.
        norm_eval: Whether the batch norms of the backbone keep their running statistics and use
            them.
        score_threshold: Above which boxes are found.
        nms_threshold: IoU above which the lower score of two boxes of a class is dropped.
        max_detections: Of an image.

    Raises:
        ValueError: If the backbone has other strides.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        preset: Preset,
        stages: Sequence[Stage],
        *,
        masks: bool = False,
        width: int = 256,
        head_width: int = 1024,
        anchor_scales: Sequence[float] = (8.0,),
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        frozen_stages: int = 1,
        norm_eval: bool = True,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        info: Any = backbone.feature_info
        if (strides := tuple(info.reduction())) != STRIDES[:4]:
            raise ValueError(
                f"Detector: expected feature maps of strides {STRIDES[:4]}, got {strides}"
            )
        self.num_classes, self.preset, self.stages = num_classes, preset, tuple(stages)
        self.score_threshold, self.nms_threshold = score_threshold, nms_threshold
        self.max_detections, self.norm_eval = max_detections, norm_eval
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(info.channels(), width, LastLevelMaxPool())
        if preset.own_initialization:
            for layer in self.fpn.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.xavier_uniform_(layer.weight)
        grid = AnchorGrid(anchor_scales, anchor_ratios, preset)
        self.rpn = RegionProposals(width, grid, preset)
        self.box_heads = nn.ModuleList(
            BoxHead(width, head_width, num_classes, stage, preset) for stage in stages
        )
        self.mask_head = MaskHead(width, num_classes, preset) if masks else None
        self._frozen = first_modules(backbone, frozen_stages)
        for module in self._frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        if not preset.train_norms:
            for norm in _norms(backbone):
                norm.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "Detector":
        """Set the mode of all but what stays as in evaluation: frozen parts and batch norms."""
        super().train(mode)
        for module in [*self._frozen, *(_norms(self.backbone) if self.norm_eval else ())]:
            module.training = False
        return self

    def get_heads(self) -> tuple[nn.Module, ...]:
        """Return all but the backbone."""
        heads = (self.fpn, self.rpn, self.box_heads, self.mask_head)
        return tuple(head for head in heads if head is not None)

    def forward(
        self,
        images: Tensor,
        sizes: list[tuple[int, int]],
        targets: list[Target] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        *,
        original_sizes: list[tuple[int, int]] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Return losses in training mode, and what is found in evaluation mode.

        Losses are means over sampled anchors, sampled boxes, and pixels of masks. Where processes
        train together, the mean of a loss over processes is that of their joint batch, so averaged
        gradients are those of the joint batch, other than in MMDetection, whose processes divide by
        numbers of their own. All processes must call it in training mode.

        Args:
            images: ``(B, 3, H, W)``, normalized, and padded at the right and at the bottom with
                zeros to multiples of 32.
            sizes: Height and width of each before padding.
            targets: Of each image; crowds are ignored, and boxes on them count as background.
            generator: On the CPU; draws the anchors and boxes to train on. One for all images, or
                one for each, so that what is drawn does not depend on the other images.
            original_sizes: Height and width of each image before it was resized, if boxes and masks
                are wanted in its pixels.

        Returns:
            Weighted losses by name, whose sum is to be minimized; or the detections of each image,
            with masks of its size before padding.

        Raises:
            RuntimeError: In training mode without targets.
            TypeError: If labels are not int64.
            ValueError: If shapes disagree, a box has no area, or a label is out of range.
        """
        _check_images(images, sizes)
        found: Sequence[Tensor] = self.backbone(images)
        maps = list(self.fpn({str(i): one for i, one in enumerate(found)}).values())
        if not self.training:
            proposals, _ = self.rpn(maps, images, sizes)
            return self._detections(maps, proposals, sizes, original_sizes or sizes)
        if targets is None:
            raise RuntimeError("Detector: expected `targets` in training mode, got none")
        self._check_targets(targets, sizes)
        targets = [Target(x.boxes.to(images), x.labels.to(images.device), x.masks) for x in targets]
        draws: Any = generator if isinstance(generator, Sequence) else [generator] * len(images)
        proposals, sums = self.rpn(maps, images, sizes, targets, draws)
        for i, (head, stage) in enumerate(zip(self.box_heads, self.stages, strict=True)):
            chosen = [
                _choose(boxes, target, stage, own)
                for boxes, target, own in zip(proposals, targets, draws, strict=True)
            ]
            boxes = [one.boxes for one in chosen]
            labels = torch.cat([one.labels(self.num_classes) for one in chosen])
            logits, deltas = head(maps, boxes)
            wanted = torch.cat([one.target.boxes[one.objects] for one in chosen])
            both = head.losses(logits, deltas, labels, torch.cat(boxes), wanted)  # type: ignore[operator]
            prefix = f"stage{i}_" if len(self.box_heads) > 1 else ""
            for key, total in zip(("class", "box"), both, strict=True):
                sums[prefix + key] = total, len(labels)
            if i + 1 < len(self.stages):
                moved = _refined(deltas.detach(), boxes, stage, sizes)
                proposals = [one[~of.own] for one, of in zip(moved, chosen, strict=True)]
        if self.mask_head is not None:
            positive = [one.boxes[: len(one.objects)] for one in chosen]
            masks = [x.masks.to(images.device) for x in targets if x.masks is not None]
            own = torch.cat([one.target.labels[one.objects] for one in chosen])
            objects = [one.objects for one in chosen]
            sums["mask"] = self.mask_head.loss(maps, positive, own, masks, objects)
        return _means(sums)

    @torch.no_grad()
    def _detections(
        self,
        maps: list[Tensor],
        boxes: list[Tensor],
        sizes: list[tuple[int, int]],
        original_sizes: list[tuple[int, int]],
    ) -> list[Detections]:
        """Refine boxes from head to head; the logits of all heads are averaged."""
        outputs: list[Tensor] = []
        for head, stage in zip(self.box_heads, self.stages, strict=True):
            logits, deltas = head(maps, boxes)
            outputs.append(logits)
            if len(outputs) < len(self.stages):
                boxes = _refined(deltas, boxes, stage, sizes)
        counts = [len(one) for one in boxes]
        probs = torch.stack(outputs).mean(dim=0).softmax(dim=1)
        found = [
            self._suppressed(decode_boxes(own, one[:, None], self.stages[-1].stds, size), scores)
            for own, one, scores, size in zip(
                deltas.split(counts), boxes, probs.split(counts), sizes, strict=True
            )
        ]
        masks: list[Tensor] = []
        if self.mask_head is not None:
            labels = torch.cat([one.labels for one in found])
            logits = self.mask_head(maps, [one.boxes for one in found], labels)
            masks = list(logits.sigmoid().split([len(one.boxes) for one in found]))
        for i, (one, size, original) in enumerate(zip(found, sizes, original_sizes, strict=True)):
            ratios = [to / of for to, of in zip(original[::-1], size[::-1], strict=True)] * 2
            placed = one.boxes * one.boxes.new_tensor(ratios)
            whole = not self.preset.hard_masks
            pasted = paste_masks(masks[i], placed, original, whole=whole) if masks else None
            found[i] = Detections(placed, one.scores, one.labels, pasted)
        return found

    def _suppressed(self, boxes: Tensor, probs: Tensor) -> Detections:
        """Keep the best boxes of each class.

        Args:
            boxes: ``(N, C or 1, 4)``.
            probs: ``(N, C + 1)``.
        """
        scores = probs[:, :-1]
        boxes = boxes.expand(-1, self.num_classes, -1)
        large = (boxes[..., 2:] - boxes[..., :2] >= _LEAST_SIDE).all(dim=-1)
        places = ((scores > self.score_threshold) & large).nonzero()
        row, labels = places.unbind(dim=1)
        boxes, scores = boxes[row, labels], scores[row, labels]
        best = batched_nms(boxes, scores, labels, self.nms_threshold)[: self.max_detections]
        return Detections(boxes[best], scores[best], labels[best])

    def _check_targets(self, targets: list[Target], sizes: list[tuple[int, int]]) -> None:
        if len(targets) != len(sizes):
            raise ValueError(f"Detector: expected {len(sizes)} `targets`, got {len(targets)}")
        for i, (target, (height, width)) in enumerate(zip(targets, sizes, strict=True)):
            shapes = {"boxes": (target.boxes, "N 4"), "labels": (target.labels, "N")}
            if self.mask_head is not None:
                if target.masks is None:
                    raise ValueError(f"Detector: expected masks in target {i}, got none")
                shapes["masks"] = (target.masks, f"N {height} {width}")
            check_shapes("Detector", **shapes)
            check_labels("Detector", target.labels)
            check_range("Detector", "labels", target.labels, self.num_classes)
            sides = target.boxes[:, 2:] - target.boxes[:, :2]
            if bad := (~(sides > 0).all(dim=1)).nonzero()[:, 0].tolist():
                raise ValueError(
                    f"Detector: expected boxes (x1, y1, x2, y2) with x1 < x2 and y1 < y2, got "
                    f"{target.boxes[bad[0]].tolist()} in target {i}"
                )


class _Chosen(NamedTuple):
    """The boxes of one image that a stage trains on: P positive ones first, then background."""

    boxes: Tensor  # (K, 4)
    objects: Tensor  # (P,) the number of the object of each positive box
    own: Tensor  # (K,) whether a box is that of an object itself
    target: Target

    def labels(self, background: int) -> Tensor:
        """Return ``(K,)`` classes."""
        found = torch.full((len(self.boxes),), background, device=self.boxes.device)
        found[: len(self.objects)] = self.target.labels[self.objects]
        return found


def _choose(
    boxes: Tensor, target: Target, stage: Stage, generator: torch.Generator | None
) -> _Chosen:
    """Match proposals and the boxes of the objects themselves, and draw some of them."""
    matches = stage.matching(box_iou(target.boxes, boxes))
    own = torch.arange(len(target.boxes), device=boxes.device)
    matches = torch.cat([own, matches])
    positive, negative = sample(matches, _SAMPLED, _POSITIVE, generator)
    chosen = torch.cat([positive, negative])
    return _Chosen(
        torch.cat([target.boxes, boxes])[chosen], matches[positive], chosen < len(own), target
    )


def _means(sums: Mapping[str, tuple[Tensor, int]]) -> dict[str, Tensor]:
    """Divide sums by the mean over processes of how many numbers they are of."""
    counts = torch.tensor([float(count) for _, count in sums.values()])
    counts = counts.to(next(iter(sums.values()))[0])
    counts = sum_over_ranks(counts).clamp(min=1) / world_size()
    return {
        name: total / count for (name, (total, _)), count in zip(sums.items(), counts, strict=True)
    }


def _refined(
    deltas: Tensor, boxes: list[Tensor], stage: Stage, sizes: list[tuple[int, int]]
) -> list[Tensor]:
    """Move boxes as a class-agnostic head says, and clip them."""
    split = deltas[:, 0].split([len(one) for one in boxes])
    return [
        decode_boxes(own, one, stage.stds, size)
        for own, one, size in zip(split, boxes, sizes, strict=True)
    ]


def _check_images(images: Tensor, sizes: list[tuple[int, int]]) -> None:
    check_shapes("Detector", images=(images, "B 3 H W"))
    height, width = images.shape[2:]
    fits = len(sizes) == len(images) and all(0 < h <= height and 0 < w <= width for h, w in sizes)
    if height % 32 or width % 32 or not fits:
        raise ValueError(
            "Detector: expected `images` of multiples of 32, and `sizes` of all of them before "
            f"padding, got images {tuple(images.shape)} and sizes {sizes}"
        )


def _norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]

"""The detectors that ``detector=`` takes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from semaug.detection.detector import Detector
from semaug.detection.presets import (
    CASCADE,
    CASCADE_STAGES,
    FASTER,
    MASK,
    MMDETECTION,
    TORCHVISION,
    TORCHVISION_STAGE,
    Preset,
    Stage,
)
from semaug.errors import check_option
from semaug.registry import detectors

__all__ = ["CascadeRCNN", "FasterRCNN", "MaskRCNN"]


@dataclass(frozen=True, kw_only=True)
class TwoStage(ABC):
    """What all detectors share.

    Args:
        width: Channels of the feature pyramid and of the heads on it.
        head_width: Units of the hidden layers of a box head.
        anchor_scales: Sides of square anchors, in strides of their level: 4, 8, 16, 32, 64 pixels.
        anchor_ratios: Heights of anchors over their widths.
        frozen_stages: How many of the four stages of the backbone are not trained, the stem with
            the first; 0 trains all of it.
        norm_eval: Whether batch norms of the backbone use the statistics of its weights, and keep
            them.
        score_threshold: Probability above which a box is reported.
        nms_threshold: IoU above which the lower score of two boxes of a class is dropped.
        max_detections: Largest number of boxes that are reported of an image.

    Raises:
        UserError: If a number is out of range.
    """

    width: int = 256
    head_width: int = 1024
    anchor_scales: tuple[float, ...] = (8.0,)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    frozen_stages: int = 1
    norm_eval: bool = True
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100

    masks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("width", "head_width", "max_detections"):
            check_option(name, getattr(self, name), getattr(self, name) >= 1, ">= 1")
        for name in ("anchor_scales", "anchor_ratios"):
            values = getattr(self, name)
            check_option(name, values, values and min(values) > 0, "positive numbers")
        check_option("frozen_stages", self.frozen_stages, 0 <= self.frozen_stages <= 4, "0 to 4")
        for name in ("score_threshold", "nms_threshold"):
            check_option(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")

    @abstractmethod
    def settings(self) -> tuple[Preset, tuple[Stage, ...]]:
        """Return the settings of all parts and of each box head."""

    def build(self, backbone: nn.Module, num_classes: int) -> Detector:
        """Build the detector on a backbone that has its weights.

        Args:
            backbone: Of :func:`semaug.detection.backbone.backbone_of`, or another module with
                timm's ``feature_info`` that returns the four maps.
            num_classes: C, without the background.

        Raises:
            ValueError: If the backbone has other strides.
        """
        preset, stages = self.settings()
        options: dict[str, Any] = {one: getattr(self, one) for one in TwoStage.__annotations__}
        options["masks"] = self.masks
        return Detector(backbone, num_classes, preset, stages, **options)


@dataclass(frozen=True, kw_only=True)
class _WithPreset(TwoStage):
    """What detectors share that torchvision has too.

    Args:
        preset: ``mmdet`` has the settings of MMDetection, ``torchvision`` those of torchvision, in
            which anchors, the matching of anchors, losses, RoIAlign and initial weights differ.
    """

    preset: Literal["mmdet", "torchvision"] = "mmdet"

    stage: ClassVar[Stage]

    def settings(self) -> tuple[Preset, tuple[Stage, ...]]:
        if self.preset == "torchvision":
            return TORCHVISION, (TORCHVISION_STAGE,)
        return MMDETECTION, (self.stage,)


@detectors.register("faster_rcnn")
@dataclass(frozen=True, kw_only=True)
class FasterRCNN(_WithPreset):
    """Faster R-CNN with a feature pyramid, for boxes."""

    stage: ClassVar[Stage] = FASTER


@detectors.register("mask_rcnn")
@dataclass(frozen=True, kw_only=True)
class MaskRCNN(_WithPreset):
    """Mask R-CNN with a feature pyramid, for boxes and masks."""

    stage: ClassVar[Stage] = MASK
    masks: ClassVar[bool] = True


@detectors.register("cascade_rcnn")
@dataclass(frozen=True, kw_only=True)
class CascadeRCNN(TwoStage):
    """Cascade R-CNN with a feature pyramid, for boxes, in the settings of MMDetection."""

    def settings(self) -> tuple[Preset, tuple[Stage, ...]]:
        """Return the settings of all parts and of each of the three box heads."""
        return CASCADE, CASCADE_STAGES

"""Where MMDetection and torchvision differ in the same detectors, as data.

Sources: ``configs/_base_/models`` of MMDetection 3.3 and ``torchvision.models.detection`` 0.29.
"""

from dataclasses import dataclass, replace

from semaug.detection.matching import Matching

__all__ = [
    "CASCADE",
    "CASCADE_STAGES",
    "FASTER",
    "MASK",
    "MMDETECTION",
    "TORCHVISION",
    "TORCHVISION_STAGE",
    "Preset",
    "Stage",
]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings that all stages of a detector share.

    Args:
        anchors_rounded: Whether sides of anchors are whole pixels, and anchors stand as far apart
            as the image is larger than the grid, rounded down; else they have the stride of the
            level.
        anchors_inside: Whether anchors that cross the border of the image are left out of training.
        anchors_on_image: Whether anchors on the padding are left out of training.
        rpn_matching: Of anchors and objects.
        rpn_beta: Where the Smooth-L1 loss of anchors turns from squares into L1; 0 is L1.
        proposals: Kept of each training image.
        least_side: Proposals with a side below this number of pixels are dropped.
        aligned: Whether RoIAlign shifts coordinates by half a cell.
        sampling_ratio: Points of RoIAlign along each side of a bin; 0 is as many as it has cells.
        hard_masks: Whether the training masks of boxes are rounded to 0 and 1, and a pixel takes
            the found mask at its center; else found masks are resized to whole pixels.
        own_initialization: Whether layers start as in MMDetection; else as in torchvision.
        train_norms: Whether scales and shifts of the batch norms of the backbone are trained.
    """

    anchors_rounded: bool
    anchors_inside: bool
    anchors_on_image: bool
    rpn_matching: Matching
    rpn_beta: float
    proposals: int
    least_side: float
    aligned: bool
    sampling_ratio: int
    hard_masks: bool
    own_initialization: bool
    train_norms: bool


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Settings of one box head.

    Args:
        matching: Of RoIs and objects.
        stds: By which the regression targets of x, y, width and height are divided.
        beta: Where Smooth-L1 turns into L1; 0 is L1.
        weight: Of its losses.
        agnostic: Whether one box serves all classes.
    """

    matching: Matching
    stds: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    beta: float = 0.0
    weight: float = 1.0
    agnostic: bool = False


# faster-rcnn_r50_fpn.py
MMDETECTION = Preset(
    anchors_rounded=False,
    anchors_inside=False,
    anchors_on_image=True,
    rpn_matching=Matching(0.7, 0.3, low_quality=0.3),
    rpn_beta=0.0,
    proposals=1000,
    least_side=0.0,
    aligned=True,
    sampling_ratio=0,
    hard_masks=True,
    own_initialization=True,
    train_norms=True,
)
FASTER = Stage(matching=Matching(0.5, 0.5))
MASK = Stage(matching=Matching(0.5, 0.5, low_quality=0.5))  # mask-rcnn_r50_fpn.py

# cascade-rcnn_r50_fpn.py
CASCADE = replace(MMDETECTION, anchors_inside=True, rpn_beta=1 / 9, proposals=2000)
CASCADE_STAGES = tuple(
    Stage(matching=Matching(iou, iou), stds=stds, beta=1.0, weight=weight, agnostic=True)
    for iou, stds, weight in (
        (0.5, (0.1, 0.1, 0.2, 0.2), 1.0),
        (0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
        (0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
    )
)

TORCHVISION = Preset(
    anchors_rounded=True,
    anchors_inside=False,
    anchors_on_image=False,
    rpn_matching=Matching(0.7, 0.3, low_quality=0.0, overwrite=False),
    rpn_beta=1 / 9,
    proposals=2000,
    least_side=1e-3,
    aligned=False,
    sampling_ratio=2,
    hard_masks=False,
    own_initialization=False,
    train_norms=False,
)
TORCHVISION_STAGE = replace(FASTER, beta=1 / 9)

"""Each detector learns eight images by heart."""

import pytest
import torch
from torchvision.ops import box_iou

from semaug.registry import detectors
from tests.detection.toys import ToyBackbone, rectangles

NUM_CLASSES = 3


def average_precision(found, targets, overlaps):
    """Mean AP of classes, and of IoU from 0.5 to 0.95 as in COCO, over all points of the curve."""
    areas = []
    for label in range(NUM_CLASSES):
        count = sum((target.labels == label).sum().item() for target in targets)
        for least in [0.5 + 0.05 * i for i in range(10)]:
            hits = []
            for one, target in zip(found, targets, strict=True):
                ious = overlaps(one, target) * (target.labels == label)
                for k in (one.labels == label).nonzero()[:, 0].tolist():
                    best = ious[k].max(dim=0)
                    hits.append((one.scores[k].item(), best.values.item() >= least))
                    if hits[-1][1]:
                        ious[:, best.indices] = 0  # an object is found once
            area, right = 0.0, 0
            for place, (_, hit) in enumerate(sorted(hits, reverse=True)):
                right += hit
                area += hit * right / (place + 1) / count
            areas.append(area)
    return sum(areas) / len(areas)


def of_boxes(one, target):
    return box_iou(one.boxes, target.boxes)


def of_masks(one, target):
    ours, theirs = one.masks.flatten(1).float(), target.masks.flatten(1).float()
    both = ours @ theirs.T
    return both / (ours.sum(dim=1)[:, None] + theirs.sum(dim=1) - both).clamp(min=1)


def trained(name, steps):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    pairs = [rectangles(generator, num_classes=NUM_CLASSES, count=1 + i % 3) for i in range(8)]
    images, targets = torch.stack([image for image, _ in pairs]), [target for _, target in pairs]
    spec = detectors.make(
        name,
        width=16,
        head_width=32,
        anchor_scales=(4.0,),
        anchor_ratios=(1.0,),
        frozen_stages=0,
        norm_eval=False,
    )
    detector = spec.build(ToyBackbone(24), NUM_CLASSES)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        some = torch.randperm(8, generator=generator)[:4]
        own = [targets[i] for i in some.tolist()]
        losses = detector(images[some], [(64, 64)] * 4, own, generator)
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return detector.eval()(images, [(64, 64)] * 8), targets


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"), [("faster_rcnn", 600), ("mask_rcnn", 600), ("cascade_rcnn", 300)]
)
def test_eight_images_are_learned_by_heart(name, steps):
    found, targets = trained(name, steps)
    assert average_precision(found, targets, of_boxes) > 0.9
    if name == "mask_rcnn":
        assert average_precision(found, targets, of_masks) > 0.9

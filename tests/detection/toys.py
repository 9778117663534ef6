"""Tiny detectors and pictures of rectangles."""

import torch
from timm.models import FeatureInfo
from torch import nn

from semaug.detection.boxes import Target
from semaug.registry import detectors


class ToyBackbone(nn.Module):
    """Four convolutions with batch norm; strides 4, 8, 16 and 32."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
            for _ in range(4)
        )
        infos = [
            {"num_chs": width, "reduction": 4 * 2**i, "module": f"layers.{i}"} for i in range(4)
        ]
        self.feature_info = FeatureInfo(infos, (0, 1, 2, 3))

    def forward(self, images):
        found = [self.stem(images)]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found[1:]


def toy_detector(name="faster_rcnn", num_classes=2, seed=0, **options):
    torch.manual_seed(seed)
    options = {"width": 16, "head_width": 16, "anchor_scales": (4.0,), **options}
    return detectors.make(name, **options).build(ToyBackbone(), num_classes)


def rectangles(generator, size=(64, 64), num_classes=2, count=2):
    """An image of noise with rectangles, one color a class, and its target."""
    height, width = size
    image = torch.randn(3, height, width, generator=generator) * 0.1
    boxes, masks = [], []
    labels = torch.randint(num_classes, (count,), generator=generator)
    for label in labels.tolist():
        w, h = (torch.rand(2, generator=generator) * 16 + 14).tolist()
        x = float(torch.rand(1, generator=generator)) * (width - w)
        y = float(torch.rand(1, generator=generator)) * (height - h)
        box = [round(x), round(y), round(x + w), round(y + h)]
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        image[:, mask] = torch.eye(3)[label][:, None] * 2
        boxes.append(box)
        masks.append(mask)
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    masks = torch.stack(masks) if masks else torch.zeros(0, *size, dtype=torch.bool)
    return image, Target(boxes, labels, masks)

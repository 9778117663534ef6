"""A data set of rectangles in files, and a recipe that learns it in seconds."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from semaug.detection.recipe import DetectionRecipe
from semaug.detection.scenes import Scene, SceneData, SceneObject, Scenes
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Step
from semaug.registry import detectors

SIZES = [(40, 56), (56, 40), (48, 64), (64, 48), (40, 64), (60, 44), (44, 60)]  # height and width
CLASSES = ("red", "green")


def draw(path, place, size, boxes):
    """Write noise with rectangles of the color of their class, unless the file is there."""
    if not path.exists():
        pixels = np.random.default_rng(place).integers(0, 60, (*size, 3), dtype=np.uint8)
        for x, y, width, height, label in boxes:
            pixels[y : y + height, x : x + width, label] = 250
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def rectangle(x, y, width, height, label, is_crowd=False):
    """Describe an object with its outline."""
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return SceneObject((x, y, width, height), label, width * height, is_crowd, [corners])


def scenes_of(root, part, first):
    """Two objects in each image; in the first one a crowd too, in the last one none."""
    scenes = []
    for place, size in enumerate(SIZES):
        boxes = [(4 + place, 6, 14, 16, place % 2), (22, 20, 16, 14, (place + 1) % 2)]
        boxes = boxes if place + 1 < len(SIZES) else []
        draw(root / part / f"{place}.png", first + place, size, boxes)
        objects = [rectangle(*box) for box in boxes]
        if place == 0:
            objects.append(rectangle(0, 0, 20, 12, 1, is_crowd=True))
        scenes.append(Scene(f"{place}.png", size, 10 + place, objects))
    return Scenes.of(root / part, scenes, CLASSES)


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Seven images to train on and seven to test on.

    Args:
        masks: Whether there are masks.
        objects: Whether there are objects to train on.
    """

    masks: bool = True
    objects: bool = True

    def load(self, root, workers=None):
        """Draw what is not there."""
        train, test = (scenes_of(root, part, 20 * k) for k, part in enumerate(("train", "test")))
        if not self.masks:
            train, test = (replace(part, outlines=None) for part in (train, test))
        train = train if self.objects else train.subset([len(SIZES) - 1])
        return SceneData("signs", train, test, (0.5,) * 3, (0.25,) * 3)


def recipe_of(name="mask_rcnn", **changes):
    """Return a recipe of a detector with a tiny backbone; ``data`` and others may be changed."""
    detector = detectors.make(
        name,
        **{"width": 8, "head_width": 8, "anchor_scales": (4.0,), "score_threshold": 0.0},
        **{"frozen_stages": 0, "norm_eval": False, "max_detections": 10},
    )
    options = {
        "data": Signs(),
        "detector": detector,
        "backbone": "test_resnet",
        "pretrained": False,
        "batch_size": 2,
        "base_batch_size": 4,
        "optimizer": SGD(lr=0.02, nesterov=False, head_lr_scale=2.0),
        "schedule": Step(milestones_percent=(75.0,), warmup_steps=2, warmup_start=0.5),
        "clip_norm": 5.0,
        "size": (64, 48),
        "epochs": 2,
    }
    return DetectionRecipe(**{**options, **changes})

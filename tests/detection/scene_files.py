"""Tiny sets of images with objects in files."""

import json

import numpy as np
from PIL import Image

CLASSES = ({"id": 7, "name": "dog"}, {"id": 3, "name": "cat"})


def write_image(path, height, width, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def annotation(image_id, category_id, box, **more):
    x, y, w, h = box
    outline = [[x, y, x, y + h, x + w, y + h, x + w, y]]
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box),
        "area": w * h,
        "iscrowd": 0,
        "segmentation": outline,
        **more,
    }


def write_json(path, sizes, annotations, categories=CLASSES, images=None):
    """Write annotations, and an image of each size: ``10.png``, ``11.png``, ... in ``images``."""
    listed = [
        {"id": 10 + k, "file_name": f"{10 + k}.png", "height": height, "width": width}
        for k, (height, width) in enumerate(sizes)
    ]
    for one in listed if images else ():
        write_image(images / one["file_name"], one["height"], one["width"], seed=one["id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"images": listed, "annotations": annotations, "categories": list(categories)})
    )

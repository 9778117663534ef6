"""Objects of CamVid: connected parts of its masks of four classes.

CamVid has no instances, so objects that touch or hide each other are one object, and an object
behind a pole is two. It is real data for tests and small runs, not a benchmark.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from semaug.data.camvid import CLASSES, CamVidFrames
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.image_set import FileSet
from semaug.detection.outlines import pack_masks
from semaug.detection.scenes import Scene, SceneData, SceneObject, Scenes
from semaug.registry import data_sets

__all__ = ["CamVidInstances"]

_OBJECTS = "Car", "Pedestrian", "SignSymbol", "Bicyclist"
_LEAST_AREA, _HEIGHT = 64, 360  # pixels of an object in frames of the usual height


@data_sets.register("camvid_instances")
@dataclass(frozen=True, kw_only=True)
class CamVidInstances(CamVidFrames):
    """CamVid with boxes and masks of cars, pedestrians, signs and bicyclists."""

    num_classes: ClassVar[int] = len(_OBJECTS)
    in_files: ClassVar[bool] = True

    def load(self, root: Path, workers: int | None = None) -> SceneData:
        """Find the frames, and the connected parts of their masks.

        Raises:
            FileNotFoundError: If a folder is missing; the message says how to get it.
            ModuleNotFoundError: If faster-coco-eval is not installed.
            ValueError: If a frame has no mask, or a mask is damaged.
        """
        train, test, notes = self.find(root)
        parts = self._objects_of(train), self._objects_of(test)
        return SceneData("camvid_instances", *parts, IMAGENET_MEAN, IMAGENET_STD, tuple(notes))

    def _objects_of(self, files: FileSet) -> Scenes:
        from semaug.data.decode import decode_mask  # imports torchvision, which is slow
        from semaug.data.views import resize_mask

        masks = files.masks
        assert masks is not None, "CamVid has masks"

        def look(place: int) -> Scene:
            mask = decode_mask(masks.paths[place], masks.table)
            if self.height is not None:
                width = round(mask.shape[1] * self.height / mask.shape[0])
                mask = resize_mask(mask, self.height, width)
            size = mask.shape[0], mask.shape[1]
            return Scene(files.paths[place].name, size, place, _connected(mask.numpy()))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            scenes = list(pool.map(look, range(len(files))))
        return Scenes.of(Path(files.paths.root), scenes, _OBJECTS, resized=self.height is not None)


def _connected(mask: np.ndarray) -> list[SceneObject]:
    """Return the parts of a mask (H, W) that touch by a side, large enough for their image."""
    from scipy.ndimage import find_objects, label  # slow to import

    least = _LEAST_AREA * (len(mask) / _HEIGHT) ** 2
    found, masks = [], []
    for k, name in enumerate(_OBJECTS):
        numbers, _ = label(mask == list(CLASSES).index(name))
        areas = np.bincount(numbers.ravel()).tolist()
        for number, (rows, columns) in enumerate(find_objects(numbers), 1):
            if areas[number] >= least:
                x, y = float(columns.start), float(rows.start)
                box = (x, y, columns.stop - x, rows.stop - y)
                found.append(SceneObject(box, k, areas[number]))
                masks.append(torch.from_numpy(numbers == number))
    outlines = pack_masks(torch.stack(masks)) if masks else []
    return [one._replace(outline=x) for one, x in zip(found, outlines, strict=True)]

"""Images with objects in files, and what their evaluation compares detections with.

Boxes are kept as COCO's JSON writes them, (x, y, width, height) in float64, so that an evaluation
gets the numbers of the file; :meth:`Scenes.read` gives corners.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from PIL import Image
from torch import Tensor

from semaug.data.image_set import FilePaths
from semaug.detection.boxes import Target
from semaug.detection.outlines import Outlines, outline_masks
from semaug.runs.words import counted

__all__ = ["Scene", "SceneData", "SceneObject", "Scenes", "image_size"]

# N images, B objects of all images, C classes.

_LEAST_SIDE, _LEAST_BOX = 32, 1  # pixels of an image and of a box to train on, as in MMDetection
_ROUNDING = 1e-6
_TURNED = (5, 6, 7, 8)  # orientations in EXIF that swap height and width
_ORIENTATION = 0x0112


class SceneObject(NamedTuple):
    """An object as a file describes it: left, top, width and height of its box in pixels."""

    box: tuple[float, float, float, float]
    label: int
    area: float
    is_crowd: bool = False
    outline: Any = None


class Scene(NamedTuple):
    """An image as a file describes it: its path below a folder, height and width, and objects."""

    name: str
    size: tuple[int, int]
    image_id: int
    objects: Sequence[SceneObject]


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image as it is decoded, from its header.

    Raises:
        OSError: If it cannot be read.
    """
    with Image.open(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    return (width, height) if turned else (height, width)


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images in files, and the objects in each of them.

    Args:
        paths: Of N files.
        sizes: Height and width of each image in pixels.
        image_ids: Number of each image, by which detections are assigned to it.
        classes: Names of C classes; the number of a class is its place here.
        starts: ``(N + 1,)`` int64; the objects of image i lie between the places i and i + 1 of it.
        boxes: ``(B, 4)`` float64, left, top, width and height in pixels.
        labels: ``(B,)`` int64 classes.
        is_crowd: ``(B,)`` bool, boxes around many objects at once.
        areas: ``(B,)`` float64, of the outlines in pixels, which evaluation calls small or large.
        outlines: Of the objects; None if there are boxes alone. None for an object is its box.
        resized: Whether images are resized to ``sizes`` when they are read.
        notes: What a person should know, such as what was dropped, counted.
    """

    paths: FilePaths
    sizes: list[tuple[int, int]]
    image_ids: list[int]
    classes: tuple[str, ...]
    starts: Tensor
    boxes: Tensor
    labels: Tensor
    is_crowd: Tensor
    areas: Tensor
    outlines: Outlines | None = None
    resized: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, root: Path, scenes: Sequence[Scene], classes: tuple[str, ...], **options: Any
    ) -> Self:
        """Keep what files describe, in tensors.

        Args:
            root: Folder that the names of images are relative to.
            scenes: Of N images.
            classes: Names.
            **options: ``resized`` and ``notes``.
        """
        objects = [one for scene in scenes for one in scene.objects]
        outlines = [one.outline for one in objects]
        return cls(
            FilePaths.of(root, [scene.name for scene in scenes]),
            [scene.size for scene in scenes],
            [scene.image_id for scene in scenes],
            classes,
            torch.tensor([0, *(len(scene.objects) for scene in scenes)]).cumsum(0),
            torch.tensor([one.box for one in objects], dtype=torch.float64).view(-1, 4),
            torch.tensor([one.label for one in objects], dtype=torch.int64),
            torch.tensor([one.is_crowd for one in objects], dtype=torch.bool),
            torch.tensor([one.area for one in objects], dtype=torch.float64),
            Outlines.of(outlines) if any(outlines) else None,
            **options,
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def owners(self) -> Tensor:
        """``(B,)`` int64, the place of the image of each object."""
        return torch.arange(len(self)).repeat_interleave(self.starts.diff())

    def read(self, index: int, *, with_masks: bool = False) -> tuple[Tensor, Target]:
        """Decode an image, and give its objects.

        Args:
            index: Place of the image.
            with_masks: Whether the target has masks, of all objects but crowds.

        Returns:
            ``(3, H, W)`` uint8 and the target in pixels of it.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is damaged, its size is not that of the annotations, or masks are
                wanted and there are boxes alone.
        """
        from semaug.data.decode import decode_file  # imports torchvision, which is slow
        from semaug.data.views import resize

        path, size = self.paths[index], self.sizes[index]
        image = decode_file(path)
        if self.resized:
            image = resize(image, *size)
        if tuple(image.shape[1:]) != size:
            turned = "; its EXIF turns it" * (tuple(image.shape[:0:-1]) == size)
            raise ValueError(
                f"data: expected {size[0]} x {size[1]} pixels of {str(path)!r} as its annotations "
                f"say, got {image.shape[1]} x {image.shape[2]}{turned}"
            )
        start, stop = self.starts[index : index + 2].tolist()
        corners = self.boxes[start:stop].clone()
        corners[:, 2:] += corners[:, :2]
        corners, crowd = corners.float(), self.is_crowd[start:stop]
        masks = None
        if with_masks:
            single = (start + (~crowd).nonzero()[:, 0]).tolist()
            masks = outline_masks([self.outline(k) for k in single], *size)
        return image, Target(
            corners[~crowd], self.labels[start:stop][~crowd], masks, corners[crowd]
        )

    def outline(self, index: int) -> Any:
        """Return the outline of an object, polygons or run lengths, or that of its box.

        Raises:
            ValueError: If there are boxes alone.
        """
        if self.outlines is None:
            raise ValueError("data: expected outlines of objects to learn masks, got boxes alone")
        x, y, w, h = self.boxes[index].tolist()
        return self.outlines[index] or [[x, y, x, y + h, x + w, y + h, x + w, y]]

    def subset(self, indices: Tensor) -> Self:
        """Take the images at ``indices`` (int64, or one bool for each image), in that order."""
        places = torch.arange(len(self))[indices].tolist()
        spans = [torch.arange(*self.starts[i : i + 2].tolist()) for i in places]
        kept = torch.cat([torch.arange(0), *spans])
        stops = torch.tensor([0, *map(len, spans)], dtype=torch.int64).cumsum(0)
        return self._with(places, stops, kept)

    def _with(self, places: list[int], starts: Tensor, kept: Tensor) -> Self:
        """Take images, and of them the objects ``kept`` (int64)."""
        return replace(
            self,
            paths=self.paths.subset(torch.tensor(places, dtype=torch.int64)),
            sizes=[self.sizes[i] for i in places],
            image_ids=[self.image_ids[i] for i in places],
            starts=starts,
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            is_crowd=self.is_crowd[kept],
            areas=self.areas[kept],
            outlines=self.outlines and self.outlines.subset(kept),
        )

    def for_training(self) -> Self:
        """Leave out what a detector does not learn from, and cut boxes off at the image.

        Boxes without area or with a side below a pixel in the image are left out, then images
        without a box that is no crowd, and images with a side below 32 pixels, as in
        ``CocoDataset.filter_data`` of MMDetection.
        """
        owners = self.owners
        sizes = torch.tensor(self.sizes, dtype=torch.float64).view(-1, 2).flip(1)[owners]  # (B, 2)
        first = self.boxes[:, :2].clamp(min=0)
        sides = (self.boxes[:, :2] + self.boxes[:, 2:]).minimum(sizes) - first
        fits = (sides >= _LEAST_BOX - _ROUNDING).all(1) & (self.areas > 0)
        has_boxes = torch.zeros(len(self), dtype=torch.bool)
        has_boxes[owners[fits & ~self.is_crowd]] = True
        is_large = torch.tensor([min(size) >= _LEAST_SIDE for size in self.sizes], dtype=torch.bool)
        used, kept = has_boxes & is_large, fits & (has_boxes & is_large)[owners]
        counts = torch.zeros(len(self), dtype=torch.int64).index_add_(0, owners, kept.long())[used]
        dropped = {
            "without a box": ("image", ~has_boxes),
            f"with a side below {_LEAST_SIDE} pixels": ("image", has_boxes & ~is_large),
            "without area, below a pixel or outside of its image": ("object", ~fits),
        }
        notes = [
            f"{counted(int(found.sum()), noun)} {why}"
            for why, (noun, found) in dropped.items()
            if found.any()
        ]
        cut = replace(self, boxes=torch.cat([first, sides], dim=1)) if len(owners) else self
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        trained = cut._with(used.nonzero()[:, 0].tolist(), starts, kept.nonzero()[:, 0])
        told = [f"not trained on: {', '.join(notes)}"] * bool(notes)
        return replace(trained, notes=(*self.notes, *told))

    @cached_property
    def annotations(self) -> dict[str, Any]:
        """All images and objects in COCO's format, crowds too; classes count from 0."""
        owners = [self.image_ids[i] for i in self.owners.tolist()]
        objects: list[dict[str, Any]] = [
            {  # an object with the number 0 is never found by COCO's evaluation
                "id": k + 1,
                "image_id": owner,
                "category_id": label,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for k, (owner, label, box, area, crowd) in enumerate(
                zip(
                    owners,
                    self.labels.tolist(),
                    self.boxes.tolist(),
                    self.areas.tolist(),
                    self.is_crowd.tolist(),
                    strict=True,
                )
            )
        ]
        if self.outlines is not None:
            for k, one in enumerate(objects):
                one["segmentation"] = self.outline(k)
        return {
            "images": [
                {"id": number, "height": height, "width": width}
                for number, (height, width) in zip(self.image_ids, self.sizes, strict=True)
            ],
            "categories": [{"id": k, "name": name} for k, name in enumerate(self.classes)],
            "annotations": objects,
        }


@dataclass(frozen=True, eq=False)
class SceneData:
    """Images with objects to train and to test on, what a detector is given as ``data=``.

    Args:
        name: Of the data set.
        train: All images to train on; :meth:`Scenes.for_training` chooses.
        test: Images to test on, of the same classes.
        mean: Of each channel, on a scale of 0 to 1.
        std: Standard deviation, likewise.
        notes: What a person should know.
    """

    name: str
    train: Scenes
    test: Scenes
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.train.classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def has_masks(self) -> bool:
        """Whether masks can be learned."""
        return self.train.outlines is not None

    def measure(
        self, progress: Callable[[int, int], None], threads: int | None
    ) -> tuple[dict[str, Any], list[Any], list[str]]:
        """Decode all images, see :func:`semaug.detection.check.measure_scenes`."""
        from semaug.detection.check import measure_scenes  # imports what only a check needs

        return measure_scenes(self, progress, threads)

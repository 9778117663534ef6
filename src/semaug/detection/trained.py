"""The detector of a finished run, to find objects in images."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from semaug.data.colors import class_colors
from semaug.detection.boxes import Detections, Target
from semaug.detection.detector import Detector
from semaug.detection.loop import build_detector
from semaug.detection.outlines import pack_masks
from semaug.detection.pictures import LEAST_SCORE, draw_objects
from semaug.detection.recipe import DetectionRecipe
from semaug.detection.transforms import collate, normalize, resize
from semaug.engine.device import choose_device
from semaug.engine.images import read_images
from semaug.engine.options import TrainOptions
from semaug.engine.predict import Answer, Answering
from semaug.engine.preprocessing import form_of
from semaug.engine.processes import Processes
from semaug.errors import UserError, as_user_error
from semaug.runs.finished import load_finished_run, load_state

__all__ = ["FoundObjects", "TrainedDetector", "load_run"]


@dataclass(frozen=True, eq=False)
class FoundObjects(Answer):
    """What a detector found in a photograph.

    Args:
        image: ``(3, H, W)`` uint8.
        found: Objects in pixels of it.
        classes: Names of all classes.
    """

    listed, number = "objects", "score"
    image: Tensor
    found: Detections
    classes: tuple[str, ...]

    def entries(self, most: int | None = None, least: float | None = None) -> list[dict[str, Any]]:
        """Return class, score, corners of the box, and run lengths of the mask as COCO has them."""
        found = self._told(most, least)
        objects = [
            {"class": self.classes[label], "score": score, "box": box}
            for label, score, box in zip(
                found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True
            )
        ]
        if found.masks is None:
            return objects
        masks = pack_masks(found.masks)
        return [one | {"mask": mask} for one, mask in zip(objects, masks, strict=True)]

    def png(self, least: float | None = None, *, ids: bool = False) -> bytes:
        """Return the photograph with the objects drawn; see :meth:`Answer.png`."""
        found, content = self._told(None, least), io.BytesIO()
        names = [
            f"{self.classes[label]} {score:.2f}"
            for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
        ]
        colors = class_colors(len(self.classes))
        drawn = draw_objects(self.image, found.boxes, found.labels, colors, found.masks, names)
        Image.fromarray(drawn.numpy()).save(content, "PNG")
        return content.getvalue()

    def _told(self, most: int | None, least: float | None) -> Detections:
        return self.found.above(LEAST_SCORE if least is None else least, most)


@dataclass(frozen=True, eq=False)
class TrainedDetector(Answering):
    """A detector with all that its images need.

    Args:
        detector: In evaluation mode.
        recipe: Of its run.
        classes: Names of the classes.
        mean: Of each channel of its images, on a scale of 0 to 1.
        std: Standard deviation, likewise.
        device: Where it is.
        processes: This one; its engine knows the precision.
    """

    detector: Detector
    recipe: DetectionRecipe
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    processes: Processes

    @property
    def picture(self) -> str:
        """See :attr:`semaug.engine.predict.Answering.picture`."""
        return "found"

    def answers(
        self, paths: Sequence[Path], predictor: str = ""
    ) -> Iterator[tuple[Path, Answer | Exception]]:
        """Find objects in files; see :meth:`semaug.engine.predict.Answering.answers`."""
        from semaug.data.decode import decode_file  # torchvision is slow to import

        if predictor:
            raise UserError(f"semaug: expected no `predictor` of a detector, got {predictor!r}")
        for path in paths:
            try:
                image = decode_file(path)
            except (OSError, ValueError) as error:
                yield path, error
                continue
            yield path, FoundObjects(image, self.detect([image])[0], self.classes)

    @torch.no_grad()
    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Find objects in images, each on its own, in pixels of them.

        Args:
            images: ``(3, H, W)`` uint8 of any sizes.
        """
        layout, dtype = form_of(self.recipe)
        size, nothing = self.recipe.size, Target(torch.zeros(0, 4), torch.zeros(0).long())
        found: list[Detections] = []
        for image in images:
            resized, _ = resize(image.cpu(), nothing, min(size), max(size))
            batch, sizes, _ = collate([(normalize(resized, self.mean, self.std), nothing)])
            batch = batch.to(self.device, dtype, memory_format=layout)
            own = [(image.shape[1], image.shape[2])]
            with self.processes.fabric.autocast():
                answer: Any = self.detector(batch, sizes, original_sizes=own)
            found += answer
        return found


def load_run(folder: str | Path, options: TrainOptions | None = None) -> TrainedDetector:
    """Load the detector of a finished run; no images are read.

    Raises:
        UserError: If the folder holds no finished run of a detector, or something is damaged.
    """
    options = options or TrainOptions()
    run, summary = load_finished_run(folder, trust_code=options.trust_code)
    recipe = run.recipe
    if not isinstance(recipe, DetectionRecipe):
        raise UserError(f"{folder}: expected the run of a detector, got one of {run.name}")
    path, device = run.folder / "images.json", choose_device(options.device)
    with as_user_error(f"{path}: expected a description of images: ", KeyError, TypeError):
        facts = read_images(path)["input"]
        classes, mean, std = (tuple(facts[name]) for name in ("classes", "mean", "std"))
    detector = build_detector(recipe, len(classes))
    state = load_state(run.checkpoint, summary["epochs"])
    context = f"{run.checkpoint}: holds the state of another version: "
    with as_user_error(context, KeyError, RuntimeError, ValueError):
        detector.load_state_dict(state["detector"])
    layout, dtype = form_of(recipe)
    detector.to(device, dtype).to(memory_format=layout).eval().requires_grad_(False)
    processes = Processes(device, recipe.precision)
    return TrainedDetector(detector, recipe, classes, mean, std, device, processes)

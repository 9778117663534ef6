"""Average precision of detections as COCO defines it.

The mean over classes of the area under the curve of precision over recall, at 101 recalls; AP is
the mean over IoU thresholds 0.50, 0.55, ..., 0.95, AP50 and AP75 are at one of them. Objects are
small below 32² pixels and large from 96² on, by the area of the outline, of boxes too. A detection
on a crowd counts neither as found nor as wrong. At most 100 detections of an image count.

Source: Lin et al., 2014, https://arxiv.org/abs/1405.0312; https://cocodataset.org/#detection-eval,
computed by faster-coco-eval
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from semaug.detection.boxes import Detections
from semaug.detection.outlines import pack_masks, require_coco
from semaug.detection.scenes import Scenes

__all__ = ["Scores"]

_AREAS = "all", "small", "medium", "large"  # in the order of COCO's evaluation
_PREFIXES = {"bbox": "", "segm": "mask_"}


class Scores:
    """Collects detections in images, and computes their average precision.

    An image without detections is added too; images that are not added count as images without
    detections.

    Args:
        scenes: Images with their objects.
        masks: Whether masks of detections are scored too.

    Raises:
        ModuleNotFoundError: If faster-coco-eval is not installed.
        ValueError: If masks are to be scored, and the scenes have boxes alone.
    """

    def __init__(self, scenes: Scenes, *, masks: bool = False) -> None:
        require_coco()
        if masks and scenes.outlines is None:
            raise ValueError("Scores: expected outlines of objects to score masks, got boxes alone")
        self.scenes = scenes
        self.kinds = ("bbox", "segm") if masks else ("bbox",)
        self._sizes = dict(zip(scenes.image_ids, scenes.sizes, strict=True))
        self._found: dict[int, list[dict[str, Any]]] = {}
        self._precision: dict[str, np.ndarray] = {}

    def add(self, image_id: int, found: Detections) -> None:
        """Keep the detections in an image, in pixels of its original size.

        Raises:
            ValueError: If there is no image of this number, or masks are missing or of another
                size.
        """
        if image_id not in self._sizes:
            raise ValueError(f"Scores: expected the number of an image, got {image_id}")
        outlines: list[Any] = [None] * len(found.boxes)
        if "segm" in self.kinds:
            size = None if found.masks is None else tuple(found.masks.shape[1:])
            if found.masks is None or size != self._sizes[image_id]:
                raise ValueError(
                    f"Scores: expected masks of {self._sizes[image_id]} pixels, got {size}"
                )
            outlines = pack_masks(found.masks)
        boxes = found.boxes.double().cpu()
        boxes[:, 2:] -= boxes[:, :2]
        self._found[image_id] = [
            {"category_id": label, "score": score, "bbox": box, "segmentation": outline}
            for label, score, box, outline in zip(
                found.labels.tolist(), found.scores.tolist(), boxes.tolist(), outlines, strict=True
            )
        ]
        self._precision = {}

    def state(self) -> dict[int, list[dict[str, Any]]]:
        """Return all detections as plain data, by number of image, for :meth:`merge`."""
        return self._found

    def merge(self, state: Mapping[int, list[dict[str, Any]]]) -> None:
        """Add the detections of another process; those in an image that both have are replaced."""
        self._found |= state
        self._precision = {}

    def compute(self) -> dict[str, float]:
        """Return AP, AP50, AP75, AP_small, AP_medium and AP_large in percent.

        Those of masks begin with ``mask_``. NaN where there is no object.
        """
        found: dict[str, np.ndarray] = {}
        for kind, precision in self._computed().items():
            prefix = _PREFIXES[kind]
            every = precision[..., 0]  # (IoU, recall, class)
            found |= {f"{prefix}AP": every, f"{prefix}AP50": every[0], f"{prefix}AP75": every[5]}
            found |= {f"{prefix}AP_{name}": precision[..., k] for k, name in enumerate(_AREAS) if k}
        return {name: _mean(values) for name, values in found.items()}

    def by_class(self) -> dict[str, dict[str, float]]:
        """Return AP of each class by its name, in percent, and ``mask_AP``."""
        return {
            name: {
                f"{_PREFIXES[kind]}AP": _mean(precision[:, :, k, 0])
                for kind, precision in self._computed().items()
            }
            for k, name in enumerate(self.scenes.classes)
        }

    def _computed(self) -> dict[str, np.ndarray]:
        """Return the precision of each kind, (IoU, recall, class, area), -1 where undefined."""
        from faster_coco_eval import COCO, COCOeval_faster

        if not self._precision:
            for kind in self.kinds:
                truth, key = COCO(self.scenes.annotations), _KEYS[kind]
                # With a box, COCO's reader takes the area of the box for that of the mask.
                results = [
                    {"image_id": i, **{name: one[name] for name in ("category_id", "score", key)}}
                    for i in sorted(self._found)
                    for one in self._found[i]
                ]
                evaluation = COCOeval_faster(truth, truth.loadRes(results), kind)
                evaluation.evaluate()
                evaluation.accumulate()
                self._precision[kind] = np.asarray(evaluation.eval["precision"])[..., -1]
        return self._precision


_KEYS = {"bbox": "bbox", "segm": "segmentation"}


def _mean(precision: np.ndarray) -> float:
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if defined.size else float("nan")

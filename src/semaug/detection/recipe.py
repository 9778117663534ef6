"""A recipe of a detector: backbone, data, sizes of images, and how it is trained."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from semaug.data.subset import Subset
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Step
from semaug.errors import UserError, check_option
from semaug.recipe.recipe import BaseRecipe
from semaug.registry import choice, detectors, kinds, networks, optimizers, schedules

__all__ = ["MEASURES", "DetectionRecipe", "measures_of"]

# Of boxes, in percent, the main one first; those of masks are the same after ``mask_``.
MEASURES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
_QUICK_SIZE, _QUICK_STEPS, _QUICK_IMAGES = (320, 192), 4, 4
_USUAL_SIDE = 224  # of images by which the cost of a backbone is counted


def measures_of(detector: Any) -> tuple[str, ...]:
    """Return what is measured of a detector, by its spec."""
    return MEASURES + tuple(f"mask_{name}" for name in MEASURES) * bool(detector.masks)


@kinds.register("detect")
@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(BaseRecipe):
    """Everything that decides what a detector learns, but for its seed.

    Defaults are those of MMDetection's schedule of 12 epochs, ``1x``. Images of a step are all
    higher than wide, or none is; each of the two groups is filled up to whole steps with images of
    its own that are drawn again, as in MMDetection 2.

    Args:
        detector: Detector, see ``semaug list detectors``.
        backbone: Network that timm knows, or one of ours.
        weights: What the backbone begins with: a file of any framework, the folder of a run, or the
            name of a recipe whose run of seed 0 is in the same folder of runs. None is what timm
            fetches.
        pretrained: Whether a backbone without ``weights`` begins with those that timm fetches from
            the internet.
        batch_size: Images in a step.
        base_batch_size: Images in a step that the learning rate is meant for, which is scaled
            linearly with ``batch_size``; None leaves it as it is.
        optimizer: Optimizer: sgd, adamw, or any name that timm knows.
        schedule: How the learning rate moves, at every step: step, cosine, poly or constant.
        clip_norm: Largest norm of the gradient of all parameters together; None is no limit.
        size: Largest length of the longer and of the shorter side of an image in pixels, to which
            it is resized in proportion.
        flip: Part of the training images that are mirrored.

    Raises:
        UserError: If a number is out of range, or parts of the backbone would stay at random
            weights.
    """

    loop: ClassVar[Any] = "semaug.detection.loop:fit"

    detector: Any = choice(detectors)
    backbone: str = "resnet50.tv_in1k"
    weights: str | None = None
    pretrained: bool = True
    batch_size: int = 16
    base_batch_size: int | None = 16
    optimizer: Any = choice(
        optimizers, SGD(lr=0.02, momentum=0.9, nesterov=False, weight_decay=1e-4)
    )
    schedule: Any = choice(
        schedules,
        Step(milestones_percent=(100 * 8 / 12, 100 * 11 / 12), warmup_steps=500, warmup_start=1e-3),
    )
    clip_norm: float | None = None
    size: tuple[int, ...] = (1333, 800)
    flip: float = 0.5
    evaluation_batch_size: int = 1
    report: Literal["mean_last_10", "last", "best"] = "last"
    precision: Literal["auto", "32", "bf16", "64"] = "32"

    def __post_init__(self) -> None:
        super().__post_init__()
        base, clip = self.base_batch_size, self.clip_norm
        check_option("base_batch_size", base, base is None or base >= 1, ">= 1 or none")
        check_option("clip_norm", clip, clip is None or 0 < clip < float("inf"), "> 0 or none")
        fits = len(self.size) == 2 and self.size[0] >= self.size[1] >= 32
        check_option("size", self.size, fits, "the longer side, then the shorter, of >= 32 pixels")
        check_option("flip", self.flip, 0 <= self.flip <= 1, "from 0 to 1")
        holds = self.precision in ("32", "bf16", "64")
        check_option("precision", self.precision, holds, "32, bf16 or 64 for a detector")
        spec = self.detector
        begins = self.pretrained or self.weights is not None
        if not begins and (spec.frozen_stages or spec.norm_eval):
            raise UserError(
                "recipe: a backbone without `weights` is trained whole: expected "
                f"frozen_stages=0 and norm_eval=false, got {spec.frozen_stages} and "
                f"{str(spec.norm_eval).lower()}"
            )
        usual: Any = {"train_percent": None, "test_images": None, "subset_seed": 0}
        own = self.subset
        if not isinstance(own, Subset) or replace(own, **usual) != Subset():
            raise UserError(
                "recipe: expected no `subset` but train_percent and test_images for a detector, "
                f"got {own}"
            )
        if hasattr(self.schedule, "check"):
            self.schedule.check(self)

    @property
    def lr(self) -> float:
        """Learning rate for this ``batch_size``."""
        base = self.base_batch_size or self.batch_size
        scaled: float = self.optimizer.lr * self.batch_size / base
        return scaled

    @property
    def preprocessing(self) -> Any:
        """What images the weights of the backbone want; None if nobody knows."""
        begins = self.pretrained or self.weights is not None
        return networks.make(self.backbone, pretrained=True).preprocessing if begins else None

    def find_weights(self, runs: Path) -> Path | None:
        """Return the file or folder of ``weights``.

        Args:
            runs: Folder of all runs.

        Raises:
            FileNotFoundError: If there is none.
        """
        if self.weights is None:
            return None
        places = Path(self.weights).expanduser(), runs / self.weights / "seed0"
        for place in places:
            if place.exists():
                return place
        raise FileNotFoundError(
            f"recipe: weights: expected a file, the folder of a run, or a recipe that was trained, "
            f"got {self.weights}: neither {places[0]} nor {places[1]} is there"
        )

    def check_there(self, runs: Path, trained_too: Collection[str]) -> None:
        """Find out whether ``weights`` are there, or will be."""
        if self.weights not in trained_too:
            self.find_weights(runs)

    def quick(self) -> Any:
        """Return a smoke test: four steps of two small images, tested on four."""
        small = replace(
            self,
            batch_size=min(self.batch_size, 2),
            size=tuple(map(min, self.size, _QUICK_SIZE)),
            schedule=replace(self.schedule, warmup_epochs=0.0, warmup_steps=0),
            subset=replace(self.subset, test_images=_QUICK_IMAGES),
        )
        return small.lasting(steps=_QUICK_STEPS, evaluate_every_steps=_QUICK_STEPS // 2)

    def step_cost(self) -> int:
        """Estimate the multiply-adds of a step by those of the backbone, in proportion to areas."""
        import timm
        import torch

        from semaug.analysis import multiply_adds

        if not timm.is_model(self.backbone):
            return 0
        with torch.device("meta"):
            network = timm.create_model(self.backbone, num_classes=0)
        cost = multiply_adds(network, _USUAL_SIDE)
        return 3 * self.batch_size * cost * self.size[0] * self.size[1] // _USUAL_SIDE**2

    def describe_images(self, run: Any, options: Any, tell: Any) -> dict[str, Any]:
        """Return what ``images.json`` of a run holds, of the images that there are now."""
        from semaug.detection.images import describe_scenes, load_scenes  # which need the engine

        return describe_scenes(load_scenes(run, options, tell))

    def evaluate(self, start: Any, state: dict[str, Any]) -> Any:
        """Test the detector of a finished run again."""
        from semaug.detection.loop import evaluate

        return evaluate(start, state)

    def load(self, folder: Any, options: Any) -> Any:
        """Load the detector of a finished run."""
        from semaug.detection.trained import load_run

        return load_run(folder, options)

"""Detection: COCO as in T-PAMI Tables 11 and 12, and objects of CamVid for two CPU cores.

The backbone alone differs between the rows of the paper's tables: none is trained with ISDA while
it detects. ``weights`` names a file, the folder of a run, or a recipe that was trained:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("coco_faster_rcnn_resnet50,weights=imagenet_resnet50_isda")
>>> recipe.weights, recipe.backbone, recipe.lr
('imagenet_resnet50_isda', 'resnet50.tv_in1k', 0.02)

Run:     semaug train coco_faster_rcnn_resnet50 weights=imagenet_resnet50_isda
         semaug compare camvid_instances_faster_rcnn_lite0,weights=FILE
             camvid_instances_faster_rcnn_lite0,weights=OTHER --seeds 3
Result:  none yet, see results/README.md
Smoke:   semaug train camvid_instances_faster_rcnn_lite0 --quick
Source:  arXiv:2007.10538, Appendix D; MMDetection 3.3, ``faster-rcnn_r50_fpn_1x_coco.py``,
         ``mask-rcnn_r50_fpn_1x_coco.py`` and ``cascade-rcnn_r50_fpn_1x_coco.py`` for all settings.
         CamVid has none: settings of its recipes are not chosen by a study yet
"""

from semaug.detection.camvid_instances import CamVidInstances
from semaug.detection.recipe import DetectionRecipe
from semaug.engine.schedules import Step
from semaug.recipes.row import Row
from semaug.registry import detectors

__all__ = ["CAMVID", "TABLE_11"]

_CALLED = {
    "faster_rcnn": "Faster R-CNN",
    "mask_rcnn": "Mask R-CNN",
    "cascade_rcnn": "Cascade R-CNN",
}

TABLE_11 = {
    f"coco_{name}_resnet50": Row(
        DetectionRecipe(data="coco", detector=name, epochs=12),
        f"{called} on ResNet-50 and a feature pyramid, on COCO.",
        isda=None,
    )
    for name, called in _CALLED.items()
}


def _camvid(name: str) -> DetectionRecipe:
    """Return the recipe of frames of 180 x 240 pixels, about ten minutes of a core."""
    small = {"width": 64, "head_width": 256, "anchor_scales": (4.0,)}
    return DetectionRecipe(
        data=CamVidInstances(height=180),
        detector=detectors.make(name, **small),
        backbone="tf_efficientnet_lite0",
        size=(240, 180),
        batch_size=4,
        epochs=12,
        evaluate_every_epochs=4,
        schedule=Step(milestones_percent=(75.0, 90.0), warmup_steps=100, warmup_start=1e-3),
        evaluation_batch_size=4,
    )


CAMVID = {
    f"camvid_instances_{name}_lite0": Row(
        _camvid(name),
        f"{called} on pretrained EfficientNet-Lite0, on cars, people and signs of CamVid.",
        isda=None,
    )
    for name, called in _CALLED.items()
    if name != "cascade_rcnn"
}

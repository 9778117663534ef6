"""Segmentation: Cityscapes as in T-PAMI Table 7, and CamVid at half its size for two CPU cores.

>>> from semaug.recipes import find_recipe
>>> loss = find_recipe("cityscapes_pspnet_resnet101_isda").loss
>>> loss.strength, loss.covariance, loss.dense
(7.5, 'diagonal', 'faithful')

Recipes of Cityscapes are those of the toolbox that the paper used; names that end in ``_semseg``
and ``_mmseg`` train as two other libraries do, so far as docs/segmentation.md says.

Run:     torchrun --nproc-per-node 4 -m semaug train cityscapes_pspnet_resnet101_isda seed=0
         semaug compare camvid_pspnet_lite0 camvid_pspnet_lite0_isda --seeds 3
         network.pretrained=false network.weights=FILE, where timm can fetch nothing
Result:  see results/README.md
Smoke:   semaug train camvid_pspnet_lite0_isda --quick
Source:  arXiv:2007.10538, section 6.4 and Table 7; speedinghzl/pytorch-segmentation-toolbox at
         3f8f602 for the settings; hszhao/semseg at 4f274c3; mmsegmentation 1.2.2. CamVid has none:
         strength and covariance of its twin are not chosen by a study yet
"""

from dataclasses import replace
from typing import Any

from semaug.augmentation.scale_crop import ScaleCrop
from semaug.data.camvid import CamVid
from semaug.engine.evaluation import SlidingWindow
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Poly
from semaug.methods.segmentation import SegmentationMethod
from semaug.recipe import Recipe
from semaug.recipes.row import Row, describe
from semaug.registry import networks

__all__ = ["CAMVID", "TABLE_7"]

_FAMILIES = {"pspnet": "PSPNet", "deeplabv3": "DeepLab-v3"}
# lambda_0 of the released code, whose loss is the faithful form.
_RELEASED = {"strength": "7.5", "covariance": "diagonal", "dense": "faithful"}


def _sgd(weight_decay: float, head_lr_scale: float = 1.0) -> SGD:
    return SGD(
        lr=1e-2,
        momentum=0.9,
        nesterov=False,
        weight_decay=weight_decay,
        head_lr_scale=head_lr_scale,
    )


def _toolbox(family: str, **options: Any) -> Recipe:
    return Recipe(
        data="cityscapes",
        network=networks.make(f"{family}_resnet101", pretrained=True, **options),
        method=SegmentationMethod(),
        steps=40_000,
        evaluate_every_steps=10_000,
        batch_size=8,
        optimizer=_sgd(5e-4),
        schedule=Poly(power=0.9),
        augment=ScaleCrop(size=(769,), scale=(0.7, 2.1), scale_step=0.1),
        evaluation=SlidingWindow(window=769, average="logits"),
        evaluation_batch_size=1,
        report="last",
        sync_batch_norm=True,
    )


def _semseg(family: str) -> Recipe:
    toolbox = _toolbox(family, negative_slope=0.0).lasting(epochs=200)
    return replace(
        toolbox,
        evaluate_every_epochs=50,
        batch_size=16,
        optimizer=_sgd(1e-4, head_lr_scale=10.0),
        augment=ScaleCrop(size=(713,), scale=(0.5, 2.0), rotation=10.0),
        evaluation=SlidingWindow(window=713, mirror=True),
    )


def _mmseg(family: str) -> Recipe:
    theirs = {"backbone": "resnet101c", "dilate_first": False, "negative_slope": 0.0}
    return replace(
        _toolbox(family, **theirs).lasting(steps=80_000, evaluate_every_steps=20_000),
        augment=ScaleCrop(
            size=(769,), scale=(0.5, 2.0), max_class_share=0.75, jitter=(0.125, 0.5, 0.5, 0.1)
        ),
    )


_LIBRARIES = {
    "": ("", _toolbox),
    "_semseg": (" trained as in semseg", _semseg),
    "_mmseg": (" trained as in MMSegmentation", _mmseg),
}

TABLE_7 = {
    f"cityscapes_{family}_resnet101{end}": Row(
        make(family),
        describe(f"{called}-R101{words}", "Cityscapes", "cross-entropy"),
        isda=_RELEASED,
    )
    for end, (words, make) in _LIBRARIES.items()
    for family, called in _FAMILIES.items()
}


def _camvid(family: str) -> Recipe:
    """Return the recipe of frames of 180 x 240 pixels, in crops that fit a stride of 8."""
    return Recipe(
        data=CamVid(height=180),
        network=networks.make(f"{family}_tf_efficientnet_lite0", pretrained=True),
        method=SegmentationMethod(),
        epochs=30,
        evaluate_every_epochs=10,
        batch_size=8,
        optimizer=_sgd(5e-4, head_lr_scale=10.0),
        schedule=Poly(power=0.9),
        augment=ScaleCrop(size=(177, 241), scale=(0.5, 2.0)),
        evaluation_batch_size=8,
        report="last",
    )


CAMVID = {
    f"camvid_{family}_lite0": Row(
        _camvid(family),
        describe(f"{called} on pretrained EfficientNet-Lite0", "CamVid", "cross-entropy"),
        isda={"strength": "1"},
    )
    for family, called in _FAMILIES.items()
}

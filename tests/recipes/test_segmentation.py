"""Tests of semaug.recipes.segmentation."""

import pytest
import torch

from semaug.analysis import multiply_adds
from semaug.augmentation.scale_crop import ScaleCrop
from semaug.data.camvid import CamVid
from semaug.engine.evaluation import SlidingWindow
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Poly
from semaug.losses import ISDA, CrossEntropy
from semaug.methods.segmentation import SegmentationMethod
from semaug.recipe.quick import make_quick, step_cost
from semaug.recipes import find_recipe
from semaug.recipes.segmentation import CAMVID, TABLE_7
from semaug.registry import Sizes, data_sets, networks

FAMILIES = ("pspnet", "deeplabv3")


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_of_cityscapes_are_those_of_the_toolbox(family):
    recipe = find_recipe(f"cityscapes_{family}_resnet101")
    assert data_sets.name_of(recipe.data) == "cityscapes"
    assert networks.name_of(recipe.network) == f"{family}_resnet101"
    assert recipe.network.pretrained
    assert recipe.network.source == "resnet101s"
    assert recipe.method == SegmentationMethod(auxiliary_weight=0.4)
    assert (recipe.steps, recipe.batch_size, recipe.report) == (40_000, 8, "last")
    sgd = SGD(lr=0.01, momentum=0.9, nesterov=False, weight_decay=5e-4)
    assert recipe.optimizer == sgd
    assert recipe.optimizer.head_lr_scale == 1
    assert recipe.schedule == Poly(power=0.9)
    assert recipe.augment == ScaleCrop(size=(769,), scale=(0.7, 2.1), scale_step=0.1)
    assert recipe.evaluation == SlidingWindow(window=769, average="logits")
    assert recipe.sync_batch_norm
    assert recipe.loss == CrossEntropy()
    isda = ISDA(strength=7.5, covariance="diagonal", dense="faithful")
    assert find_recipe(f"cityscapes_{family}_resnet101_isda").loss == isda


@pytest.mark.parametrize("family", FAMILIES)
def test_other_libraries_train_otherwise(family):
    semseg, mmseg = (find_recipe(f"cityscapes_{family}_resnet101_{x}") for x in ("semseg", "mmseg"))
    assert (semseg.epochs, semseg.batch_size) == (200, 16)
    assert semseg.optimizer.head_lr_scale == 10
    assert semseg.augment.rotation == 10
    assert semseg.evaluation == SlidingWindow(window=713, mirror=True)
    assert mmseg.steps == 80_000
    assert mmseg.network.source == "resnet101c"
    assert not mmseg.network.dilate_first
    assert mmseg.augment.jitter == (0.125, 0.5, 0.5, 0.1)
    assert len(TABLE_7) == 6


@pytest.mark.parametrize("family", FAMILIES)
def test_camvid_is_for_a_cpu(family):
    recipe = find_recipe(f"camvid_{family}_lite0")
    assert recipe.data == CamVid(height=180)
    assert networks.name_of(recipe.network) == f"{family}_tf_efficientnet_lite0"
    assert recipe.network.preprocessing.mean == recipe.network.preprocessing.std == (0.5,) * 3
    assert all(side % 8 == 1 for side in recipe.augment.size)
    assert recipe.epochs == 30
    assert find_recipe(f"camvid_{family}_lite0_isda").loss.dense == "exact"
    assert len(CAMVID) == 2


def test_smoke_tests_have_small_crops_and_windows():
    quick = make_quick(find_recipe("cityscapes_pspnet_resnet101_isda"))
    assert (quick.augment.size, quick.augment.shorter_side) == ((65,), 65)
    assert quick.evaluation.window == 65
    assert quick.steps == 8
    camvid = make_quick(find_recipe("camvid_pspnet_lite0"))
    assert (camvid.augment.size, camvid.augment.shorter_side) == ((65,), None)
    recipe = find_recipe("camvid_pspnet_lite0")
    with torch.device("meta"):
        network = recipe.network.build(Sizes(num_classes=10))
    assert step_cost(recipe) == 3 * 8 * multiply_adds(network, 241)

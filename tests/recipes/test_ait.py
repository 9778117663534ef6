"""Tests of semaug.recipes.ait and semaug.recipes.small."""

from dataclasses import replace

from semaug.augmentation import Augment
from semaug.data import Subset
from semaug.engine.schedules import Step
from semaug.losses import ISDA
from semaug.methods.ait import AITMethod
from semaug.recipes import find_recipe
from semaug.recipes.ait import TABLE_1
from semaug.registry import data_sets, networks

DECAYS = {"resnet32": 1e-4, "mobilenetv2_relu": 1e-4, "wide_resnet28_10": 5e-4}


def test_cifar_has_the_settings_of_section_4_1():
    same = find_recipe("cifar10_resnet32")  # of the ISDA papers
    for network, decay in DECAYS.items():
        for data in ("cifar10", "cifar100"):
            single = TABLE_1[f"{data}_{network}_single"].recipe
            assert single == replace(
                same,
                data=data_sets.make(data),
                network=networks.make(f"{network}_cifar"),
                optimizer=replace(same.optimizer, nesterov=False, weight_decay=decay),
            )
            ait = TABLE_1[f"{data}_{network}_ait"].recipe
            assert ait == replace(single, batch_size=64, method=AITMethod())
    assert len(TABLE_1) == 2 * 2 * 3 + 2 * 2


def test_imagenet_has_the_settings_of_section_4_1():
    for network in ("resnet18", "resnet50"):
        recipe = TABLE_1[f"imagenet_{network}_single"].recipe
        assert networks.name_of(recipe.network) == network
        assert (recipe.epochs, recipe.batch_size) == (100, 256)
        assert recipe.schedule == Step(milestones_percent=(29.0, 59.0, 79.0, 89.0), lr_factor=0.1)
        assert (recipe.optimizer.lr, recipe.optimizer.weight_decay) == (0.1, 1e-4)
        assert recipe.augment == Augment(image_size=224, padding=0)
        assert find_recipe(f"imagenet_{network}_ait").batch_size == 128
        loss = find_recipe(f"imagenet_{network}_ait_isda").loss
        assert loss == ISDA(strength=7.5, covariance="diagonal")


def test_the_small_protocol_trains_on_500_images_of_each_class():
    recipe, other = find_recipe("cifar10_5k_resnet20"), find_recipe("cifar10_resnet32")
    assert recipe == replace(
        other,
        network=networks.make("resnet20_cifar"),
        subset=Subset(train_per_class=500),
        epochs=100,
        schedule=Step(milestones_percent=(50.0, 75.0)),
        evaluate_every_epochs=20,
    )
    ait = replace(recipe, method=AITMethod(), batch_size=64)
    assert find_recipe("cifar10_5k_resnet20_ait") == ait
    assert find_recipe("cifar10_5k_resnet20_ait_isda") == replace(ait, loss=ISDA(strength=0.5))

"""Tests of semaug.recipe.recipe."""

from dataclasses import dataclass, replace

import pytest

from semaug.augmentation import Augment
from semaug.engine.schedules import Step
from semaug.errors import UserError
from semaug.losses import ISDA, CrossEntropy
from semaug.methods.supervised import SupervisedMethod
from semaug.recipe import BaseRecipe, Recipe
from semaug.registry import networks


@pytest.fixture
def recipe():
    return Recipe(data="digits", network="resnet8_cifar", epochs=30)


def test_names_stand_for_specs(recipe):
    assert recipe.network == networks.make("resnet8_cifar")
    assert (recipe.loss, recipe.schedule) == (CrossEntropy(), Step())
    assert recipe == replace(recipe, network="resnet8_cifar", method=SupervisedMethod())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("evaluate_every_epochs", 0),
        ("evaluation_batch_size", 0),
        ("clip_norm", 0.0),
        ("clip_norm", float("inf")),
        ("ema_decay", 1.0),
    ],
)
def test_numbers_out_of_range_are_named(recipe, name, value):
    with pytest.raises(UserError, match=rf"recipe: expected `{name}` .*, got"):
        replace(recipe, **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": None}, "expected either `epochs` or `steps`, got epochs=None and steps=None"),
        ({"steps": 5}, "expected either `epochs` or `steps`, got epochs=30 and steps=5"),
        ({"evaluate_every_steps": 5}, "`evaluate_every_steps` has no effect without `steps`"),
        (
            {"epochs": None, "steps": 9, "evaluate_every_epochs": 2},
            "`evaluate_every_epochs` has no effect without `epochs`",
        ),
        ({"schedule": Step(warmup_epochs=30.0)}, "`warmup_epochs` from 0 to below epochs=30, got"),
        ({"batch_size": 1, "augment": Augment(mixup=0.2)}, "`batch_size` > 1 to mix images, got 1"),
        ({"network": "resnet9_cifar"}, "unknown network 'resnet9_cifar'; did you mean"),
        ({"loss": "isda"}, "loss=isda expects strength=..."),
        ({"loss": ISDA}, "expected a name or a spec as loss, got"),
    ],
)
def test_what_does_not_fit_is_refused(recipe, options, message):
    with pytest.raises(UserError) as error:
        replace(recipe, **options)
    assert message in str(error.value)


@dataclass(frozen=True, kw_only=True)
class LabelsOnly:
    """A loss that takes no mixed labels."""

    soft_targets = False


def test_a_loss_of_labels_takes_no_mixed_images(recipe):
    name = f"loss={__name__}:LabelsOnly takes labels only, so no `mixup` and no `cutmix`"
    with pytest.raises(UserError, match=name):
        replace(recipe, loss=LabelsOnly(), augment=Augment(cutmix=0.2))


def test_another_length_replaces_all_that_belongs_to_the_old_one(recipe):
    steps = replace(recipe, evaluate_every_epochs=5).lasting(steps=100, evaluate_every_steps=10)
    assert (steps.epochs, steps.steps, steps.evaluate_every_epochs) == (None, 100, 1)
    assert steps.lasting(epochs=30) == recipe
    assert steps.changed(epochs=30, batch_size=7) == replace(recipe, batch_size=7)


def test_recipes_of_other_kinds_share_data_and_length():
    recipe = BaseRecipe(data="digits", steps=5)
    assert recipe.subset == Recipe(data="digits", network="resnet8_cifar", steps=5).subset
    with pytest.raises(UserError, match="expected `steps` >= 1, got 0"):
        BaseRecipe(data="digits", steps=0)

"""Tests of the specs of losses, as recipes choose them."""

import math
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
from torch import nn

from semaug import ExplicitAugmentationLoss, ISDALoss
from semaug.covariance import KINDS
from semaug.errors import UserError
from semaug.losses import ISDA, CrossEntropy, Explicit
from semaug.recipe.overrides import override
from semaug.recipes import find_recipe
from semaug.registry import Sizes, losses

SIZES = Sizes(num_classes=4, num_features=3, num_steps=7)


def test_what_is_left_out_has_a_default():
    assert ISDA(strength=0.5) == ISDA(strength=0.5, ramp="linear", covariance="full", memory=None)
    assert CrossEntropy() == losses.make("cross_entropy")
    assert [field.name for field in fields(CrossEntropy)] == ["label_smoothing"]


def test_every_kind_of_covariance_has_its_word():
    assert get_args(get_type_hints(ISDA)["covariance"]) == KINDS


@pytest.mark.parametrize("spec", [ISDA, Explicit])
@pytest.mark.parametrize(("ramp", "steps"), [("linear", 7), ("constant", None)])
def test_losses_are_built_with_the_options(spec, ramp, steps):
    more = {"num_samples": 5} if spec is Explicit else {}
    options = {"strength": 0.25, "ramp": ramp, "covariance": "diagonal", "memory": 0.9, **more}
    loss = spec(**options).build(SIZES)
    assert type(loss) is {ISDA: ISDALoss, Explicit: ExplicitAugmentationLoss}[spec]
    assert (loss.strength, loss.ramp_steps) == (0.25, steps)
    estimator = loss.estimator
    assert (estimator.kind, estimator.memory, estimator.num_features) == ("diagonal", 0.9, 3)
    assert getattr(loss, "num_samples", None) == more.get("num_samples")


def test_cross_entropy_is_that_of_torch():
    assert type(CrossEntropy().build(SIZES)) is nn.CrossEntropyLoss


def test_smoothing_and_shrinkage_reach_the_losses():
    assert CrossEntropy(label_smoothing=0.1).build(SIZES).label_smoothing == 0.1
    spec = ISDA(strength=0.5, label_smoothing=0.2, shrinkage=20.0)
    assert spec.build(SIZES).label_smoothing == 0.2
    assert spec.build(SIZES).estimator.shrinkage == 20.0
    assert (
        Explicit(strength=0.5, num_samples=2, shrinkage=3.0).build(SIZES).estimator.shrinkage == 3
    )


def test_options_of_learned_covariances_reach_the_losses():
    options = {"covariance": "learned", "uncertainty_weight": 0.1, "uncertainty_share": 0.5}
    for spec in (ISDA(strength=0.5, **options), Explicit(strength=0.5, num_samples=2, **options)):
        estimator = spec.build(SIZES).estimator
        assert (estimator.entropy_weight, estimator.entropy_share) == (0.1, 0.5)
    with pytest.raises(ValueError, match="no `entropy_weight` for kind='full'"):
        ISDA(strength=0.5, uncertainty_weight=0.1).build(SIZES)


def test_smoothing_and_shrinkage_out_of_range_are_named():
    for make in (CrossEntropy, lambda **options: ISDA(strength=0.5, **options)):
        with pytest.raises(
            UserError, match="recipe: expected `label_smoothing` from 0 to 1, got 2"
        ):
            make(label_smoothing=2.0)
    with pytest.raises(UserError, match="recipe: expected `shrinkage` >= 0 or none, got -1"):
        ISDA(strength=0.5, shrinkage=-1.0)
    with pytest.raises(UserError, match="expected `cells_per_class` >= 1, or none, got 0"):
        ISDA(strength=0.5, cells_per_class=0)
    with pytest.raises(ValueError, match="shrinkage"):
        ISDA(strength=0.5, covariance="identity", shrinkage=1.0).build(SIZES)


def test_losses_say_what_they_take():
    assert ISDA.takes_features is Explicit.takes_features is True
    assert not getattr(CrossEntropy, "takes_features", False)
    assert Explicit.soft_targets is False


@pytest.mark.parametrize("strength", [-1, math.nan, math.inf])
@pytest.mark.parametrize("spec", [ISDA, Explicit])
def test_a_strength_out_of_range_is_named(spec, strength):
    more = {"num_samples": 5} if spec is Explicit else {}
    with pytest.raises(UserError, match="recipe: expected `strength` >= 0, got"):
        spec(strength=strength, **more)


def test_a_number_of_draws_out_of_range_is_named():
    with pytest.raises(UserError, match="recipe: expected `num_samples` >= 1, got 0"):
        Explicit(strength=0.5, num_samples=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "idsa"}, "unknown loss 'idsa'; did you mean 'isda'"),
        ({"loss": "isda"}, "loss=isda expects strength=..."),
        ({"loss": "explicit", "num_samples": "5"}, "loss=explicit expects strength=..."),
        ({"loss": "explicit", "strength": "0.5"}, "loss=explicit expects num_samples=..."),
        ({"strength": "0.5"}, "this recipe has no field 'strength'; add loss=isda or loss=expl"),
        ({"ramp": "linear"}, "this recipe has no field 'ramp'; add loss=isda or loss=explicit"),
        ({"covariance": "full"}, "this recipe has no field 'covariance'; add loss=isda or"),
        ({"memory": "0.9"}, "this recipe has no field 'memory'; add loss=isda or loss=explicit"),
        ({"num_samples": "5"}, "this recipe has no field 'num_samples'; add loss=explicit"),
        (
            {"loss": "isda", "strength": "0.5", "num_samples": "5"},
            "this recipe has no field 'num_samples'; add loss=explicit",
        ),
    ],
)
def test_options_of_other_losses_are_refused(changes, message):
    with pytest.raises(UserError) as error:
        override(find_recipe("digits_resnet8"), changes)
    assert message in str(error.value)


def test_another_loss_of_features_keeps_what_they_share():
    recipe = override(find_recipe("digits_resnet8_isda"), {"covariance": "low_rank"})
    explicit = override(recipe, {"loss": "explicit", "num_samples": "3"}).loss
    assert explicit == Explicit(strength=0.5, covariance="low_rank", num_samples=3)

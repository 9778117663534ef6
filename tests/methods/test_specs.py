"""Tests of the specs of methods, and of what a recipe makes of them."""

from dataclasses import fields, replace

import pytest

from semaug.augmentation import Augment
from semaug.errors import UserError
from semaug.methods import Stream, View
from semaug.methods.ait import AITMethod
from semaug.methods.mutual import DML, MultiAIT
from semaug.methods.supervised import SupervisedMethod
from semaug.recipe.overrides import override
from semaug.recipe.plan import passes_per_image, streams_of
from semaug.recipes import find_recipe
from semaug.registry import methods, networks


def augments(recipe):
    """Return the augmentation of each view, as a recipe makes it."""
    (stream,) = streams_of(recipe).values()
    return tuple(view.augment or recipe.augment for view in stream.views)


def test_methods_state_what_the_papers_choose():
    ait = AITMethod()
    assert (ait.views, ait.ai_weight, ait.ai_layer, ait.ai_metric) == (2, 1.0, "logits", "kl")
    assert (ait.ai_target_gradient, ait.ai_convention) == (True, "paper")
    together = MultiAIT(peers=("a", "b"))
    assert (together.ai_weight, together.ai_target_gradient) == (3.0, True)
    dml = DML(peers=("a",))
    assert (dml.ai_weight, dml.ai_target_gradient) == (1.0, False)
    assert fields(SupervisedMethod) == ()


@pytest.mark.parametrize(
    ("method", "networks", "views", "passes"),
    [
        (SupervisedMethod(), 1, 1, 1),
        (AITMethod(views=3), 1, 3, 3),
        (DML(peers=("resnet8_cifar", "resnet20_cifar")), 3, 1, 3),
        (MultiAIT(peers=("resnet8_cifar",)), 2, 2, 2),
    ],
)
def test_views_and_passes_follow_from_the_method(method, networks, views, passes):
    recipe = replace(find_recipe("digits_resnet8"), method=method)
    (stream,) = streams_of(recipe).values()
    assert getattr(method, "num_networks", 1) == networks
    assert len(stream.views) == views
    assert passes_per_image(recipe, stream) == passes


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (AITMethod, {"views": 1}, "expected `views` >= 2, got 1"),
        (AITMethod, {"ai_weight": -1.0}, "expected `ai_weight` >= 0, got -1.0"),
        (MultiAIT, {"peers": ("a",), "ai_weight": -1.0}, "expected `ai_weight` >= 0, got -1.0"),
        (DML, {"peers": ()}, "expected `peers`, the networks that train beside the first"),
        (
            AITMethod,
            {"ai_metric": "both", "ai_target_gradient": False},
            "expected ai_metric=kl with ai_target_gradient=false, got both",
        ),
        (
            DML,
            {"peers": ("a",), "peer_weight_decay": (-1.0,)},
            "expected `peer_weight_decay` >= 0",
        ),
        (
            DML,
            {"peers": ("a",), "peer_weight_decay": (0.1, 0.2)},
            "expected `peer_weight_decay` for each of 1 peers, got 2",
        ),
        (AITMethod, {"view_augments": ("rp",)}, "for each of 2 views, got 1"),
        (MultiAIT, {"peers": ("a",), "view_augments": ("rp",)}, "for each of 2 views, got 1"),
        (AITMethod, {"view_augments": ("rp", "rx")}, "such as rp or rpg, got 'rx'"),
        (AITMethod, {"view_augments": ("rp", "rpp")}, "such as rp or rpg, got 'rpp'"),
        (AITMethod, {"view_augments": ("rp", "p")}, "such as rp or rpg, got 'p'"),
        (AITMethod, {"view_augments": ("rp", "r")}, "such as rp or rpg, got 'r'"),
    ],
)
def test_what_has_no_meaning_is_refused(kind, options, message):
    with pytest.raises(UserError) as error:
        kind(**options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "multi_aut"}, "unknown method 'multi_aut'; did you mean 'multi_ait'"),
        ({"views": "2"}, "this recipe has no field 'views'; add method=ait"),
        ({"ai_weight": "1"}, "add method=ait or method=dml or method=multi_ait"),
        ({"method": "ait", "peers": "a"}, "has no field 'peers'; add method=dml or method=multi_"),
        ({"method": "dml"}, "method=dml expects peers=..."),
    ],
)
def test_options_of_other_methods_are_refused(changes, message):
    with pytest.raises(UserError) as error:
        override(find_recipe("digits_resnet8"), changes)
    assert message in str(error.value)


def test_another_method_of_peers_keeps_them_and_has_a_weight_of_its_own():
    recipe = override(find_recipe("digits_resnet8"), {"method": "dml", "peers": "resnet8_cifar"})
    together = override(recipe, {"method": "multi_ait"}).method
    assert together == MultiAIT(peers=(networks.make("resnet8_cifar"),))


def test_peers_are_networks():
    for peers in ("resnet8_cifra", "resnet8_cifar,resnet8_cifra"):
        with pytest.raises(UserError, match="unknown network 'resnet8_cifra'; did you mean 'resne"):
            override(find_recipe("digits_resnet8"), {"method": "dml", "peers": peers})


def test_lines_about_methods_name_all_their_options():
    told = methods.describe()
    assert told["supervised"].endswith("augmented in one way")
    for name in ("ait", "dml", "multi_ait"):
        options = [one.name for one in fields(methods.get(name))]
        assert told[name].endswith(f"; options: {', '.join(options)}")
        assert "ai_weight" in options


@pytest.fixture
def recipe():
    """Return one whose images are shifted and lose their colors."""
    changes = {"method": "ait", "padding": "4", "grayscale": "0.1", "augment.flip": "true"}
    return override(find_recipe("digits_resnet8"), changes)


def test_each_view_keeps_its_own_part_of_the_augmentation(recipe):
    crop, gray = augments(override(recipe, {"view_augments": "rp,rg"}))
    assert (crop.padding, crop.grayscale, crop.flip) == (4, 0.0, True)
    assert (gray.padding, gray.grayscale, gray.flip) == (0, 0.1, True)
    rich = Augment(padding_mode="reflect", policy="randaugment", jitter=(0.1,), cutout=8)
    method = AITMethod(view_augments=("rh", "rac"))
    plain, heavy = augments(replace(recipe, augment=rich, method=method))
    assert plain == Augment(padding=0)
    assert heavy == replace(rich, padding=0, padding_mode="zero", cutout=0)


def test_views_all_have_the_augmentation_unless_told_otherwise(recipe):
    assert streams_of(recipe) == {"labeled": Stream(views=(View(), View()))}
    assert augments(recipe) == (recipe.augment, recipe.augment)
    together = override(recipe, {"method": "dml", "peers": "resnet8_cifar"})
    assert streams_of(together) == {"labeled": Stream()}


def test_a_view_cannot_have_what_the_recipe_has_not(recipe):
    with pytest.raises(UserError, match="`view_augments` has 'rc', but there is no `jitter`"):
        streams_of(override(recipe, {"view_augments": "rp,rc"}))

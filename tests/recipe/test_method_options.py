"""Tests of semaug.recipe.method_options, and of what a recipe makes of them."""

from dataclasses import replace

import pytest

from semaug.errors import UserError
from semaug.recipe.method_options import METHODS, Method, options_of_method
from semaug.recipe.recipe import Augment
from semaug.recipes import find_recipe


def test_methods_state_what_the_papers_choose():
    ait = Method(name="ait")
    assert (ait.views, ait.ai_weight, ait.ai_layer, ait.ai_metric) == (2, 1.0, "logits", "kl")
    assert (ait.ai_target_gradient, ait.ai_convention) == (True, "paper")
    together = Method(name="multi_ait", peers=("a", "b"))
    assert (together.ai_weight, together.ai_target_gradient) == (3.0, True)
    assert (Method(name="dml", peers=("a",)).ai_target_gradient, Method().ai_weight) == (
        False,
        None,
    )


@pytest.mark.parametrize(
    ("method", "networks", "views", "passes"),
    [
        (Method(), 1, 1, 1),
        (Method(name="ait", views=3), 1, 3, 3),
        (Method(name="dml", peers=("a", "b")), 3, 1, 3),
        (Method(name="multi_ait", peers=("a",)), 2, 2, 2),
    ],
)
def test_views_and_passes_follow_from_the_method(method, networks, views, passes):
    assert (method.num_networks, method.num_views, method.passes_per_image) == (
        networks, views, passes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "aut"}, "unknown method 'aut'; did you mean 'ait'"),
        ({"views": 2}, "`views` has no effect on method=supervised; add method=ait"),
        ({"ai_weight": 1.0}, "add method=ait or method=multi_ait or method=dml"),
        ({"name": "ait", "peers": ("a",)}, "`peers` has no effect on method=ait"),
        ({"name": "ait", "views": 1}, "expected `views` >= 2, got 1"),
        ({"name": "ait", "ai_weight": -1.0}, "expected `ai_weight` >= 0, got -1.0"),
        ({"name": "dml"}, "method=dml expects `peers`"),
        (
            {"name": "ait", "ai_metric": "both", "ai_target_gradient": False},
            "expected ai_metric=kl with ai_target_gradient=false, got both",
        ),
        (
            {"name": "dml", "peers": ("a",), "peer_weight_decay": (-1.0,)},
            "expected `peer_weight_decay` >= 0",
        ),
        (
            {"name": "dml", "peers": ("a",), "peer_weight_decay": (0.1, 0.2)},
            "expected `peer_weight_decay` for each of 1 peers, got 2",
        ),
        ({"name": "ait", "view_augments": ("rp",)}, "for each of 2 views, got 1"),
        ({"name": "ait", "view_augments": ("rp", "rx")}, "such as rp or rpg, got 'rx'"),
        ({"name": "ait", "view_augments": ("rp", "rpp")}, "such as rp or rpg, got 'rpp'"),
        ({"name": "ait", "view_augments": ("rp", "p")}, "such as rp or rpg, got 'p'"),
    ],
)
def test_what_has_no_meaning_is_refused(options, message):
    with pytest.raises(UserError) as error:
        Method(**options)
    assert message in str(error.value)


def test_lines_about_methods_name_all_their_options():
    assert METHODS["dml"].endswith("; ai_weight, ai_target_gradient, peers, peer_weight_decay")
    assert METHODS["supervised"].endswith("augmented in one way")
    assert options_of_method("multi_ait")[0] == "view_augments"
    assert options_of_method("aut") == ()


def test_each_view_keeps_its_own_part_of_the_augmentation():
    recipe = find_recipe("cifar100_resnet32_rp_rg_ait")
    crop, gray = recipe.augments()
    assert (crop.padding, crop.grayscale, crop.flip) == (4, 0.0, True)
    assert (gray.padding, gray.grayscale, gray.flip) == (0, 0.1, True)
    views = Method(name="ait", view_augments=("rh", "rac"))
    rich = Augment(padding_mode="reflect", policy="randaugment", jitter=(0.1,), cutout=8)
    plain, heavy = replace(recipe, augment=rich, method=views).augments()
    assert plain == Augment(padding=0)
    assert heavy == replace(rich, padding=0, padding_mode="zero", cutout=0)


def test_views_all_have_the_augmentation_unless_told_otherwise():
    recipe = find_recipe("cifar100_resnet32_ait")
    assert recipe.augments() == (recipe.augment, recipe.augment)
    assert find_recipe("cifar100_resnet32_resnet32_dml").augments() == (recipe.augment,)


def test_a_view_cannot_have_what_the_recipe_has_not():
    recipe = find_recipe("cifar100_resnet32_ait")
    views = Method(name="ait", view_augments=("rp", "rg"))
    with pytest.raises(UserError, match="`view_augments` has 'rg', but there is no `grayscale`"):
        replace(recipe, method=views)

"""Tests of semaug.engine.build."""

from dataclasses import replace

import pytest
import torch

from semaug.data import load_data
from semaug.engine import build
from semaug.engine.build import build_data, build_method
from semaug.engine.pipeline import Pipeline
from semaug.errors import UserError
from semaug.losses import ExplicitAugmentationLoss

# Batch norm on one pixel, and a hidden layer between `num_features` and the classifier.
MOBILE = "network=mobilenetv3_small_050"


@pytest.fixture
def build_from(make_run):
    """Return a function that builds the method of a tiny run."""

    def build(*arguments):
        recipe = make_run(*arguments).recipe
        data, _ = build_data(recipe, None, torch.device("cpu"))
        images = Pipeline(recipe, data).example_images()
        return build_method(recipe, data, images, seed=0, num_steps=1)

    return build


def test_isda_has_the_size_of_what_the_classifier_receives(build_from):
    method = build_from("digits_resnet8_isda", MOBILE)
    classifier = method.network.model.get_classifier()
    assert method.network.model.num_features != classifier.in_features
    assert method.criterion.estimator.num_features == classifier.in_features


def test_isda_takes_kind_and_memory_from_the_recipe(build_from):
    method = build_from("digits_resnet8_isda", "covariance=low_rank", "memory=epoch")
    assert method.criterion.estimator.kind == "low_rank"
    assert method.criterion.estimator.memory == "epoch"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["memory=2"], "expected `memory` to be None, 'epoch' or a number between 0 and 1, got 2"),
        (["covariance=identity", "memory=epoch"], "expected no `memory` for kind='identity'"),
    ],
)
def test_options_that_the_statistics_refuse_are_named(build_from, options, message):
    with pytest.raises(UserError, match=rf"^recipe: ClassCovariance: {message}"):
        build_from("digits_resnet8_isda", *options)


def test_initial_weights_depend_on_seed_and_network_alone(build_from):
    isda = build_from("digits_resnet8_isda")
    torch.rand(3)
    baseline = build_from("digits_resnet8")
    expected = isda.network.model.state_dict()
    for name, value in baseline.network.state_dict().items():
        assert torch.equal(value, expected[name])


@pytest.mark.parametrize("name", ["digits_resnet8", "digits_resnet8_isda"])
def test_a_network_for_other_sizes_is_named(build_from, name):
    message = r"^recipe: network=vit_tiny_patch16_224 cannot take data=digits of 3 x 8 x 8 pixels: "
    with pytest.raises(UserError, match=message):
        build_from(name, "network=vit_tiny_patch16_224")


def test_a_network_without_a_classifier_is_named(build_from, monkeypatch):
    create = build.timm.create_model
    monkeypatch.setattr(
        build.timm, "create_model", lambda name, num_classes: create(name, num_classes=0)
    )
    with pytest.raises(UserError, match=r"^recipe: loss=isda network=resnet8_cifar: with_features"):
        build_from("digits_resnet8_isda")


@pytest.mark.parametrize("batch_size", [1, 33])  # 100 training images
def test_a_step_of_one_image_is_tried_before_it_fails(build_from, batch_size):
    message = f"with batch_size={batch_size} a step has one of 100 training images, too few"
    with pytest.raises(UserError, match=message):
        build_from("digits_resnet8", MOBILE, f"batch_size={batch_size}")


def test_a_step_of_one_image_leaves_no_trace(build_from):
    untried, tried = (build_from("digits_resnet8", f"batch_size={n}") for n in (32, 33))
    for name, value in untried.state_dict().items():
        assert torch.equal(value, tried.state_dict()[name])


@pytest.mark.parametrize(("rate", "expected"), [("none", {0.5}), ("0", set()), ("0.2", {0.2})])
def test_dropout_of_a_network_itself_can_be_changed(make_run, rate, expected):
    recipe = make_run("digits_resnet8", "network=cnn13_cifar", f"block_drop_rate={rate}").recipe
    network = build._create_network(recipe, 10, "network")
    rates = {module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates - {0.0} == expected


def test_dropout_inside_blocks_reaches_the_network(build_from):
    method = build_from("digits_resnet8", "network=wide_resnet16_8_cifar", "block_drop_rate=0.3")
    rates = {m.p for m in method.network.modules() if isinstance(m, torch.nn.Dropout)}
    assert 0.3 in rates


def test_a_network_without_dropout_inside_its_blocks_is_named(build_from):
    message = r"^recipe: network=resnet8_cifar has no dropout inside its blocks: .*block_drop_rate"
    with pytest.raises(UserError, match=message):
        build_from("digits_resnet8", "block_drop_rate=0.3")


def test_a_set_without_test_images_is_named(make_run, monkeypatch):
    digits = load_data("digits")
    alone = replace(digits, test=digits.test.subset(torch.arange(0)))
    monkeypatch.setattr(build, "load_data", lambda name, root, workers: alone)
    message = "data=digits has no images to test on; keep some .* back with hold_out=N"
    recipe = make_run("digits_resnet8", "test_images=none").recipe
    with pytest.raises(UserError, match=message):
        build_data(recipe, None, torch.device("cpu"))
    recipe = make_run("digits_resnet8", "test_images=none", "hold_out=20").recipe
    assert len(build_data(recipe, None, torch.device("cpu"))[0].test) == 20


def test_quick_holds_out_half_of_the_classes_where_each_has_one_image(make_run):
    changes = ("train_per_class=1", "hold_out=300", "test_images=none")
    recipe = make_run("digits_resnet8", *changes).recipe
    data, _ = build_data(recipe, None, torch.device("cpu"), quick=True)
    assert (len(data.train), len(data.test)) == (5, 5)


def test_too_many_test_images_are_named(make_run):
    recipe = make_run("digits_resnet8", "test_images=1000").recipe
    with pytest.raises(UserError, match="expected `test_images` <= 797, got 1000"):
        build_data(recipe, None, torch.device("cpu"))


def test_data_that_cannot_be_had_is_an_error_for_users(make_run):
    recipe = make_run("digits_resnet8", "train_per_class=900").recipe
    with pytest.raises(UserError, match="expected `train_per_class` <= "):
        build_data(recipe, None, torch.device("cpu"))


EXPLICIT = ("loss=explicit", "strength=0.25", "num_samples=3", "covariance=diagonal")


@pytest.mark.parametrize(("ramp", "steps"), [("linear", 1), ("constant", None)])
def test_explicit_augmentation_takes_the_words_of_the_recipe(build_from, ramp, steps):
    criterion = build_from("digits_resnet8", *EXPLICIT, f"ramp={ramp}").criterion
    assert isinstance(criterion, ExplicitAugmentationLoss)
    assert (criterion.strength, criterion.num_samples, criterion.ramp_steps) == (0.25, 3, steps)
    assert criterion.estimator.kind == "diagonal"


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_explicit_augmentation_of_mixed_images_is_refused(build_from, mix):
    with pytest.raises(UserError, match="recipe: loss=explicit takes labels only, so no `mixup`"):
        build_from("digits_resnet8", *EXPLICIT, f"{mix}=1")

"""Tests of semaug.engine.build."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import nn

from semaug.engine.build import Builder, compile_steps, synchronize_batch_norm
from semaug.engine.streams import Streams
from semaug.errors import UserError
from semaug.losses import ExplicitAugmentationLoss
from semaug.methods import Batch, Supervised
from semaug.metrics import Error, MeanIoU, MeanIoUSpec
from semaug.recipe.quick import make_quick
from semaug.registry import networks
from semaug.runs.run import Run
from tests.tiny import tiny_recipe, train_quietly

# Batch norm on one pixel, and a hidden layer between `num_features` and the classifier.
MOBILE = "network=mobilenetv3_small_050"


@pytest.fixture
def builder_of(tmp_path):
    """Return a function that makes the builder of a tiny run."""

    def make(*arguments, **options):
        recipe = replace(tiny_recipe(*arguments), **options)
        data, _ = recipe.subset.select(recipe.data.load(tmp_path, None))
        streams = Streams(recipe, data)
        return Builder(recipe, data, streams.plan, streams.example_images(), seed=0)

    return make


@pytest.fixture
def build_from(builder_of):
    """Return a function that builds the method of a tiny run."""
    return lambda *arguments, **options: builder_of(*arguments, **options).method()


def test_the_builder_knows_all_sizes(builder_of):
    builder = builder_of("digits_resnet8", "epochs=2")
    sizes = builder.sizes
    assert (sizes.num_classes, sizes.num_steps, sizes.num_images) == (10, 8, 100)
    assert (sizes.image, sizes.num_features) == ((3, 8, 8), None)
    assert builder.example_images.shape == (2, 3, 8, 8)
    assert builder.plan.total_steps == 8


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
    with pytest.raises(UserError, match=rf"^recipe: {message}"):
        build_from("digits_resnet8_isda", *options)


def test_a_loss_without_bias_leaves_that_of_the_classifier_at_zero(build_from):
    for peers in ([], ["method=dml", "peers=resnet20_cifar"]):
        method = build_from("digits_resnet8", "loss=large_margin", *peers)
        for network in [*method.network] if peers else [method.network]:
            assert not network.classifier.bias.any()
            assert not network.classifier.bias.requires_grad
            assert network.classifier.weight.requires_grad
    assert build_from("digits_resnet8_isda").network.classifier.bias.requires_grad


def test_initial_weights_depend_on_seed_and_network_alone(build_from):
    isda = build_from("digits_resnet8_isda")
    torch.rand(3)
    baseline = build_from("digits_resnet8")
    expected = isda.network.model.state_dict()
    for name, value in baseline.network.state_dict().items():
        assert torch.equal(value, expected[name])


def test_each_network_has_weights_of_its_own_and_the_first_those_it_has_alone(build_from):
    peers = "peers=resnet8_cifar,resnet20_cifar"
    alone, together = (
        build_from("digits_resnet8", *changes) for changes in ([], ["method=dml", peers])
    )
    first, second, _ = together.network
    for name, value in alone.network.state_dict().items():
        assert torch.equal(value, first.state_dict()[name])
    assert not torch.equal(first.get_classifier().weight, second.get_classifier().weight)


def test_a_method_may_ask_for_several_networks_and_losses(builder_of):
    builder = builder_of("digits_resnet8_isda")
    first, second = builder.network(), builder.network("resnet20_cifar")
    assert first.conv1.weight.shape == second.conv1.weight.shape
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
    sizes = [builder.loss(num_features=size).estimator.num_features for size in (3, 7)]
    assert sizes == [3, 7]
    with pytest.raises(UserError, match="method=supervised has no features for loss=isda"):
        builder.loss()
    other = tiny_recipe("digits_resnet8").loss
    assert isinstance(builder.loss(spec=other), nn.CrossEntropyLoss)
    network, loss = builder.with_loss("resnet20_cifar")
    assert loss.estimator.num_features == network.num_features


@pytest.mark.parametrize("name", ["digits_resnet8", "digits_resnet8_isda"])
def test_a_network_for_other_sizes_is_named(build_from, name):
    message = r"^recipe: network=vit_tiny_patch16_224 cannot take data=digits of 3 x 8 x 8 pixels: "
    with pytest.raises(UserError, match=message):
        build_from(name, "network=vit_tiny_patch16_224")


@pytest.mark.parametrize(
    ("peers", "message"),
    [
        ("resnet9_cifar", "unknown network 'resnet9_cifar'; did you mean 'resnet8_cifar'"),
        ("vit_tiny_patch16_224", "peers=vit_tiny_patch16_224 cannot take data=digits"),
    ],
)
def test_a_peer_that_does_not_fit_is_named(build_from, peers, message):
    with pytest.raises(UserError, match=f"^recipe: {message}"):
        build_from("digits_resnet8", "method=dml", f"peers={peers}")


@dataclass(frozen=True, kw_only=True)
class Headless:
    """A network whose features are all there is."""

    def build(self, sizes):
        return timm.create_model("resnet8_cifar", num_classes=0)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A network that cannot be built."""

    def build(self, sizes):
        raise ValueError("no network of this size")


def test_a_network_without_a_classifier_is_named(build_from, builder_of):
    message = r"^recipe: loss=isda network=.*test_build.*:Headless: with_features"
    with pytest.raises(UserError, match=message):
        build_from("digits_resnet8_isda", network=Headless())
    with pytest.raises(UserError, match=message.replace("network=", "peers=")):
        builder_of("digits_resnet8_isda").with_loss(Headless(), "peers")


def test_a_network_that_cannot_be_built_is_named(build_from):
    with pytest.raises(UserError, match=r"^recipe: network=.*:Broken: no network of this size"):
        build_from("digits_resnet8", network=Broken())


@pytest.mark.parametrize("batch_size", [1, 33])  # 100 training images
def test_a_step_of_one_image_is_tried_before_it_fails(build_from, batch_size):
    message = f"with batch_size={batch_size} a step has one of 100 training images, too few"
    with pytest.raises(UserError, match=message):
        build_from("digits_resnet8", MOBILE, f"batch_size={batch_size}")


def test_a_step_of_one_image_is_none_where_batches_are_always_full(build_from):
    build_from("digits_resnet8", MOBILE, "batch_size=33", "epochs=none", "steps=10")


def test_a_step_of_one_image_leaves_no_trace(build_from):
    untried, tried = (build_from("digits_resnet8", f"batch_size={n}") for n in (32, 33))
    for name, value in untried.state_dict().items():
        assert torch.equal(value, tried.state_dict()[name])


def test_several_views_of_one_image_are_enough(build_from):
    build_from("digits_resnet8", MOBILE, "batch_size=33", "method=ait")


@pytest.mark.parametrize(("rate", "expected"), [("none", {0.5}), ("0", set()), ("0.2", {0.2})])
def test_dropout_of_a_network_itself_can_be_changed(builder_of, rate, expected):
    changes = ["network=cnn13_cifar", f"block_drop_rate={rate}"]
    recipe = tiny_recipe("digits_resnet8", *changes)
    network = recipe.network.build(builder_of("digits_resnet8").sizes)
    rates = {module.p for module in network.modules() if isinstance(module, nn.Dropout)}
    assert rates - {0.0} == expected


@pytest.mark.parametrize("network", ["wide_resnet16_8_cifar", "resnet8_cifar", "se_resnet20_cifar"])
def test_dropout_inside_blocks_reaches_the_network(builder_of, network):
    recipe = tiny_recipe("digits_resnet8", f"network={network}", "block_drop_rate=0.3")
    sizes = builder_of("digits_resnet8").sizes
    with torch.device("meta"):
        network = recipe.network.build(sizes)
    assert 0.3 in {m.p for m in network.modules() if isinstance(m, nn.Dropout)}


def test_a_network_without_dropout_inside_its_blocks_is_named(build_from):
    message = "^recipe: network=mobilenetv2_cifar has no dropout inside its blocks: .*block_drop_ra"
    with pytest.raises(UserError, match=message):
        build_from("digits_resnet8", "network=mobilenetv2_cifar", "block_drop_rate=0.3")


EXPLICIT = ("loss=explicit", "strength=0.25", "num_samples=3", "covariance=diagonal")


@pytest.mark.parametrize(("ramp", "steps"), [("linear", 12), ("constant", None)])
def test_explicit_augmentation_takes_the_words_of_the_recipe(build_from, ramp, steps):
    criterion = build_from("digits_resnet8", *EXPLICIT, f"ramp={ramp}").criterion
    assert isinstance(criterion, ExplicitAugmentationLoss)
    assert (criterion.strength, criterion.num_samples, criterion.ramp_steps) == (0.25, 3, steps)
    assert criterion.estimator.kind == "diagonal"


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_explicit_augmentation_of_mixed_images_is_refused(mix):
    with pytest.raises(UserError, match="recipe: loss=explicit takes labels only, so no `mixup`"):
        tiny_recipe("digits_resnet8", *EXPLICIT, f"{mix}=1")


@dataclass(frozen=True, kw_only=True)
class LabelsOnly:
    """A loss of a stranger that takes labels only."""

    soft_targets: ClassVar[bool] = False

    def build(self, sizes):
        return nn.CrossEntropyLoss()


def test_mixed_images_need_a_loss_of_soft_targets():
    recipe = tiny_recipe("digits_resnet8", "mixup=1")
    with pytest.raises(UserError, match="LabelsOnly takes labels only, so no `mixup`"):
        replace(recipe, loss=LabelsOnly())


def test_the_recipe_may_measure_something_else(builder_of):
    builder = builder_of("digits_resnet8")
    method = builder.method()
    assert [type(metric) for metric in builder.metrics(method)] == [Error]
    builder = builder_of("digits_resnet8", metrics=(MeanIoUSpec(), *builder.recipe.metrics))
    assert [type(metric) for metric in builder.metrics(method)] == [MeanIoU]


def test_batch_norm_of_several_processes_needs_gpus():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(UserError, match="`sync_batch_norm` needs GPUs; torch has none for a CPU"):
        synchronize_batch_norm(network, torch.device("cpu"))
    changed = synchronize_batch_norm(network, torch.device("cuda"))
    assert isinstance(changed[1], nn.SyncBatchNorm)


def test_synchronized_batch_norm_keeps_activations_and_evaluation():
    images = torch.randn(2, 3, 32, 32)
    for norm_eval in (False, True):
        network = timm.create_model("efficientnet_lite0", num_classes=2)
        spec = networks.make("efficientnet_lite0", pretrained=True, norm_eval=norm_eval)
        spec.freeze_parts(network)
        expected = network.eval()(images)
        changed = synchronize_batch_norm(network, torch.device("cuda"))
        torch.testing.assert_close(changed.eval()(images), expected)
        kinds = {(type(x) is SyncBatchNormAct, x.training) for x in norms(changed.train())}
        assert kinds == {(not norm_eval, not norm_eval)}


def norms(network):
    return [x for x in network.modules() if isinstance(x, BatchNormAct2d | SyncBatchNormAct)]


def test_compiled_methods_stay_the_modules_that_they_are(monkeypatch):
    compiled = []

    def compile(function, *, dynamic):
        compiled.append((function.__name__, dynamic))
        return lambda *arguments: ("compiled", *arguments)

    monkeypatch.setattr(torch, "compile", compile)
    method = Supervised(nn.Linear(2, 2), nn.CrossEntropyLoss())
    names = list(method.state_dict())
    compile_steps(method)
    assert compiled == [("loss", False), ("predict_each", False)]
    assert method.predict_each("images") == ("compiled", method, "images")
    name, own, batch = method.loss(Batch({}, step=7))
    assert (name, own, batch.step.tolist()) == ("compiled", method, 7)  # no graph for each step
    assert list(method.state_dict()) == names


@dataclass(frozen=True, kw_only=True)
class NoMetric:
    """A spec that builds something else."""

    def build(self, sizes):
        return nn.Identity()


@dataclass(frozen=True, kw_only=True)
class NoImages:
    """A spec that loads something else."""

    def load(self, root, workers):
        return (torch.zeros(2, 3, 8, 8), torch.zeros(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": (NoMetric(),)}, "to build a semaug.metrics.Metric with name.*got Identity"),
        ({"data": NoImages()}, "`data` to load a DataSet of two ImageSets.*got tuple of NoneType"),
    ],
    ids=["metric", "data"],
)
def test_specs_that_build_something_else_are_named(tmp_path, changes, message):
    run = Run("strange", replace(tiny_recipe("digits_resnet8"), **changes), root=tmp_path)
    with pytest.raises(UserError, match=message):
        train_quietly(run)


def test_a_schedule_without_warm_up_may_be_shrunk():
    @dataclass(frozen=True, kw_only=True)
    class Flat:
        def build(self, plan):
            return lambda lr, step: lr

    small = make_quick(replace(tiny_recipe("digits_resnet8"), schedule=Flat()))
    assert small.schedule == Flat()

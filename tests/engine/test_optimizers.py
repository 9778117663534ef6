"""Tests of semaug.engine.optimizers."""

import math

import pytest
import timm
import timm.optim
import torch
from torch import nn

from semaug.engine.optimizers import SGD, AdamW, parameter_groups
from semaug.errors import UserError
from semaug.features import with_features
from semaug.losses import ISDALoss, MutualLoss
from semaug.methods import Mutual, Supervised
from semaug.recipe.overrides import override
from semaug.recipes import find_recipe
from semaug.registry import Sizes, networks, optimizers


@pytest.fixture
def network():
    torch.manual_seed(0)
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), *pooled)


class Centers(nn.Module):
    """A loss with parameters and options of its own for them."""

    def __init__(self, **options):
        super().__init__()
        self.centers = nn.Parameter(torch.zeros(2, 4))
        self.options = options

    def forward(self, logits, labels):
        return nn.functional.cross_entropy(logits, labels) + self.centers.square().mean()

    def parameter_groups(self):
        return [{"params": self.parameters(), **self.options}]


def options_of(groups):
    """Return all groups without their parameters, but with the number of tensors in each."""
    return [{**group, "params": len(group["params"])} for group in groups]


def test_a_network_is_one_group(network):
    method = Supervised(network, nn.CrossEntropyLoss())
    (group,) = parameter_groups(SGD(), method)
    assert group["params"] == list(method.parameters())
    assert group["lr_scale"] == 1.0
    assert group.keys() == {"params", "lr_scale"}


def test_a_loss_may_have_options_of_its_own(network):
    method = Supervised(network, Centers(lr=0.5, weight_decay=0.0))
    groups = options_of(parameter_groups(SGD(lr=0.1), method))
    assert groups == [
        {"params": 6, "lr_scale": 1.0},
        {"params": 1, "lr_scale": 5.0, "weight_decay": 0.0},
    ]
    scaled = options_of(parameter_groups(SGD(), Supervised(network, Centers(lr_scale=0.1))))
    assert scaled[1] == {"params": 1, "lr_scale": 0.1}


def test_the_groups_of_a_method_stay_as_they_are(network):
    method = Supervised(network, nn.CrossEntropyLoss())
    own = [{"params": list(network.parameters()), "lr": 0.2}]
    method.parameter_groups = lambda: own
    for _ in range(2):
        assert options_of(parameter_groups(SGD(lr=0.1), method)) == [{"params": 6, "lr_scale": 2.0}]


def test_biases_and_norms_need_no_decay(network):
    method = Supervised(network, Centers(weight_decay=0.3))
    decayed, undecayed, centers = parameter_groups(SGD(decay_norms=False), method)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in undecayed["params"]] == [1, 1, 1, 1]
    assert "weight_decay" not in decayed
    assert (undecayed["weight_decay"], centers["weight_decay"]) == (0.0, 0.3)


def test_those_of_peers_need_none_either(network):
    peers = [network, nn.Sequential(nn.Flatten(), nn.Linear(12, 2))]
    method = Mutual(peers, MutualLoss(), peer_weight_decay=(0.2,))
    plain, apart = (
        [
            (group["params"], group.get("weight_decay"))
            for group in options_of(parameter_groups(SGD(decay_norms=decay_norms), method))
        ]
        for decay_norms in (True, False)
    )
    assert plain == [(6, None), (2, 0.2)]
    assert apart == [(2, None), (4, 0.0), (1, 0.2), (1, 0.0)]


@pytest.mark.parametrize("name", ["resnet8_cifar", "vit_tiny_patch16_224"])
def test_layers_have_the_scales_that_timm_gives_them(name):
    size = {"img_size": 32} if name.startswith("vit") else {}
    network = timm.create_model(name, num_classes=4, **size)
    expected = {}
    for group in timm.optim.param_groups_layer_decay(
        network, weight_decay=0.1, layer_decay=0.7, no_weight_decay_list=()
    ):
        expected |= dict.fromkeys(group["params"], group["lr_scale"])
    spec = AdamW(lr=0.2, weight_decay=0.1, layer_decay=0.7, decay_norms=False)
    groups = parameter_groups(spec, Supervised(network, nn.CrossEntropyLoss()))
    found = {p: group["lr_scale"] for group in groups for p in group["params"]}
    assert found.keys() == set(network.parameters())
    assert len(set(found.values())) > 3
    assert max(found.values()) == 1.0
    assert all(found[p] == pytest.approx(expected[p]) for p in found)
    assert all("weight_decay" in group for group in groups if group["params"][0].ndim == 1)


def test_layers_are_found_inside_of_what_returns_features():
    network = timm.create_model("resnet8_cifar", num_classes=4)
    isda = ISDALoss(4, network.num_features, strength=0.5)
    groups = parameter_groups(SGD(layer_decay=0.5), Supervised(network, isda))
    scales = {p: group["lr_scale"] for group in groups for p in group["params"]}
    assert scales[network.get_classifier().weight] == 1.0
    assert scales[network.conv1.weight] == min(scales.values()) < 0.3


@pytest.mark.parametrize("wrap", [lambda net: net, with_features], ids=["plain", "features"])
@pytest.mark.parametrize("layer_decay", [None, 0.5])
def test_the_classifier_may_learn_faster(wrap, layer_decay):
    network = timm.create_model("resnet8_cifar", num_classes=3)
    method = Supervised(wrap(network), nn.CrossEntropyLoss())
    spec = AdamW(lr=2e-4, head_lr_scale=10, layer_decay=layer_decay)
    plain = AdamW(lr=2e-4, layer_decay=layer_decay)
    scales, before = (
        {p: group["lr_scale"] for group in parameter_groups(s, method) for p in group["params"]}
        for s in (spec, plain)
    )
    head = set(network.get_classifier().parameters())
    assert len(head) == 2
    assert scales == {p: before[p] * (10 if p in head else 1) for p in before}


def test_all_heads_of_a_network_for_segmentation_may_learn_faster():
    network = networks.make("pspnet_test_resnet").build(Sizes(num_classes=3))
    method = Supervised(network, nn.CrossEntropyLoss())
    slow, fast = parameter_groups(SGD(lr=0.1, head_lr_scale=10), method)
    assert (slow["lr_scale"], fast["lr_scale"]) == (1, 10)
    assert set(slow["params"]) == set(network.backbone.parameters())
    heads = [*network.head.parameters(), *network.auxiliary.parameters()]
    assert set(fast["params"]) == set(heads)


def test_a_network_that_does_not_know_its_classifier_is_named(network):
    method = Supervised(network, nn.CrossEntropyLoss())
    with pytest.raises(UserError, match=r"`head_lr_scale` needs a network .*, got Sequential"):
        parameter_groups(SGD(head_lr_scale=10), method)


def test_a_network_that_does_not_know_its_layers_is_named(network):
    message = r"`layer_decay` needs a network that knows its layers by group_matcher\(\).*Sequent"
    with pytest.raises(UserError, match=message):
        parameter_groups(SGD(layer_decay=0.5), Supervised(network, nn.CrossEntropyLoss()))


def test_sgd_and_adamw_are_those_of_torch(network):
    groups = [{"params": list(network.parameters()), "lr_scale": 1.0}]
    sgd = SGD(lr=0.3, momentum=0.8, nesterov=False, weight_decay=0.01).build(groups)
    assert type(sgd) is torch.optim.SGD
    wanted = {"lr": 0.3, "momentum": 0.8, "nesterov": False, "weight_decay": 0.01, "fused": True}
    assert wanted.items() <= sgd.param_groups[0].items()
    adam = AdamW(lr=0.3, betas=(0.5, 0.9), eps=1e-6, weight_decay=0.01).build(groups)
    assert type(adam) is torch.optim.AdamW
    wanted = {"lr": 0.3, "betas": (0.5, 0.9), "eps": 1e-6, "weight_decay": 0.01, "fused": True}
    assert wanted.items() <= adam.param_groups[0].items()


def test_a_group_without_momentum_has_none_of_nesterov(network):
    first, *others = network.parameters()
    groups = [{"params": [first], "momentum": 0}, {"params": others}]
    optimizer = SGD().build(groups)
    assert [group["nesterov"] for group in optimizer.param_groups] == [False, True]


@pytest.mark.parametrize("name", ["lion", "lamb", "nadamw"])
def test_other_optimizers_are_those_of_timm(network, name):
    spec = optimizers.make(name, lr=0.02, weight_decay=0.3)
    optimizer = spec.build([{"params": list(network.parameters()), "lr_scale": 1.0}])
    expected = timm.optim.create_optimizer_v2(network, name, lr=0.02, weight_decay=0.3)
    assert type(optimizer) is type(expected)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.02, 0.3)
    assert optimizers.name_of(spec) == name
    assert optimizers.get(name) is type(spec)
    weights = [p.detach().clone() for p in network.parameters()]
    network(torch.randn(4, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(weights[0], network[0].weight)


def test_unknown_optimizers_are_named():
    with pytest.raises(UserError, match="unknown optimizer 'adamv'; did you mean 'adamw'"):
        optimizers.get("adamv")


def test_what_timm_cannot_build_is_told(network, monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("APEX and CUDA required for fused optimizers")

    monkeypatch.setattr(timm.optim, "create_optimizer_v2", fail)
    with pytest.raises(UserError, match="recipe: optimizer=lion: APEX and CUDA required"):
        optimizers.make("lion").build([{"params": list(network.parameters())}])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("sgd", {"lr": 0.0}, "`lr` > 0, got 0.0"),
        ("sgd", {"lr": math.nan}, "`lr` > 0, got nan"),
        ("sgd", {"momentum": 1.0}, "`momentum` from 0 to below 1, got 1.0"),
        ("sgd", {"weight_decay": -1.0}, "`weight_decay` >= 0, got -1.0"),
        ("sgd", {"momentum": 0.0}, "`nesterov` with momentum > 0, got True"),
        ("sgd", {"layer_decay": 0.0}, "`layer_decay` above 0 and <= 1, or none, got 0.0"),
        ("adamw", {"layer_decay": 1.5}, "`layer_decay` above 0 and <= 1, or none, got 1.5"),
        ("adamw", {"lr": math.inf}, "`lr` > 0, got inf"),
        ("adamw", {"betas": (0.9,)}, r"`betas` two numbers from 0 to below 1, got \(0.9,\)"),
        ("adamw", {"betas": (0.9, 1.0)}, "`betas` two numbers from 0 to below 1, got"),
        ("adamw", {"eps": 0.0}, "`eps` > 0, got 0.0"),
        ("lion", {"lr": -1.0}, "`lr` > 0, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(UserError, match=f"recipe: expected {message}"):
        optimizers.make(kind, **options)


def test_another_optimizer_by_name_has_a_rate_of_its_own():
    recipe = override(find_recipe("digits_resnet8"), {"lr": "0.3", "decay_norms": "false"})
    assert override(recipe, {"optimizer": "adamw"}).optimizer == AdamW(decay_norms=False)
    lion = override(recipe, {"optimizer": "lion", "lr": "1e-4", "layer_decay": "0.8"}).optimizer
    assert (lion.lr, lion.weight_decay, lion.layer_decay) == (1e-4, 0.0, 0.8)

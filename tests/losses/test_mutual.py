"""Tests of semaug.losses.mutual."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

from semaug import (
    AugmentationInvariantLoss,
    ISDALoss,
    MutualLoss,
    augmentation_invariant_loss,
    isda_loss,
    mutual_loss,
)

# K=2 or 3 networks, N=5, C=4, A=3.

GOLDEN = Path(__file__).parents[1] / "golden"
LABELS = torch.tensor([0, 1, 2, 3, 1])


def divergence(log_target, log_probs):
    return F.kl_div(log_probs, log_target, reduction="batchmean", log_target=True)


def loss_of_network(k, logits, labels, weight):
    """What network k is trained with, its peers constant."""
    own, peers = logits[k].log_softmax(dim=1), logits.detach().log_softmax(dim=2)
    sums = sum(divergence(peer, own) for other, peer in enumerate(peers) if other != k)
    return F.cross_entropy(logits[k], labels) + weight / (len(logits) - 1) * sums


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_and_gradient_are_those_of_the_released_code(dtype):
    arrays = np.load(GOLDEN / "ait.npz")
    logits, loss, gradient = (
        torch.from_numpy(arrays[key]).to(dtype) for key in ("logits", "multi_loss", "multi_grad")
    )
    logits.requires_grad_()
    actual = MutualLoss(weight=1.0)(logits, torch.from_numpy(arrays["labels"]))
    assert_close(actual, loss)
    actual.backward()
    assert_close(logits.grad, gradient)


@pytest.mark.parametrize("num_networks", [2, 3, 4])
def test_each_network_gets_the_gradient_of_its_own_loss(normal, num_networks):
    logits = normal(num_networks, 5, 4).requires_grad_()
    loss = MutualLoss(weight=3.0)(logits, LABELS)
    own = [loss_of_network(k, logits, LABELS, weight=3.0) for k in range(num_networks)]
    assert_close(loss, sum(own))
    gradient = torch.autograd.grad(loss, logits)[0]
    for k in range(num_networks):
        gradient_of_own = torch.autograd.grad(own[k], logits, retain_graph=True)[0]
        assert_close(gradient[k], gradient_of_own[k])
        others = [i for i in range(num_networks) if i != k]
        assert gradient_of_own[others].count_nonzero() == 0


@pytest.mark.parametrize("target_gradient", [False, True])
def test_one_optimizer_and_one_for_each_network_take_the_same_step(normal, target_gradient):
    networks = [nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)]
    others = copy.deepcopy(networks)
    criterion = MutualLoss(weight=3.0, target_gradient=target_gradient)

    def optimizer_of(parameters):
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    joint = [optimizer_of([p for network in networks for p in network.parameters()])]
    separate = [optimizer_of(network.parameters()) for network in others]
    for _ in range(3):
        views = normal(3, 5, 6).float()
        for group, optimizers in ((networks, joint), (others, separate)):
            logits = torch.stack([f(view) for f, view in zip(group, views, strict=True)])
            for optimizer in optimizers:
                optimizer.zero_grad()
            criterion(logits, LABELS).backward()
            for optimizer in optimizers:
                optimizer.step()
    for network, other in zip(networks, others, strict=True):
        assert_close(network.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("target_gradient", [False, True])
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3, 2)], ids=["samples", "dense"])
def test_is_the_invariance_of_networks_instead_of_views(normal, gradients, shape, target_gradient):
    logits = normal(3, *shape).requires_grad_()
    for reduction in ("none", "mean", "sum"):
        options = {"target_gradient": target_gradient, "reduction": reduction}
        actual = mutual_loss(logits, **options)
        expected = augmentation_invariant_loss(logits, **options)
        assert_close(actual, expected)
        assert_close(gradients(actual, logits), gradients(expected, logits))


@pytest.mark.parametrize("target_gradient", [False, True])
def test_module_and_function_agree(normal, gradients, target_gradient):
    logits = normal(3, 5, 4).requires_grad_()
    criterion = MutualLoss(weight=0.7, target_gradient=target_gradient)
    parts = criterion.parts(logits, LABELS)
    expected = mutual_loss(logits, target_gradient=target_gradient)
    assert_close(parts.mutual, expected)
    assert_close(gradients(parts.mutual, logits), gradients(expected, logits))
    each = torch.stack([F.cross_entropy(own, LABELS) for own in logits])
    assert_close(parts.classification, each)
    assert_close(criterion(logits, LABELS), each.sum() + 0.7 * parts.mutual)


def test_weight_0_is_the_classification_alone_even_for_infinite_logits(normal):
    logits = normal(2, 5, 4)
    logits[0, 0, 3] = -torch.inf
    each = [F.cross_entropy(own, LABELS) for own in logits]
    assert_close(MutualLoss(weight=0.0)(logits, LABELS), sum(each))


def test_two_networks_have_the_loss_of_two_views(normal):
    """Section 3.2.2 of AIT: the formulation of the loss stays the same."""
    logits = normal(2, 5, 4).requires_grad_()
    actual = MutualLoss(weight=3.0, target_gradient=True)(logits, LABELS)
    expected = AugmentationInvariantLoss(weight=3.0)(logits, LABELS)
    assert_close(actual, expected)
    assert_close(torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits))


def test_the_classification_loss_may_be_one_for_all_or_one_for_each(normal):
    logits = normal(2, 5, 4)
    smooth, plain = nn.CrossEntropyLoss(label_smoothing=0.1), nn.CrossEntropyLoss(ignore_index=3)
    parts = MutualLoss(classification=smooth).parts(logits, LABELS)
    assert_close(parts.classification, torch.stack([smooth(own, LABELS) for own in logits]))
    for losses in ([smooth, plain], nn.ModuleList([smooth, plain])):
        parts = MutualLoss(classification=losses).parts(logits, LABELS)
        expected = torch.stack([smooth(logits[0], LABELS), plain(logits[1], LABELS)])
        assert_close(parts.classification, expected)


def test_soft_targets_and_dense_labels(normal):
    targets = normal(5, 4).softmax(dim=1)
    logits = normal(2, 5, 4)
    parts = MutualLoss().parts(logits, targets)
    assert_close(parts.classification[1], F.cross_entropy(logits[1], targets))
    logits, labels = normal(2, 3, 4, 2, 2), torch.arange(12).view(3, 2, 2) % 4
    flat = logits.movedim(2, -1).flatten(1, -2)
    assert_close(MutualLoss()(logits, labels), MutualLoss()(flat, labels.flatten()))


def test_each_network_has_its_own_statistics_of_isda(normal):
    features = [normal(5, 3).float(), normal(5, 6).float()]
    weight = [normal(4, 3).float(), normal(4, 6).float()]
    logits = torch.stack([f @ w.T for f, w in zip(features, weight, strict=True)])
    losses = [ISDALoss(4, num_features, strength=0.5) for num_features in (3, 6)]
    criterion = MutualLoss(weight=2.0, classification=losses)
    assert criterion.needs_features
    actual = criterion(logits, LABELS, features, weight)
    expected = 2.0 * mutual_loss(logits)
    for k, isda in enumerate(losses):
        estimator = isda.estimator
        expected += isda_loss(logits[k], LABELS, weight[k], estimator, strength=0.5)
        assert estimator.count.sum() == 5
    assert_close(actual, expected)
    some = MutualLoss(classification=[ISDALoss(4, 3, strength=0.5), nn.CrossEntropyLoss()])
    parts = some.parts(logits, LABELS, features, weight)
    assert_close(parts.classification[1], F.cross_entropy(logits[1], LABELS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single_precision(normal, dtype):
    logits = normal(2, 5, 4).to(dtype)
    expected = MutualLoss()(logits.double(), LABELS)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype, enabled=enabled):
            actual = MutualLoss()(logits, LABELS)
        assert actual.dtype == torch.float32
        assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [pytest.param("cross-entropy", marks=pytest.mark.full), "isda"])
def test_compiles_to_one_graph(normal, gradients, kind):
    torch._dynamo.reset()
    weight = [normal(4, 3).float(), normal(4, 3).float()]

    def step_of(loss):
        def step(features):
            logits = torch.stack([f @ w.T for f, w in zip(features, weight, strict=True)])
            return loss(logits, LABELS, *([features, weight] if kind == "isda" else []))

        return step

    eager, other = (
        MutualLoss(
            classification=[ISDALoss(4, 3, strength=0.5) for _ in "12"] if kind == "isda" else None
        )
        for _ in "12"
    )
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(step_of(other), backend=counter, fullgraph=True)
    for _ in range(3):
        features = normal(2, 5, 3).float().requires_grad_()
        actual, expected = compiled(features), step_of(eager)(features)
        assert_close(actual, expected)
        assert_close(gradients(actual, features), gradients(expected, features))
    assert counter.frame_count == 1


# What is not accepted.


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "`weight` >= 0, got -1", {"weight": -1}),
        (ValueError, "finite `weight` >= 0, got inf", {"weight": float("inf")}),
        (TypeError, "`target_gradient` to be a bool, got None", {"target_gradient": None}),
        (TypeError, "`classification` to be a module, got int", {"classification": [1, 2]}),
        (
            ValueError,
            "`classification` with reduction='mean', got 'none'",
            {"classification": nn.CrossEntropyLoss(reduction="none")},
        ),
        (
            ValueError,
            "one `classification` for each network, because ISDALoss takes features, got 1",
            {"classification": ISDALoss(4, 3, strength=0.5)},
        ),
        (
            ValueError,
            "a `classification` of its own for each network, because ISDALoss takes features, "
            "got one several times",
            {"classification": [ISDALoss(4, 3, strength=0.5)] * 2},
        ),
    ],
)
def test_bad_options_are_named(error, message, options):
    with pytest.raises(error, match="MutualLoss: expected " + message):
        MutualLoss(**options)


ISDA = {"classification": [ISDALoss(4, 3, strength=0.5), ISDALoss(4, 3, strength=0.5)]}
LOGITS, FEATURES, WEIGHT = torch.zeros(2, 5, 4), torch.zeros(2, 5, 3), torch.zeros(2, 4, 3)


@pytest.mark.parametrize(
    ("message", "arguments", "options"),
    [
        (r"`logits` of shape \(K, N, C\), got \(5, 4\)", [LOGITS[0], LABELS], {}),
        (r"\(K, N, C\) with K >= 2, got \(1, 5, 4\)", [LOGITS[:1], LABELS], {}),
        (r"`labels` of shape \(N=5,\), got \(4,\)", [LOGITS, LABELS[1:]], {}),
        ("`features` for ISDALoss, got None", [LOGITS, LABELS], ISDA),
        ("`weight` for ISDALoss, got None", [LOGITS, LABELS, FEATURES], ISDA),
        ("no `features` for CrossEntropyLoss", [LOGITS, LABELS, FEATURES, WEIGHT], {}),
        (
            "`features` for each of 2 networks, got 1",
            [LOGITS, LABELS, FEATURES[:1], WEIGHT],
            ISDA,
        ),
        (
            "`classification` for each of 3 networks, got 2",
            [torch.zeros(3, 5, 4), LABELS, FEATURES, WEIGHT],
            ISDA,
        ),
    ],
)
def test_bad_arguments_are_named(message, arguments, options):
    with pytest.raises(ValueError, match="MutualLoss: expected .*" + message):
        MutualLoss(**options)(*arguments)


def test_bad_arguments_of_the_function_are_named():
    with pytest.raises(ValueError, match=r"mutual_loss: expected `logits` of shape \(K, N, C\)"):
        mutual_loss(LOGITS[0])
    with pytest.raises(ValueError, match=r"mutual_loss: expected .* with K >= 2, got \(1, 5, 4\)"):
        mutual_loss(LOGITS[:1])
    with pytest.raises(ValueError, match="mutual_loss: expected `reduction` to be one of"):
        mutual_loss(LOGITS, reduction="max")
    with pytest.raises(TypeError, match="mutual_loss: expected `target_gradient` to be a bool"):
        mutual_loss(LOGITS, target_gradient=0)
    with pytest.raises(TypeError, match="mutual_loss: expected `logits` of a floating-point"):
        mutual_loss(LOGITS.long())


def test_the_options_are_shown():
    assert "weight=3, target_gradient=False" in repr(MutualLoss(weight=3.0))

"""Tests of semaug.losses.invariance: the module."""

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
    attach,
    augmentation_invariant_loss,
    isda_loss,
)

# V=2 or 3 views, N=5, C=4, A=3.

GOLDEN = Path(__file__).parents[1] / "golden"
LABELS = torch.tensor([0, 1, 2, 3, 1])


def recorded_values(dtype):
    arrays = np.load(GOLDEN / "ait.npz")
    values = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    return {key: x if key == "labels" else x.to(dtype) for key, x in values.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_and_gradient_are_those_of_the_released_code(dtype):
    recorded = recorded_values(dtype)
    logits = recorded["logits"].requires_grad_()
    criterion = AugmentationInvariantLoss(weight=1.0, convention="released", target_gradient=False)
    parts = criterion.parts(logits, recorded["labels"])
    assert_close(parts.invariance, recorded["ai_loss"])
    assert_close(parts.classification, recorded["ce"])
    loss = criterion(logits, recorded["labels"])
    assert_close(loss, recorded["loss"])
    loss.backward()
    assert_close(logits.grad.transpose(0, 1).flatten(0, 1), recorded["grad_interleaved"])


def test_two_views_give_equation_3_of_the_paper(normal):
    one, other = logits = normal(2, 5, 4)
    softmax_loss = F.cross_entropy(one, LABELS) + F.cross_entropy(other, LABELS)
    p, q = one.softmax(dim=1), other.softmax(dim=1)
    divergence = (p * (p / q).log() + q * (q / p).log()).sum(dim=1).mean()
    actual = AugmentationInvariantLoss(weight=0.7)(logits, LABELS)
    assert_close(actual, softmax_loss + 0.7 * divergence)


@pytest.mark.parametrize("num_views", [2, 3])
def test_the_conventions_differ_by_weight_and_learning_rate(normal, num_views):
    logits = normal(num_views, 5, 4).requires_grad_()
    released = AugmentationInvariantLoss(weight=1.5, convention="released")
    paper = AugmentationInvariantLoss(weight=1.5 * num_views)
    expected = paper(logits, LABELS) / num_views
    actual = released(logits, LABELS)
    assert_close(actual, expected)
    assert_close(torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits))


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_is_r_drop_at_half_its_weight(normal, gradients, convention):
    """Wu et al., https://arxiv.org/abs/2106.14448, section 2; the mean is its code's."""
    logits = normal(2, 5, 4).requires_grad_()
    p, q = logits.log_softmax(dim=2)
    likelihood = F.nll_loss(p, LABELS) + F.nll_loss(q, LABELS)
    if convention == "released":
        likelihood = likelihood / 2
    forward, backward = (
        F.kl_div(b, a, reduction="batchmean", log_target=True) for a, b in ((p, q), (q, p))
    )
    criterion = AugmentationInvariantLoss(weight=5.0 / 2, convention=convention)
    actual, expected = criterion(logits, LABELS), likelihood + 5.0 * (forward + backward) / 2
    assert_close(actual, expected)
    assert_close(gradients(actual, logits), gradients(expected, logits))


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "both"},
        {"metric": "squared_euclidean"},
        {"target_gradient": False},
        {"reference": "mixture"},
        {"reference": "first", "temperature": 0.5, "threshold": 0.3},
    ],
    ids=str,
)
def test_module_and_function_agree(normal, gradients, options):
    logits = normal(3, 5, 4).requires_grad_()
    criterion = AugmentationInvariantLoss(weight=0.7, **options)
    classification, invariance = criterion.parts(logits, LABELS)
    expected = augmentation_invariant_loss(logits, **options)
    assert_close(invariance, expected)
    assert_close(gradients(invariance, logits), gradients(expected, logits))
    assert_close(classification, sum(F.cross_entropy(view, LABELS) for view in logits))
    assert_close(criterion(logits, LABELS), classification + 0.7 * invariance)


def test_weight_0_is_the_classification_alone_even_for_infinite_logits(normal):
    logits = normal(2, 5, 4)
    logits[0, 0, 3] = -torch.inf
    each = [F.cross_entropy(view, LABELS) for view in logits]
    assert_close(AugmentationInvariantLoss(weight=0.0)(logits, LABELS), sum(each))


def test_features_and_feature_maps_can_be_compared_instead(normal):
    logits, features, feature_map = normal(3, 5, 4), normal(3, 5, 6), normal(3, 5, 6, 2, 2)
    for layer, views in (("features", features), ("feature_map", feature_map)):
        criterion = AugmentationInvariantLoss(layer=layer, metric="both")
        parts = criterion.parts(logits, LABELS, **{layer: views})
        assert_close(parts.invariance, augmentation_invariant_loss(views, metric="both"))
        assert_close(parts.classification, sum(F.cross_entropy(view, LABELS) for view in logits))


class Counted(nn.CrossEntropyLoss):
    calls = 0

    def forward(self, logits, labels):
        self.calls += 1
        return super().forward(logits, labels)


def test_the_classification_loss_is_called_once_for_all_views(normal):
    counted = Counted(label_smoothing=0.1)
    AugmentationInvariantLoss(classification=counted)(normal(3, 5, 4), LABELS)
    assert counted.calls == 1


def test_cross_entropy_keeps_its_options(normal):
    logits = normal(2, 5, 4)
    loss = nn.CrossEntropyLoss(weight=normal(4).abs(), ignore_index=3, label_smoothing=0.1)
    parts = AugmentationInvariantLoss(classification=loss).parts(logits, LABELS)
    assert_close(parts.classification, loss(logits[0], LABELS) + loss(logits[1], LABELS))
    targets = normal(5, 4).softmax(dim=1)
    loss = nn.CrossEntropyLoss()
    parts = AugmentationInvariantLoss().parts(logits.float(), targets.bfloat16())
    expected = [loss(view.float(), targets.bfloat16().float()) for view in logits]
    assert_close(parts.classification, sum(expected))


def test_dense_logits_are_taken_by_position(normal):
    logits = normal(2, 3, 4, 2, 2)
    labels = torch.arange(12).view(3, 2, 2) % 4
    flat = logits.movedim(2, -1).flatten(1, -2)
    criterion = AugmentationInvariantLoss()
    assert_close(criterion(logits, labels), criterion(flat, labels.flatten()))
    targets = F.one_hot(labels, 4).movedim(3, 1).double()
    assert_close(criterion(logits, targets), criterion(logits, labels))


@pytest.mark.parametrize("layer", ["logits", "features"])
def test_the_statistics_of_isda_see_every_view(normal, layer):
    features, weight = normal(2, 5, 3).float(), normal(4, 3).float()
    logits = features @ weight.T
    isda, other = (ISDALoss(4, 3, strength=0.5) for _ in "12")
    criterion = AugmentationInvariantLoss(weight=2.0, classification=isda, layer=layer)
    assert criterion.needs_features
    actual = criterion(logits, LABELS, features, weight)
    other.estimator.update(features.flatten(0, 1), LABELS.repeat(2))
    raised = [isda_loss(view, LABELS, weight, other.estimator, strength=0.5) for view in logits]
    compared = features if layer == "features" else logits
    assert_close(actual, sum(raised) + 2.0 * augmentation_invariant_loss(compared))
    assert_close(isda.estimator.count, other.estimator.count)
    assert_close(isda.estimator.covariance, other.estimator.covariance)
    assert isda.step == 1
    assert "classification.estimator.count" in criterion.state_dict()


def test_an_attached_loss_needs_no_features_in_the_call(normal):
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 4))
    isda = ISDALoss(4, 3, strength=0.5)
    criterion = AugmentationInvariantLoss(classification=attach(model, isda))
    assert not criterion.needs_features
    views = normal(2, 5, 6).float()
    logits = model(views.flatten(0, 1)).unflatten(0, (2, 5))
    criterion(logits, LABELS).backward()
    assert isda.estimator.count.sum() == 10
    assert model[0].weight.grad.norm() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single_precision(normal, dtype):
    logits = normal(2, 5, 4).to(dtype)
    criterion = AugmentationInvariantLoss(metric="both")
    expected = criterion(logits.double(), LABELS)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype, enabled=enabled):
            actual = criterion(logits, LABELS)
        assert actual.dtype == torch.float32
        assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"metric": "both"}, {"reference": "first", "threshold": 0.5}])
def test_no_value_is_read(normal, options):
    """Reading one makes an accelerator wait; a meta tensor has none to read."""
    logits = normal(2, 5, 4).to("meta").requires_grad_()
    loss = AugmentationInvariantLoss(**options)(logits, LABELS.to("meta"))
    loss.backward()
    assert loss.device.type == "meta"
    assert logits.grad.shape == (2, 5, 4)


COMPILED = {
    "kl": {},
    "kl, targets constant": {"target_gradient": False, "convention": "released"},
    "both": {"metric": "both"},
    "squared": {"metric": "squared_euclidean"},
    "mixture": {"reference": "mixture"},
    "first": {"reference": "first", "temperature": 0.5, "threshold": 0.3},
    "features": {"layer": "features"},
    "isda": {"layer": "features", "metric": "both"},
}


SHORT = ("both", "first", "isda")


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[pytest.mark.full] * (x not in SHORT)) for x in COMPILED]
)
def test_compiles_to_one_graph(normal, gradients, name):
    check_compiled(normal, gradients, name, "aot_eager")


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("name", ["both"])
def test_the_compiler_of_torch_gives_the_same(normal, gradients, name):
    check_compiled(normal, gradients, name, "inductor")


def check_compiled(normal, gradients, name, backend):
    torch._dynamo.reset()
    eager, other = (
        AugmentationInvariantLoss(
            **COMPILED[name],
            classification=ISDALoss(4, 3, strength=0.5) if name == "isda" else None,
        )
        for _ in "12"
    )
    counter = CompileCounterWithBackend(backend)
    weight = normal(4, 3).float()

    def step_of(loss):
        def step(features):
            rest = (features,) if loss.needs_features else ()
            rest = (*rest, weight) if name == "isda" else rest
            return loss(features @ weight.T, LABELS, *rest)

        return step

    compiled = torch.compile(step_of(other), backend=counter, fullgraph=True)
    for _ in range(3):
        features = normal(3, 5, 3).float()
        features[1, 0] = features[0, 0]  # views that agree have no distance
        features.requires_grad_()
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
        (TypeError, "`weight` to be a number, got '1'", {"weight": "1"}),
        (ValueError, "`metric` to be one of", {"metric": "l1"}),
        (ValueError, "`layer` to be one of 'logits'", {"layer": "images"}),
        (ValueError, "`convention` to be one of 'paper'", {"convention": "code"}),
        (TypeError, "`classification` to be a module, got str", {"classification": "isda"}),
        (
            ValueError,
            "`classification` with reduction='mean', got 'sum'",
            {"classification": nn.CrossEntropyLoss(reduction="sum")},
        ),
    ],
)
def test_bad_options_are_named(error, message, options):
    with pytest.raises(error, match="AugmentationInvariantLoss: expected " + message):
        AugmentationInvariantLoss(**options)


class OfEverySample(nn.Module):
    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")


def zeros(*shape):
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("message", "arguments", "options"),
    [
        (r"`logits` of shape \(V, N, C\), got \(5, 4\)", [zeros(5, 4), LABELS], {}),
        (r"\(V, N, C\) with V >= 2, got \(1, 5, 4\)", [zeros(1, 5, 4), LABELS], {}),
        (r"`labels` of shape \(N=5,\), got \(10,\)", [zeros(2, 5, 4), LABELS.repeat(2)], {}),
        (r"`targets` of shape \(N=5, C=4\), got \(5, 3\)", [zeros(2, 5, 4), zeros(5, 3)], {}),
        (
            r"`labels` of shape \(N=5, H, W\), got \(5,\)",
            [zeros(2, 5, 4, 2, 2), LABELS],
            {},
        ),
        (
            "`labels` on the device of `logits`",
            [zeros(2, 5, 4).to("meta"), LABELS],
            {},
        ),
        (
            "`features` for layer='features' and CrossEntropyLoss, got None",
            [zeros(2, 5, 4), LABELS],
            {"layer": "features"},
        ),
        (
            "no `features` for layer='logits' and CrossEntropyLoss",
            [zeros(2, 5, 4), LABELS, zeros(2, 5, 3)],
            {},
        ),
        (
            "`weight` for layer='logits' and ISDALoss, got None",
            [zeros(2, 5, 4), LABELS, zeros(2, 5, 3)],
            {"classification": ISDALoss(4, 3, strength=0.5)},
        ),
        (
            r"`features` of shape \(V=2, N=5, A\), got \(2, 4, 3\)",
            [zeros(2, 5, 4), LABELS, zeros(2, 4, 3)],
            {"layer": "features"},
        ),
        (
            r"`features` of shape \(V, N, A\), got \(10, 3\)",
            [zeros(2, 5, 4), LABELS, zeros(10, 3)],
            {"layer": "features"},
        ),
        (
            r"`classification` to return a scalar, got shape \(10,\)",
            [zeros(2, 5, 4), LABELS],
            {"classification": OfEverySample()},
        ),
    ],
)
def test_bad_arguments_are_named(message, arguments, options):
    with pytest.raises(ValueError, match="AugmentationInvariantLoss: expected .*" + message):
        AugmentationInvariantLoss(**options)(*arguments)


def test_a_feature_map_has_positions(normal):
    criterion = AugmentationInvariantLoss(layer="feature_map")
    with pytest.raises(ValueError, match=r"`feature_map` of shape .*, got \(2, 5, 3\)"):
        criterion(normal(2, 5, 4), LABELS, feature_map=normal(2, 5, 3))


def test_labels_are_class_ids():
    with pytest.raises(TypeError, match=r"`labels` of dtype torch.int64, got torch.int32"):
        AugmentationInvariantLoss()(zeros(2, 5, 4), LABELS.int())


def test_the_options_are_shown():
    assert "weight=0.5, metric='kl', layer='logits'" in repr(AugmentationInvariantLoss(weight=0.5))
    first = AugmentationInvariantLoss(reference="first", temperature=0.4, threshold=0.8)
    assert "temperature=0.4, threshold=0.8" in repr(first)

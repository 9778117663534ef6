"""Tests of semaug.losses.explicit."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import semaug.covariance.rows
from semaug import (
    ClassCovariance,
    ExplicitAugmentationLoss,
    expected_loss,
    explicit_augmentation_loss,
)
from tests.references.isda import expected_cross_entropy

# N=6, C=4, A=3, M=5.

LABELS = torch.tensor([0, 1, 2, 3, 3, 1])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
OPTIONS = {
    "plain": {},
    "weighted": {"class_weights": WEIGHTS},
    "smoothed": {"label_smoothing": 0.2},
    "ignored": {"ignore_index": 3},
    "all": {"class_weights": WEIGHTS, "label_smoothing": 0.2, "ignore_index": 1},
}


@pytest.fixture(params=list(OPTIONS))
def options(request):
    return OPTIONS[request.param]


def cross_entropy(logits, labels, options, reduction="mean"):
    options = {**options, "weight": options.get("class_weights")}
    options.pop("class_weights", None)
    return F.cross_entropy(logits, labels, reduction=reduction, **options)


def draw(estimator, labels, num_samples, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return estimator.sample(labels, num_samples, generator=generator)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_is_cross_entropy_of_the_features_drawn(
    normal, estimator, options, reduction, either_path, gradients
):
    features, weight = normal(6, 3), normal(4, 3).requires_grad_()
    leaves = weight, *estimator.parameters()
    actual = explicit_augmentation_loss(
        features @ weight.T, LABELS, weight, estimator, strength=0.64, num_samples=5,
        reduction=reduction, generator=torch.Generator().manual_seed(7), **options,
    )  # fmt: skip
    noise = draw(estimator, LABELS, 5)
    losses = [
        cross_entropy((features + 0.8 * own) @ weight.T, LABELS, options, reduction)
        for own in noise
    ]
    expected = sum(losses) / 5
    assert_close(actual, expected)
    assert_close(gradients(actual, *leaves), gradients(expected, *leaves))


def test_samples_may_have_strengths_of_their_own(normal, estimator):
    logits, weight = normal(6, 4), normal(4, 3)
    strength = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.1, 4.0], dtype=torch.float64)
    arguments = logits, LABELS, weight, estimator
    actual = explicit_augmentation_loss(
        *arguments, strength=strength, num_samples=5, reduction="none",
        generator=torch.Generator().manual_seed(7),
    )  # fmt: skip
    noise = strength.sqrt().unsqueeze(1) * draw(estimator, LABELS, 5)
    expected = torch.stack(
        [F.cross_entropy(logits + own @ weight.T, LABELS, reduction="none") for own in noise]
    ).mean(dim=0)
    assert_close(actual, expected)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_is_cross_entropy_at_zero_strength(normal, options, reduction):
    logits, weight, covariance = normal(6, 4), normal(4, 3), normal(4, 3).square()
    expected = cross_entropy(logits, LABELS, options, reduction)
    options = {**options, "strength": 0.0, "num_samples": 4}
    actual = explicit_augmentation_loss(
        logits, LABELS, weight, covariance, reduction=reduction, **options
    )
    assert_close(actual, expected)
    if reduction == "mean":
        mean, error = expected_loss(logits, LABELS, weight, covariance, **options)
        assert_close(mean, expected)
        assert error < 1e-12


def test_many_draws_come_to_the_expected_loss(normal, estimator, options):
    arguments = normal(6, 4), LABELS, normal(4, 3), estimator
    generator = torch.Generator().manual_seed(1)
    own = {**options, "strength": 0.5, "generator": generator}
    losses = torch.stack(
        [explicit_augmentation_loss(*arguments, num_samples=250, **own) for _ in range(16)]
    ).detach()
    mean, error = expected_loss(*arguments, num_samples=4000, **own)
    assert abs(losses.mean() - mean) < 4 * math.hypot(losses.std() / 4, error)


@pytest.mark.parametrize("sizes", [(4, 3), (3, 5)], ids=["C > A", "C < A"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_expected_loss_is_that_of_opposite_draws(
    normal, options, sizes, reduction, either_path
):
    """By loops over explicit draws, whose covariance another test compares with explicit ones."""
    num_classes, num_features = sizes
    labels, weight = LABELS % num_classes, normal(*sizes)
    logits, covariance = normal(6, num_classes), normal(num_classes, num_features).square()
    own = (
        {**options, "class_weights": WEIGHTS[:num_classes]}
        if "class_weights" in options
        else options
    )
    mean, error = expected_loss(
        logits, labels, weight, covariance, strength=0.64, num_samples=10, reduction=reduction,
        generator=torch.Generator().manual_seed(7), **own,
    )  # fmt: skip
    grams = weight @ torch.diag_embed(covariance) @ weight.T
    if num_classes > num_features:
        roots = weight @ torch.diag_embed(covariance.sqrt())
    else:
        values, vectors = torch.linalg.eigh(grams)
        roots = (vectors * values.clamp(min=0).sqrt().unsqueeze(1)) @ vectors.mT
    assert_close(roots @ roots.mT, grams)
    standard = torch.randn(
        5, 6, min(sizes), generator=torch.Generator().manual_seed(7), dtype=torch.float64
    )
    noise = 0.8 * torch.stack([(roots[labels] @ e.unsqueeze(2)).squeeze(2) for e in standard])
    pairs = torch.stack(
        [
            sum(cross_entropy(logits + sign * e, labels, own, "none") for sign in (1, -1)) / 2
            for e in noise
        ]
    )
    scale = {"none": 1, "sum": 1}
    kept = (labels != own.get("ignore_index", -100)).double()
    weights = own.get("class_weights", torch.ones(num_classes).double())[labels]
    scale["mean"] = 1 / (kept * weights).sum()
    variance = pairs.var(dim=0) / 5
    expected = pairs.mean(dim=0), variance.sqrt()
    if reduction != "none":
        expected = expected[0].sum(), variance.sum().sqrt()
    assert_close(mean, expected[0] * scale[reduction])
    assert_close(error, expected[1] * scale[reduction])
    assert (mean >= cross_entropy(logits, labels, own, reduction) - 1e-12).all()  # Jensen


def test_the_expected_loss_is_that_of_explicit_samples(normal):
    features, bias, root = normal(6, 3), normal(4), normal(4, 3, 3) / 2
    weight, covariance = normal(4, 3), root @ root.mT
    sampled, sampled_error = expected_cross_entropy(
        features, LABELS, weight, bias, covariance, strength=0.5, num_samples=20_000,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    logits = features @ weight.T + bias
    mean, error = expected_loss(
        logits.float(), LABELS, weight.float(), covariance.float(), strength=0.5,
        num_samples=20_000, generator=torch.Generator().manual_seed(2),
    )  # fmt: skip
    assert abs(mean.item() - sampled) < 4 * math.hypot(error, sampled_error)
    assert mean.dtype == torch.float64
    assert error < sampled_error  # opposite pairs


def test_equal_generators_tell_small_differences(normal):
    logits, weight, covariance = normal(6, 4), normal(4, 3), normal(4, 3).square()

    def estimate(shift):
        return expected_loss(
            logits + shift, LABELS, weight, covariance, strength=0.5, num_samples=100,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip

    shift = 1e-3 * normal(6, 4)
    (one, error), (other, _) = estimate(0), estimate(shift)
    assert 0 < abs(one - other) < error / 10


def test_the_standard_error_is_that_of_repeated_estimates(normal):
    arguments = normal(6, 4), LABELS, normal(4, 3), normal(4, 3).square()
    generator = torch.Generator().manual_seed(0)
    options = {"strength": 0.5, "num_samples": 40, "draws_at_once": 15, "generator": generator}
    estimates = [expected_loss(*arguments, **options) for _ in range(300)]
    spread = torch.stack([e.mean for e in estimates]).std()
    claimed = torch.stack([e.standard_error for e in estimates]).square().mean().sqrt()
    assert_close(claimed, spread, rtol=0.15, atol=0)  # 300 estimates tell it to 4 %


def test_how_many_are_drawn_at_once_does_not_matter(normal, estimator):
    arguments = normal(6, 4), LABELS, normal(4, 3), estimator
    options = {"strength": 0.5, "num_samples": 3000}
    (one, error), (other, _) = (
        expected_loss(
            *arguments, draws_at_once=n, generator=torch.Generator().manual_seed(n), **options
        )
        for n in (7, 5000)
    )
    assert abs(one - other) < 4 * math.sqrt(2) * error


def test_has_the_derivatives_that_it_says(normal, estimator):
    inputs = normal(6, 4).requires_grad_(), normal(4, 3).requires_grad_()

    def loss(logits, weight, *parameters):
        return explicit_augmentation_loss(
            logits, LABELS, weight, estimator, strength=0.8, num_samples=2,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip

    leaves = *inputs, *estimator.parameters()
    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, leaves, fast_mode=True)
    actual = torch.func.grad(loss, argnums=(0, 1))(*(x.detach() for x in inputs))
    assert_close(actual, torch.autograd.grad(loss(*inputs), inputs))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("sizes", [(0, 4, 3), (1, 1, 1), (3, 1, 2), (2, 5, 1)])
def test_small_sizes_and_singular_covariances(normal, kind, sizes, either_path):
    num_samples, num_classes, num_features = sizes
    logits, weight = normal(num_samples, num_classes), normal(num_classes, num_features)
    labels = torch.arange(num_samples) % num_classes
    zeros = torch.zeros(num_classes, *[num_features] * (1 + (kind == "full"))).double()
    for reduction in ("none", "sum", "mean"):
        actual = explicit_augmentation_loss(
            logits, labels, weight, zeros, strength=1.0, num_samples=3, reduction=reduction
        )
        expected = F.cross_entropy(logits, labels, reduction=reduction)
        assert_close(actual, expected, equal_nan=True)


def test_is_that_of_torch_if_all_are_ignored(normal, either_path):
    logits, weight, covariance = normal(2, 4), normal(4, 3), normal(4, 3).square()
    labels, options = torch.full((2,), -100), {"strength": 0.5, "num_samples": 4}
    arguments = logits, labels, weight, covariance
    assert explicit_augmentation_loss(*arguments, **options).isnan()
    assert explicit_augmentation_loss(*arguments, reduction="sum", **options) == 0
    assert expected_loss(*arguments, **options).mean.isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_more_than_the_inputs_do(normal, estimator, dtype):
    logits, weight, features = normal(6, 4).to(dtype), normal(4, 3).to(dtype), normal(6, 3)
    loss = make(estimator.float(), reduction="none").eval()
    torch.manual_seed(7)
    with torch.autocast("cpu", dtype):
        actual = loss(logits, LABELS, features.to(dtype), weight)
    assert actual.dtype == torch.float32
    noise = math.sqrt(0.5) * draw(estimator, LABELS, 5).double()
    expected = torch.stack(
        [
            F.cross_entropy(logits.double() + own @ weight.double().T, LABELS, reduction="none")
            for own in noise
        ]
    ).mean(dim=0)
    assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


# The module.


def make(covariance="full", **options):
    options = {"strength": 0.5, "num_samples": 5, "covariance": covariance, **options}
    return ExplicitAugmentationLoss(4, 3, **options)


def test_the_module_updates_first_and_then_is_the_function(normal, estimator, options):
    reference, weight = copy.deepcopy(estimator), normal(4, 3)
    loss = make(estimator, **options).double()
    ignore_index = options.get("ignore_index", -100)
    for _ in range(2):
        logits, features = normal(6, 4), normal(6, 3)
        reference.update(features, LABELS, ignore_index=ignore_index)
        torch.manual_seed(0)
        expected = explicit_augmentation_loss(
            logits, LABELS, weight, reference, strength=0.5, num_samples=5, **options
        )
        uncertainty = reference.uncertainty(LABELS, ignore_index=ignore_index)
        torch.manual_seed(0)
        assert_close(loss(logits, LABELS, features, weight), expected + uncertainty)
        assert_close(dict(estimator.state_dict()), dict(reference.state_dict()))
    loss.eval()
    before = copy.deepcopy(loss.state_dict())
    torch.manual_seed(0)
    assert_close(loss(logits, LABELS, features, weight), expected)
    assert_close(dict(loss.state_dict()), dict(before), rtol=0, atol=0)


def test_a_step_of_the_module_looks_at_the_labels_once(normal, estimator, monkeypatch):
    looked, count = [], semaug.covariance.rows._count
    monkeypatch.setattr(
        semaug.covariance.rows, "_count", lambda *labels: looked.append(labels) or count(*labels)
    )
    make(estimator).double()(normal(6, 4), LABELS, normal(6, 3), normal(4, 3))
    assert len(looked) == 1


@pytest.mark.parametrize("kind", ["full", "learned"])
def test_the_label_to_ignore_may_be_any(normal, kind):
    loss = make(kind, ignore_index=255, reduction="none")
    labels = torch.tensor([0, 255, 1, 255, 2, 3])
    value = loss(normal(6, 4), labels, normal(6, 3), normal(4, 3))
    assert value[[1, 3]].abs().max() == (0 if kind == "full" else value.min())
    assert loss.estimator.count.tolist() == [1, 1, 1, 1]


def test_the_strength_ramps(normal):
    loss = make(strength=0.8, ramp_steps=2)
    strengths = []
    for _ in range(3):
        loss(normal(6, 4), LABELS, normal(6, 3), normal(4, 3))
        strengths.append(loss.current_strength().item())
    assert strengths == pytest.approx([0.4, 0.8, 0.8])
    loss.strength = 0.2
    assert loss.strength == 0.2


# Errors.


@pytest.mark.parametrize("function", [explicit_augmentation_loss, expected_loss])
def test_wrong_arguments_are_named(normal, function):
    def call(**options):
        options = {
            "logits": normal(6, 4),
            "labels": LABELS,
            "weight": normal(4, 3),
            "covariance": normal(4, 3).square(),
            "strength": 0.5,
            "num_samples": 4,
            **options,
        }
        return function(**options)

    name = f"{function.__name__}: expected "
    dense = {"logits": normal(2, 4, 2, 2), "labels": torch.zeros(2, 2, 2).long()}
    for error, message, options in [
        (ValueError, r"`logits` of shape \(N, C\), got \(2, 4, 2, 2\)", dense),
        (ValueError, r"`labels` of shape \(N=6,\)", {"labels": LABELS[:3]}),
        (TypeError, "`labels` of dtype torch.int64", {"labels": LABELS.int()}),
        (ValueError, r"`weight` of shape \(C=4, A\)", {"weight": normal(3, 3)}),
        (ValueError, r"`covariance` of shape \(C=4, A=3\)", {"covariance": normal(3, 3)}),
        (ValueError, "`strength` >= 0", {"strength": -1}),
        (ValueError, r"`strength` of shape \(6,\)", {"strength": torch.ones(3)}),
        (ValueError, "`num_samples` >= ", {"num_samples": 0}),
        (TypeError, "`num_samples` to be an int", {"num_samples": 2.5}),
        (ValueError, "`label_smoothing` <= 1, got 2", {"label_smoothing": 2}),
        (ValueError, r"`class_weights` of shape \(C=4,\)", {"class_weights": WEIGHTS[:3]}),
        (ValueError, "`class_weights` on the device", {"class_weights": WEIGHTS.to("meta")}),
    ]:
        with pytest.raises(error, match=name + message):
            call(**options)


def test_wrong_arguments_of_one_function_are_named(normal):
    arguments = normal(6, 4), LABELS, normal(4, 3), normal(4, 3).square()
    for number in (2, 5):  # a pair has no spread, and half a pair no mean
        message = f"expected_loss: expected `num_samples` to be even and >= 4, got {number}"
        with pytest.raises(ValueError, match=message):
            expected_loss(*arguments, strength=0.5, num_samples=number)
    with pytest.raises(ValueError, match="expected_loss: expected `draws_at_once` >= 1, got 0"):
        expected_loss(*arguments, strength=0.5, num_samples=4, draws_at_once=0)
    with pytest.raises(ValueError, match="expected_loss: expected `reduction` to be one of"):
        expected_loss(*arguments, strength=0.5, num_samples=4, reduction="avg")
    with pytest.raises(ValueError, match="explicit_augmentation_loss: expected `reduction` to be"):
        explicit_augmentation_loss(*arguments, strength=0.5, num_samples=2, reduction="avg")


def test_wrong_arguments_of_the_module_are_named(normal):
    name = "ExplicitAugmentationLoss: expected "
    for error, message, options in [
        (ValueError, "`strength` >= 0", {"strength": -1}),
        (ValueError, "`num_samples` >= 1", {"num_samples": 0}),
        (ValueError, "`reduction` to be one of", {"reduction": "avg"}),
        (ValueError, "`ramp_steps` >= 1", {"ramp_steps": 0}),
        (TypeError, "`label_smoothing` to be a number", {"label_smoothing": "much"}),
        (ValueError, "`covariance` to be one of", {"covariance": "ful"}),
        (ValueError, "`covariance` with", {"covariance": ClassCovariance(4, 2)}),
    ]:
        with pytest.raises(error, match=name + message):
            make(**options)
    with pytest.raises(ValueError, match=name + r"`features` of shape \(N=6, A=3\)"):
        make()(normal(6, 4), LABELS, normal(6, 2), normal(4, 3))
    with pytest.raises(ValueError, match=name + r"`weight` of shape \(C=4, A=3\) of the"):
        make()(normal(6, 4), LABELS, normal(6, 2), normal(4, 2))

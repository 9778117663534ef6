"""Tests of semaug.losses.consistency."""

import copy

import pytest
import torch
from torch.testing import assert_close

from semaug import (
    ClassCovariance,
    ISDALoss,
    SemanticConsistencyLoss,
    semantic_consistency_loss,
)
from semaug.losses import consistency
from tests.losses.conftest import estimator_of
from tests.references.losses import consistency_by_loops

# N=5, C=4, A=3.

REFERENCES = ["every", "pseudo_label"]


@pytest.fixture(params=["own prediction", "teacher's prediction"])
def probs(request):
    if request.param == "own prediction":
        return None
    return (torch.linspace(0, 9, 20, dtype=torch.float64).view(5, 4).sin() * 3).softmax(dim=1)


def make(estimator, **options):
    return SemanticConsistencyLoss(estimator, **{"strength": 0.5, **options})


@pytest.mark.parametrize("reference", REFERENCES)
def test_matches_the_equation(normal, probs, estimator, reference, either_path, gradients):
    logits, weight = normal(5, 4).requires_grad_(), normal(4, 3).requires_grad_()
    leaves = logits, weight, *estimator.parameters()
    for reduction in ("none", "mean", "sum"):
        options = {"strength": 0.8, "probs": probs, "reduction": reduction, "reference": reference}
        actual = semantic_consistency_loss(logits, weight, estimator, **options)
        expected = consistency_by_loops(logits, weight, estimator.dense(), **options)
        assert_close(actual, expected)
        assert_close(gradients(actual, *leaves), gradients(expected, *leaves))


@pytest.mark.parametrize("reference", REFERENCES)
def test_does_not_depend_on_the_size_of_chunks(
    normal, probs, estimator, reference, either_path, small_chunks, gradients
):
    test_matches_the_equation(normal, probs, estimator, reference, either_path, gradients)


@pytest.mark.parametrize("reference", REFERENCES)
def test_is_soft_cross_entropy_at_zero_strength(normal, probs, reference):
    logits, weight, covariance = normal(5, 4), normal(4, 3), normal(4, 3).square()
    options = {"strength": 0.0, "probs": probs, "reference": reference}
    actual = semantic_consistency_loss(logits, weight, covariance, **options)
    p = logits.softmax(dim=1) if probs is None else probs
    assert_close(actual, torch.nn.functional.cross_entropy(logits, p))


def test_every_reference_is_no_larger_for_certain_predictions_alone(normal):
    """For a prediction of one class, both bounds are ISDA's."""
    logits, weight, covariance = normal(5, 4), normal(4, 3), normal(4, 3).square()
    probs = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 1]]
    one, other = (
        semantic_consistency_loss(
            logits, weight, covariance, strength=0.8, probs=probs, reference=reference
        )
        for reference in REFERENCES
    )
    assert_close(one, other)


@pytest.mark.parametrize("reference", REFERENCES)
def test_has_the_derivatives_that_it_says(normal, estimator, reference):
    probs = normal(5, 4).softmax(dim=1)
    inputs = normal(5, 4).requires_grad_(), normal(4, 3).requires_grad_()

    def loss(logits, weight, *parameters):
        return semantic_consistency_loss(
            logits, weight, estimator, strength=0.8, probs=probs, reference=reference
        )

    leaves = *inputs, *estimator.parameters()
    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, leaves, fast_mode=True)
    expected = torch.autograd.grad(loss(*inputs), inputs)
    actual = torch.func.grad(loss, argnums=(0, 1))(*(x.detach() for x in inputs))
    assert_close(actual, expected)


def test_can_be_differentiated_twice_in_parts(normal, estimator, small_chunks):
    probs = normal(5, 4).softmax(dim=1)
    leaves = normal(5, 4).requires_grad_(), normal(4, 3).requires_grad_()

    def loss(logits, weight):
        return semantic_consistency_loss(logits, weight, estimator, strength=0.8, probs=probs)

    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, leaves, fast_mode=True)


@pytest.mark.parametrize("reference", REFERENCES)
def test_needs_no_autograd(normal, estimator, reference, small_chunks):
    arguments = normal(5, 4), normal(4, 3), estimator
    options = {"strength": 0.8, "reference": reference}
    expected = semantic_consistency_loss(*arguments, **options)
    with torch.inference_mode():
        assert_close(semantic_consistency_loss(*arguments, **options), expected)


def test_predictions_get_no_gradient(normal, estimator):
    logits, weight = normal(5, 4), normal(4, 3).requires_grad_()
    probs = logits.softmax(dim=1).requires_grad_()
    semantic_consistency_loss(logits, weight, estimator, strength=0.8, probs=probs).backward()
    assert probs.grad is None


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("sizes", [(0, 4, 3), (1, 1, 1), (3, 1, 2), (2, 5, 1)])
def test_small_sizes(normal, sizes, reference, either_path, gradients):
    num_samples, num_classes, num_features = sizes
    logits = normal(num_samples, num_classes).requires_grad_()
    weight = normal(num_classes, num_features).requires_grad_()
    covariance = normal(num_classes, num_features).square()
    options = {"strength": 0.5, "reference": reference, "reduction": "sum"}
    actual = semantic_consistency_loss(logits, weight, covariance, **options)
    if num_samples == 0:
        assert actual == 0
        assert gradients(actual, weight)[0].count_nonzero() == 0
        return
    expected = consistency_by_loops(logits, weight, torch.diag_embed(covariance), **options)
    assert_close(actual, expected)
    assert_close(gradients(actual, logits, weight), gradients(expected, logits, weight))


@pytest.mark.parametrize("reference", REFERENCES)
def test_huge_numbers_stay_finite(normal, reference):
    logits, weight = (normal(5, 4) * 1e4).requires_grad_(), normal(4, 3).requires_grad_()
    loss = semantic_consistency_loss(
        logits, weight, torch.ones(4, 3).double(), strength=1e6, reference=reference
    )
    loss.backward()
    assert loss.isfinite()
    assert weight.grad.isfinite().all()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_more_than_the_inputs_do(normal, estimator, dtype, reference):
    logits, weight = normal(5, 4).to(dtype), normal(4, 3).to(dtype)
    options = {"reduction": "none", "reference": reference}
    with torch.autocast("cpu", dtype):
        actual = make(estimator.float(), **options).eval()(logits, weight)
    assert actual.dtype == torch.float32
    dense = estimator.dense().double()
    expected = consistency_by_loops(
        logits.double(), weight.double(), dense, strength=0.5, **options
    )
    assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


# The module.


@pytest.mark.parametrize("reference", REFERENCES)
def test_reads_the_statistics_of_another_loss_and_changes_nothing(normal, reference):
    isda = ISDALoss(4, 3, strength=0.5).double()
    loss = make(isda.estimator, reference=reference, ramp_steps=2).double()
    weight = normal(4, 3)
    for strength in (0.25, 0.5, 0.5):
        isda(normal(6, 4), torch.arange(6) % 4, normal(6, 3), weight)
        before = copy.deepcopy(isda.state_dict())
        logits = normal(5, 4)
        expected = semantic_consistency_loss(
            logits, weight, isda.estimator, strength=strength, reference=reference
        )
        assert_close(loss(logits, weight), expected)
        assert_close(loss.eval()(logits, weight), expected)
        loss.train()
        assert loss.current_strength() == strength
        assert_close(dict(isda.state_dict()), dict(before), rtol=0, atol=0)
    loss.strength = 0.2
    assert loss.strength == 0.2


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_statistics_may_move_on_before_the_backward_pass(
    normal, estimator, reference, either_path
):
    logits, weight = normal(5, 4), normal(4, 3).requires_grad_()
    leaves = weight, *estimator.parameters()
    loss = make(estimator, reference=reference).double()
    expected = torch.autograd.grad(loss(logits, weight), leaves)
    value = loss(logits, weight)
    estimator.update(normal(8, 3), torch.arange(8) % 4)
    assert_close(torch.autograd.grad(value, leaves), expected)


@pytest.mark.parametrize("name", ["full", "diagonal", "low_rank, shrunk"])
def test_says_if_they_must_not(normal, name, monkeypatch):
    monkeypatch.setattr(consistency, "PART_ELEMENTS", 1)
    estimator, weight = estimator_of(name), normal(4, 3).requires_grad_()
    loss = semantic_consistency_loss(normal(5, 4), weight, estimator, strength=0.8)
    estimator.update(normal(8, 3), torch.arange(8) % 4)
    message = "semantic_consistency_loss: expected the backward pass before the next update"
    with pytest.raises(RuntimeError, match=message):
        loss.backward()


# Errors.


def test_wrong_arguments_are_named(normal):
    def call(**options):
        options = {
            "logits": normal(5, 4),
            "weight": normal(4, 3),
            "covariance": normal(4, 3).square(),
            "strength": 0.5,
            **options,
        }
        return semantic_consistency_loss(**options)

    name = "semantic_consistency_loss: expected "
    for error, message, options in [
        (ValueError, r"`logits` of shape \(N, C\)", {"logits": normal(5)}),
        (ValueError, r"`weight` of shape \(C=4, A\), got \(3, 3\)", {"weight": normal(3, 3)}),
        (ValueError, r"`covariance` of shape \(C=4, A=3\)", {"covariance": normal(3, 3)}),
        (ValueError, r"`probs` of shape \(N=5, C=4\)", {"probs": normal(5, 3)}),
        (TypeError, "`probs` of a floating-point", {"probs": normal(5, 4).long()}),
        (TypeError, "`probs` to be a tensor, got str", {"probs": "mean"}),
        (ValueError, "`weight` on the device of `logits`", {"weight": normal(4, 3).to("meta")}),
        (ValueError, "`strength` >= 0", {"strength": -0.1}),
        (ValueError, "`strength` to be one number", {"strength": torch.ones(5)}),
        (ValueError, "`reference` to be one of 'every', 'pseudo_label'", {"reference": "all"}),
        (ValueError, "`reduction` to be one of", {"reduction": "avg"}),
    ]:
        with pytest.raises(error, match=name + message):
            call(**options)


def test_wrong_arguments_of_the_module_are_named(normal):
    name = "SemanticConsistencyLoss: expected "
    with pytest.raises(TypeError, match=name + "`covariance` to be a ClassCovariance, got str"):
        make("full")
    for message, options in [
        ("`strength` >= 0", {"strength": -1}),
        ("`reference` to be one of", {"reference": "all"}),
        ("`reduction` to be one of", {"reduction": "avg"}),
        ("`ramp_steps` >= 1", {"ramp_steps": 0}),
    ]:
        with pytest.raises(ValueError, match=name + message):
            make(ClassCovariance(4, 3), **options)
    loss = make(ClassCovariance(4, 3))
    with pytest.raises(ValueError, match=name + r"`weight` of shape \(C=4, A=3\) of the"):
        loss(normal(5, 4), normal(4, 2))
    with pytest.raises(TypeError, match=name + "`logits` of a floating-point"):
        loss(normal(5, 4).long(), normal(4, 3))

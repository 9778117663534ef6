"""Tests of semaug.losses.isda and semaug.losses.augment."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

from semaug import ClassCovariance, ISDALoss, augment_logits, isda_loss
from tests.references.isda import expected_cross_entropy, isda_loss_by_loops

KINDS = ["full", "diagonal"]


@pytest.fixture(params=KINDS)
def batch(request, normal):
    """Small float64 problem, logits, labels, weight, covariance: N=6, C=4, A=3."""
    labels = torch.tensor([0, 1, 2, 3, 3, 1])
    root = normal(4, 3, 3)
    covariance = root @ root.mT if request.param == "full" else normal(4, 3).square()
    return normal(6, 4), labels, normal(4, 3), covariance


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 7.5])
def test_matches_the_equation(batch, reduction, strength, either_path):
    actual = isda_loss(*batch, strength=strength, reduction=reduction)
    assert_close(actual, isda_loss_by_loops(*batch, strength=strength, reduction=reduction))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_is_cross_entropy_at_zero_strength(batch, reduction):
    logits, labels, *_ = batch
    expected = F.cross_entropy(logits, labels, reduction=reduction)
    actual = isda_loss(*batch, strength=0.0, reduction=reduction)
    assert_close(actual, expected, rtol=0, atol=0)


def test_is_cross_entropy_without_variance(batch):
    logits, labels, weight, covariance = batch
    loss = isda_loss(logits, labels, weight, torch.zeros_like(covariance), strength=3.0)
    assert_close(loss, F.cross_entropy(logits, labels), rtol=0, atol=0)


def test_is_zero_for_one_class(normal):
    labels = torch.zeros(3, dtype=torch.int64)
    assert isda_loss(normal(3, 1), labels, normal(1, 2), normal(1, 2) ** 2, strength=1.0) == 0


def test_passes_gradcheck(batch):
    logits, labels, weight, covariance = batch

    def loss(logits, weight):
        return isda_loss(logits, labels, weight, covariance, strength=0.7)

    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(), weight.requires_grad_()))


def test_bounds_the_expected_loss_and_meets_it_for_weak_noise(normal):
    features, labels = normal(6, 3), torch.tensor([0, 1, 2, 3, 3, 1])
    weight, bias, root = normal(4, 3), normal(4), normal(4, 3, 3) / 2
    covariance = root @ root.mT + 0.01 * torch.eye(3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    gaps = []
    for strength in (1.0, 0.1, 0.01):
        estimate, error = expected_cross_entropy(
            features, labels, weight, bias, covariance,
            strength=strength, num_samples=20_000, generator=generator,
        )  # fmt: skip
        bound = isda_loss(features @ weight.T + bias, labels, weight, covariance, strength=strength)
        gaps.append(bound.item() - estimate)
        assert gaps[-1] > -4 * error
    assert gaps[0] > gaps[1] > gaps[2]
    assert abs(gaps[2]) < 0.02


def test_the_logit_of_the_own_class_is_unchanged(batch):
    logits, labels, *_ = batch
    raised = augment_logits(*batch, strength=0.5)
    index = labels.unsqueeze(1)
    assert_close(raised.gather(1, index), logits.gather(1, index), rtol=0, atol=0)
    assert (raised >= logits).all()


def test_an_estimator_stands_for_its_covariance(normal):
    estimator = ClassCovariance(4, 3).double()
    labels = torch.tensor([0, 1, 2, 3, 3, 1, 0])
    estimator.update(normal(7, 3), labels)
    arguments = normal(7, 4), labels, normal(4, 3)
    for function in (isda_loss, augment_logits):
        by_estimator = function(*arguments, estimator, strength=0.5)
        by_tensor = function(*arguments, estimator.covariance, strength=0.5)
        assert_close(by_estimator, by_tensor, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_more_than_the_logits_do(batch, dtype):
    logits, labels, weight, covariance = batch
    logits, weight = logits.to(dtype), weight.to(dtype)
    actual = isda_loss(logits, labels, weight, covariance.float(), strength=0.5)
    exact = isda_loss_by_loops(logits.double(), labels, weight.double(), covariance, strength=0.5)
    assert actual.dtype == torch.float32
    assert_close(actual.double(), exact, rtol=1e-5, atol=1e-5)


# The module.


def make(kind="full", **options):
    return ISDALoss(4, 3, **{"strength": 0.5, "covariance": kind, **options})


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_module_updates_first_and_then_is_the_function(normal, kind, reduction):
    isda = make(kind, reduction=reduction).double()
    estimator = ClassCovariance(4, 3, kind).double()
    weight = normal(4, 3)
    for _ in range(3):
        logits, labels, features = normal(6, 4), torch.tensor([0, 1, 2, 3, 3, 1]), normal(6, 3)
        estimator.update(features, labels)
        loss = isda(logits, labels, features, weight)
        expected = isda_loss(logits, labels, weight, estimator, strength=0.5, reduction=reduction)
        assert_close(loss, expected)
    assert_close(isda.estimator.covariance, estimator.covariance)


def test_evaluation_changes_no_state(normal):
    isda = make(ramp_steps=4)
    labels = torch.tensor([0, 1])
    isda(normal(2, 4), labels, normal(2, 3), normal(4, 3))
    before = copy.deepcopy(isda.state_dict())
    isda.eval()
    logits, weight = normal(2, 4), normal(4, 3)
    loss = isda(logits, labels, normal(2, 3), weight)
    assert_close(dict(isda.state_dict()), dict(before), rtol=0, atol=0)
    expected = isda_loss(logits, labels, weight, isda.estimator, strength=0.5 / 4)
    assert_close(loss, expected, rtol=1e-6, atol=0)


def test_the_ramp_is_linear_in_training_calls_and_ends_at_its_strength(normal):
    isda = make(strength=0.8, ramp_steps=4)
    assert isda.current_strength() == 0
    strengths = []
    for _ in range(6):
        isda(normal(2, 4), torch.tensor([0, 1]), normal(2, 3), normal(4, 3))
        strengths.append(isda.current_strength().item())
    assert strengths == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_without_a_ramp_the_strength_is_constant_and_may_be_set(normal):
    isda = make(strength=0.5)
    assert isda.current_strength() == 0.5
    isda.strength = 0.25
    assert isda.strength == 0.25
    assert isda.current_strength() == 0.25
    logits, labels, features, weight = (
        normal(2, 4),
        torch.tensor([0, 1]),
        normal(2, 3),
        normal(4, 3),
    )
    loss = isda(logits, labels, features, weight)
    expected = isda_loss(logits, labels, weight, isda.estimator, strength=0.25)
    assert_close(loss, expected)


def test_a_checkpoint_holds_statistics_and_step_and_goes_on_bit_for_bit(normal):
    def step(isda, seed):
        generator = torch.Generator().manual_seed(seed)
        draw = [torch.randn(5, n, generator=generator) for n in (4, 3)]
        labels = torch.randint(4, (5,), generator=generator)
        return isda(draw[0], labels, draw[1], torch.randn(4, 3, generator=generator))

    straight, stopped, resumed = (make(ramp_steps=10) for _ in range(3))
    for seed in range(3):
        step(straight, seed)
        step(stopped, seed)
    resumed.load_state_dict(stopped.state_dict())
    assert set(resumed.state_dict()) == {
        "ramp.step",
        *(f"estimator.{name}" for name in ("count", "mean", "covariance", "num_skipped")),
    }
    assert torch.equal(step(resumed, 9), step(straight, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_the_statistics_may_move_on_before_the_backward_pass(normal, kind, either_path):
    isda, weight = make(kind).double(), normal(4, 3).requires_grad_()
    batches = [(normal(6, 3), torch.tensor([0, 1, 2, 3, 3, 1])) for _ in range(2)]
    expected = torch.zeros_like(weight)
    reference = copy.deepcopy(isda)
    for features, labels in batches:
        (gradient,) = torch.autograd.grad(
            reference(features @ weight.T, labels, features, weight), weight
        )
        expected += gradient
    sum(isda(x @ weight.T, y, x, weight) for x, y in batches).backward()
    assert_close(weight.grad, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_strength_survives_a_cast(dtype):
    isda = make(strength=0.3).to(dtype)
    assert isda.strength == 0.3
    assert_close(isda.current_strength(), torch.tensor(0.3), rtol=0, atol=0)
    assert make(strength=0.3).double().current_strength().item() == 0.3
    assert isda.to("meta").current_strength().device.type == "meta"


def test_estimators_can_be_shared(normal):
    estimator = ClassCovariance(4, 3)
    first, second = make(estimator), make(estimator)
    first(normal(2, 4), torch.tensor([0, 1]), normal(2, 3), normal(4, 3))
    assert second.estimator is estimator
    assert estimator.count.sum() == 2


def test_gradients_reach_features_only_through_the_logits(normal):
    features = normal(2, 3).requires_grad_()
    make()(normal(2, 4).requires_grad_(), torch.tensor([0, 1]), features, normal(4, 3)).backward()
    assert features.grad is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [10, 40])
@pytest.mark.parametrize("ramp_steps", [None, 10])
def test_compiles_to_one_graph_that_serves_every_mix_of_labels(kind, num_classes, ramp_steps):
    torch._dynamo.reset()
    torch.manual_seed(0)
    options = {"strength": 0.5, "ramp_steps": ramp_steps, "covariance": kind}
    compiled, eager = (ISDALoss(num_classes, 16, **options) for _ in range(2))
    heads = nn.Linear(16, num_classes), nn.Linear(16, num_classes)
    heads[1].load_state_dict(heads[0].state_dict())
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True)
    def compiled_step(features, labels):
        return compiled(heads[0](features), labels, features, heads[0].weight)

    for step in range(20):
        features, labels = torch.randn(24, 16), torch.randint(1 + step % num_classes, (24,))
        loss = compiled_step(features, labels)
        expected = eager(heads[1](features), labels, features, heads[1].weight)
        assert_close(loss, expected)
        (actual_gradient,) = torch.autograd.grad(loss, heads[0].weight)
        (expected_gradient,) = torch.autograd.grad(expected, heads[1].weight)
        assert_close(actual_gradient, expected_gradient, rtol=1e-4, atol=1e-6)
        assert_close(compiled.state_dict(), eager.state_dict(), rtol=1e-4, atol=1e-6)
    assert counter.frame_count == 1


# Errors.


def test_wrong_shapes_are_named(batch):
    logits, labels, weight, covariance = batch
    message = r"isda_loss: expected `weight` of shape \(C=4, A\), got \(3, 3\)"
    with pytest.raises(ValueError, match=message):
        isda_loss(logits, labels, weight[:3], covariance, strength=0.5)
    with pytest.raises(ValueError, match=r"augment_logits: expected `labels` of shape \(N=6,\)"):
        augment_logits(logits, labels[:5], weight, covariance, strength=0.5)
    with pytest.raises(ValueError, match=r"isda_loss: expected `covariance` of shape \(C=4, A=3"):
        isda_loss(logits, labels, weight, covariance[:3], strength=0.5)
    with pytest.raises(ValueError, match=r"ISDALoss: expected `features` of shape \(N=6, A=3\)"):
        make()(logits, labels, weight, weight)
    with pytest.raises(ValueError, match=r"ISDALoss: expected `covariance` of shape \(C=4, A=2"):
        make()(logits, labels, torch.zeros(6, 2), weight[:, :2])
    with pytest.raises(ValueError, match=r"`features` of shape \(N=6, A=3\), got \(6, 2\)"):
        make()(logits, labels, torch.zeros(6, 2), weight)


def test_wrong_dtypes_and_devices_are_named(batch):
    logits, labels, weight, covariance = batch
    with pytest.raises(TypeError, match=r"`labels` of dtype torch.int64, got torch.int32"):
        isda_loss(logits, labels.int(), weight, covariance, strength=0.5)
    with pytest.raises(TypeError, match=r"`logits` of a floating-point dtype, got torch.int64"):
        isda_loss(logits.long(), labels, weight, covariance, strength=0.5)
    with pytest.raises(TypeError, match=r"`features` of a floating-point dtype, got torch.int64"):
        make()(logits, labels, torch.zeros(6, 3).long(), weight)
    with pytest.raises(ValueError, match=r"`weight` on the device of `logits` \(cpu\), got meta"):
        isda_loss(logits, labels, weight.to("meta"), covariance, strength=0.5)


@pytest.mark.parametrize("strength", [-1, float("nan"), float("inf")])
def test_a_wrong_strength_is_named(batch, strength):
    with pytest.raises(
        ValueError, match=rf"isda_loss: expected (finite )?`strength` >= 0, got {strength}"
    ):
        isda_loss(*batch, strength=strength)
    with pytest.raises(ValueError, match=r"augment_logits: expected (finite )?`strength` >= 0"):
        augment_logits(*batch, strength=strength)
    with pytest.raises(ValueError, match=r"ISDALoss: expected (finite )?`strength` >= 0"):
        make(strength=strength)
    with pytest.raises(ValueError, match=r"ISDALoss: expected (finite )?`strength` >= 0"):
        make().strength = strength


def test_wrong_options_are_named(batch):
    with pytest.raises(
        TypeError, match=r"ISDALoss: expected `strength` to be a number, got '0\.5'"
    ):
        make(strength="0.5")
    with pytest.raises(ValueError, match="`reduction` to be one of 'none', 'mean', 'sum'"):
        isda_loss(*batch, strength=0.5, reduction="avg")
    with pytest.raises(ValueError, match="`reduction` to be one of 'none', 'mean', 'sum'"):
        make(reduction="avg")
    with pytest.raises(ValueError, match="`ramp_steps` >= 1, got 0"):
        make(ramp_steps=0)
    with pytest.raises(TypeError, match=r"`ramp_steps` to be an int, got 2\.5"):
        make(ramp_steps=2.5)
    with pytest.raises(ValueError, match=r"\(num_classes, num_features\) = \(4, 3\), got \(4, 2\)"):
        make(ClassCovariance(4, 2))
    with pytest.raises(ValueError, match="`kind` to be one of"):
        make("low")

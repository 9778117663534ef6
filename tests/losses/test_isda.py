"""Tests of semaug.losses.isda: limits of the function, and the module.

For the equations see test_isda_targets.py, for bounds test_bounds.py.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from semaug import ClassCovariance, ISDALoss, SemanticConsistencyLoss, isda_loss
from semaug.covariance.estimator import KINDS
from tests.losses.conftest import estimator_of
from tests.references.losses import dense_isda_by_loops, isda_by_loops, labels_at

# N=6, C=4, A=3.

LABELS = torch.tensor([0, 1, 2, 3, 3, 1])
ONE_HOT = torch.eye(4, dtype=torch.float64)[LABELS]
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
OPTIONS = {
    "plain": {},
    "weighted": {"class_weights": WEIGHTS},
    "smoothed": {"label_smoothing": 0.2},
    "weighted and smoothed": {"class_weights": WEIGHTS, "label_smoothing": 0.2},
}
options_of_each_kind = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


@pytest.fixture
def batch(normal):
    """Small float64 problem, logits, labels, weight, covariance."""
    return normal(6, 4), LABELS, normal(4, 3), normal(4, 3).square()


# Limits.


@options_of_each_kind
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_one_hot_targets_are_class_ids(normal, estimator, options, reduction, either_path):
    """The means differ, as in torch: that of class ids is divided by their weights."""
    arguments = normal(4, 3), estimator
    logits, options = normal(6, 4), {**options, "strength": 0.8, "reduction": reduction}
    by_ids, by_targets = (isda_loss(logits, y, *arguments, **options) for y in (LABELS, ONE_HOT))
    assert_close(by_targets, by_ids)


def test_is_cross_entropy_without_variance(batch):
    logits, labels, weight, covariance = batch
    loss = isda_loss(logits, labels, weight, torch.zeros_like(covariance), strength=3.0)
    assert_close(loss, F.cross_entropy(logits, labels), rtol=0, atol=0)


@pytest.mark.parametrize("soft", [False, True])
def test_is_zero_for_one_class(normal, soft):
    labels = torch.ones(3, 1).double() if soft else torch.zeros(3, dtype=torch.int64)
    loss = isda_loss(normal(3, 1), labels, normal(1, 2), normal(1, 2) ** 2, strength=1.0)
    assert_close(loss, torch.zeros_like(loss))


@pytest.mark.parametrize("num_samples", [0, 3])
@pytest.mark.parametrize("size", [(), (2, 3)])
def test_is_that_of_torch_if_nothing_counts(
    normal, estimator, num_samples, size, either_path, gradients
):
    logits, weight = normal(num_samples, 4, *size).requires_grad_(), normal(4, 3).requires_grad_()
    labels = torch.full((num_samples, *size), -100)
    for options in OPTIONS.values():
        for reduction in ("none", "mean", "sum"):
            options = {**options, "strength": 0.8, "reduction": reduction}
            loss = isda_loss(logits, labels, weight, estimator, **options)
            expected = cross_entropy(logits, labels, **options)
            if size and reduction == "mean":  # a crop without labels must not end a training
                expected = torch.zeros_like(expected)
            assert_close(loss, expected, equal_nan=True)
            if reduction != "mean":
                for gradient in gradients(loss, logits, weight):
                    assert gradient.count_nonzero() == 0


def cross_entropy(logits, labels, *, class_weights=None, strength=None, **options):
    return F.cross_entropy(logits, labels, class_weights, **options)


def test_no_soft_targets_are_those_of_torch(normal, estimator, either_path):
    logits, weight = normal(0, 4), normal(4, 3)
    for options in OPTIONS.values():
        for reduction in ("none", "mean", "sum"):
            options = {**options, "strength": 0.8, "reduction": reduction}
            loss = isda_loss(logits, logits, weight, estimator, **options)
            assert_close(loss, cross_entropy(logits, logits, **options), equal_nan=True)


def test_targets_have_gradients_also_where_they_are_zero(batch, either_path):
    logits, _, weight, covariance = batch

    def loss(targets):
        options = {"class_weights": WEIGHTS, "label_smoothing": 0.2}
        return isda_loss(logits, targets, weight, covariance, strength=0.8, **options)

    assert torch.autograd.gradcheck(loss, ONE_HOT.clone().requires_grad_())


@pytest.mark.parametrize("labels", [LABELS, ONE_HOT, ONE_HOT / 2 + 1 / 8], ids=str)
@pytest.mark.parametrize("strength", [0.0, 1e30])
def test_huge_numbers_stay_finite(normal, labels, strength):
    logits, weight = (normal(6, 4) * 1e30).requires_grad_(), normal(4, 3).requires_grad_()
    loss = isda_loss(logits, labels, weight, normal(4, 3) ** 2, strength=strength)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert weight.grad.isfinite().all()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data())
def test_any_size_matches_the_equation(data):
    num_classes, num_features = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    size = data.draw(st.sampled_from([(), (1, 1), (2, 3)]))
    num_samples = data.draw(st.integers(1, 5))
    name = data.draw(st.sampled_from(["full", "diagonal", "shared", "learned", "full, shrunk"]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    estimator = estimator_of(name, num_classes, num_features)
    shape = num_samples, num_classes, *size
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = torch.randn(num_classes, num_features, generator=generator, dtype=torch.float64)
    options = {}
    if data.draw(st.booleans()):
        labels = torch.randn(shape, generator=generator, dtype=torch.float64).softmax(dim=1)
        labels = torch.where(labels < 0.2, 0.0, labels)
        labels = labels / labels.sum(dim=1, keepdim=True)
    else:
        labels_size = data.draw(st.sampled_from([size, tuple(2 * s for s in size)]))
        labels = torch.randint(num_classes, (num_samples, *labels_size), generator=generator)
        labels.view(-1)[-1] = options["ignore_index"] = 255
    options |= {
        "strength": data.draw(st.sampled_from([0.0, 0.7, 3.0])),
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.1, 1.0])),
        "reduction": data.draw(st.sampled_from(["none", "sum"])),
    }
    if data.draw(st.booleans()):
        options["class_weights"] = torch.rand(num_classes, generator=generator).double()
    actual = isda_loss(logits, labels, weight, estimator, **options)
    reference = dense_isda_by_loops if labels.ndim == 3 else isda_by_loops
    assert_close(
        actual, reference(logits, labels, weight, estimator.dense(), **options), equal_nan=True
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("labels", [LABELS, ONE_HOT / 2 + 1 / 8], ids=["ids", "soft"])
@options_of_each_kind
def test_half_precision_loses_no_more_than_the_inputs_do(normal, estimator, labels, options, dtype):
    logits, weight, features = normal(6, 4).to(dtype), normal(4, 3).to(dtype), normal(6, 3)
    isda = ISDALoss(
        4, 3, strength=0.5, covariance=estimator.float(), reduction="none", **options
    ).eval()
    targets = labels.to(dtype) if labels.is_floating_point() else labels
    with torch.autocast("cpu", dtype):
        actual = isda(logits, targets, features.to(dtype), weight)
    assert actual.dtype == torch.float32
    expected = isda_by_loops(
        logits.double(), labels, weight.double(), estimator.dense().double(),
        strength=0.5, reduction="none", **options,
    )  # fmt: skip
    assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


def test_interpolates_in_single_precision(normal):
    logits, weight, covariance = normal(2, 4, 3, 3).bfloat16(), normal(4, 3), normal(4, 3) ** 2
    labels = torch.arange(98).view(2, 7, 7) % 4
    options = {"strength": 0.5, "dense": "faithful", "label_smoothing": 0.3}
    actual = isda_loss(logits, labels, weight.float(), covariance.float(), **options)
    expected = isda_loss(logits.double(), labels, weight, covariance, **options)
    assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


def test_gradients_in_half_precision_are_those_of_single_precision(normal, estimator):
    logits, weight = normal(6, 4).bfloat16(), normal(4, 3).bfloat16()
    gradients = []
    for dtype in (torch.bfloat16, torch.float32):
        leaves = [x.to(dtype, copy=True).requires_grad_() for x in (logits, weight)]
        with torch.autocast("cpu", torch.bfloat16):
            loss = isda_loss(leaves[0], LABELS, leaves[1], estimator.float(), strength=0.5)
        loss.backward()
        gradients.append([x.grad for x in leaves])
    halves = [x.bfloat16() for x in gradients[1]]
    assert_close(gradients[0], halves)


def test_is_the_same_in_deterministic_mode(normal, estimator):
    arguments = normal(4, 3), estimator
    logits, options = normal(6, 4), {"strength": 0.8, "label_smoothing": 0.1}
    for labels in (LABELS, ONE_HOT):
        expected = isda_loss(logits, labels, *arguments, **options)
        torch.use_deterministic_algorithms(True)
        try:
            actual = isda_loss(logits, labels, *arguments, **options)
        finally:
            torch.use_deterministic_algorithms(False)
        assert_close(actual, expected, rtol=0, atol=0)


# The module.


def make(kind="full", **options):
    return ISDALoss(4, 3, **{"strength": 0.5, "covariance": kind, **options})


PIXELS = torch.arange(40).view(2, 4, 5) * 7 % 4
BATCHES = {
    "ids": ([LABELS, LABELS.flip(0), torch.full((6,), 2)], {}),
    "ids, all options": (
        [LABELS, torch.full((6,), 255)],
        {"class_weights": WEIGHTS, "label_smoothing": 0.2, "ignore_index": 255},
    ),
    "ids, a class ignored": ([LABELS], {"ignore_index": 3, "reduction": "none"}),
    "soft": ([ONE_HOT, ONE_HOT * 0.6 + 0.1], {"reduction": "sum"}),
    "dense": ([PIXELS, PIXELS.flip(1)], {"ignore_index": 1}),
    "dense, faithful": ([PIXELS], {"ignore_index": 1, "dense": "faithful"}),
    "dense, features": ([PIXELS], {"ignore_index": 1, "dense": "features", "align_corners": True}),
    "dense, soft": ([ONE_HOT.repeat(2, 1).view(2, 2, 3, 4).movedim(3, 1) * 0.6 + 0.1], {}),
}


def statistics_of(estimator):
    """What does not depend on the signs of eigenvectors."""
    return [estimator.dense(), estimator.mean, estimator.count]


@pytest.mark.parametrize("name", BATCHES)
def test_the_module_updates_first_and_then_is_the_function(normal, estimator, name, either_path):
    batches, options = BATCHES[name]
    reference, isda = copy.deepcopy(estimator), make(estimator, **options).double()
    ignore_index, weight = options.get("ignore_index", -100), normal(4, 3)
    size = (2, 3) if name.startswith("dense") else ()
    num_samples = 2 if size else 6
    for labels in batches:
        logits, features = normal(num_samples, 4, *size), normal(num_samples, 3, *size)
        ids = labels.argmax(dim=1) if labels.is_floating_point() else labels
        if ids.shape[1:] == (4, 5):
            aligned = None if "faithful" in name else options.get("align_corners", False)
            ids = labels_at(ids, 2, 3, aligned)
        reference.update(features, ids, ignore_index=ignore_index)
        expected = isda_loss(logits, labels, weight, reference, strength=0.5, **options)
        uncertainty = reference.uncertainty(ids.flatten(), ignore_index=ignore_index)
        loss = isda(logits, labels, features, weight)
        assert_close(loss, expected + uncertainty, equal_nan=True)
        assert_close(statistics_of(estimator), statistics_of(reference))
        before = copy.deepcopy(isda.state_dict())
        loss = isda.eval()(logits, labels, features, weight)
        assert_close(loss, expected, equal_nan=True)
        assert_close(dict(isda.train().state_dict()), dict(before), rtol=0, atol=0)


def test_evaluation_uses_the_strength_of_the_latest_step(normal):
    isda, labels = make(ramp_steps=4), torch.tensor([0, 1])
    isda(normal(2, 4), labels, normal(2, 3), normal(4, 3))
    logits, weight = normal(2, 4), normal(4, 3)
    loss = isda.eval()(logits, labels, normal(2, 3), weight)
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("soft", [False, True])
def test_a_checkpoint_goes_on_bit_for_bit(kind, soft):
    def step(isda, seed):
        generator = torch.Generator().manual_seed(seed)
        logits, features, weight = (
            torch.randn(*size, generator=generator) for size in ((5, 4), (5, 3), (4, 3))
        )
        labels = torch.randint(4, (5,), generator=generator)
        labels = logits.softmax(dim=1) if soft else labels
        return isda(logits, labels, features, weight)

    straight, stopped, resumed = (
        make(kind, ramp_steps=10, class_weights=WEIGHTS.float()) for _ in range(3)
    )
    for seed in range(3):
        step(straight, seed)
        step(stopped, seed)
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(step(resumed, 9), step(straight, 9))


def test_a_checkpoint_holds_statistics_and_step_and_no_argument():
    isda = make(ramp_steps=10, class_weights=WEIGHTS)
    assert set(isda.state_dict()) == {
        "ramp.step",
        *(f"estimator.{name}" for name in ("count", "mean", "covariance", "num_skipped")),
    }


@pytest.mark.parametrize("labels", [LABELS, ONE_HOT * 0.6 + 0.1], ids=["ids", "soft"])
def test_the_statistics_may_move_on_before_the_backward_pass(
    normal, estimator, labels, either_path
):
    isda, weight = make(estimator).double(), normal(4, 3).requires_grad_()
    reference = copy.deepcopy(isda)
    batches = [normal(6, 3) for _ in range(2)]
    leaves = weight, *estimator.parameters()
    expected = []
    for features in batches:
        loss = reference(features @ weight.T, labels, features, weight)
        expected.append(torch.autograd.grad(loss, (weight, *reference.estimator.parameters())))
    losses = sum(isda(x @ weight.T, labels, x, weight) for x in batches)
    sums = tuple(a + b for a, b in zip(*expected, strict=True))
    assert_close(torch.autograd.grad(losses, leaves), sums)


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
    consistency = SemanticConsistencyLoss(estimator, strength=0.5)
    first(normal(2, 4), torch.tensor([0, 1]), normal(2, 3), normal(4, 3))
    consistency(normal(2, 4), normal(4, 3))
    assert second.estimator is estimator
    assert consistency.estimator is estimator
    assert estimator.count.sum() == 2


def test_soft_targets_count_as_their_most_probable_class(normal):
    isda = make()
    targets = torch.tensor([[0.1, 0.7, 0.2, 0.0], [0.0, 0.0, 0.0, 1.0]])
    isda(normal(2, 4), targets, normal(2, 3), normal(4, 3))
    assert isda.estimator.count.tolist() == [0, 1, 0, 1]


def test_gradients_reach_features_only_through_the_logits(normal):
    features = normal(2, 3).requires_grad_()
    make()(normal(2, 4).requires_grad_(), torch.tensor([0, 1]), features, normal(4, 3)).backward()
    assert features.grad is None


# Errors.


def test_wrong_shapes_are_named(batch):
    logits, labels, weight, covariance = batch
    message = r"isda_loss: expected `weight` of shape \(C=4, A\), got \(3, 3\)"
    with pytest.raises(ValueError, match=message):
        isda_loss(logits, labels, weight[:3], covariance, strength=0.5)
    with pytest.raises(ValueError, match=r"isda_loss: expected `covariance` of shape \(C=4, A=3"):
        isda_loss(logits, labels, weight, covariance[:3], strength=0.5)
    with pytest.raises(ValueError, match=r"ISDALoss: expected `features` of shape \(N=6, A=3\)"):
        make()(logits, labels, weight, weight)
    with pytest.raises(ValueError, match=r"ISDALoss: expected `weight` of shape \(C=4, A=3"):
        make()(logits, labels, torch.zeros(6, 2), weight[:, :2])
    with pytest.raises(ValueError, match=r"`features` of shape \(N=6, A=3\), got \(6, 2\)"):
        make()(logits, labels, torch.zeros(6, 2), weight)


def test_options_that_have_no_effect_are_named(batch, normal):
    logits, labels, weight, covariance = batch
    for options, message in [
        ({"dense": "faithful"}, r"`labels` of shape \(N, H, W\) for dense='faithful', got \(6,"),
        ({"ignore_index": 3}, "no `ignore_index` for soft targets, got 3"),
    ]:
        targets = ONE_HOT if "ignore_index" in options else labels
        with pytest.raises(ValueError, match="isda_loss: expected " + message):
            isda_loss(logits, targets, weight, covariance, strength=0.5, **options)
        with pytest.raises(ValueError, match="ISDALoss: expected " + message):
            make(**options)(logits, targets, normal(6, 3), weight)


def test_logits_that_a_model_has_interpolated_are_those_of_smaller_features(normal):
    features, weight = normal(2, 3, 2, 3), normal(4, 3)
    logits = torch.einsum("nahw,ca->nchw", features, weight)
    up = F.interpolate(logits, (4, 5), mode="bilinear")
    one, other = make(), make()
    assert_close(
        one(up, PIXELS, features, weight), other.double()(logits, PIXELS, features, weight)
    )
    assert_close(dict(one.double().state_dict()), dict(other.state_dict()), rtol=1e-6, atol=0)
    message = r"logits` of the resolution of the features for dense='faithful', got \(2, 4, 4, 5\)"
    with pytest.raises(ValueError, match=message):
        make(dense="faithful")(up, PIXELS, features, weight)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_few_pixels_of_a_class_in_an_image_count_in_the_statistics(normal, most):
    labels = torch.tensor([[0, 0, 0, 0, 0, 1], [1, 1, 255, 0, 0, 0]]).view(2, 2, 3)
    features = normal(2, 3, 2, 3)
    isda = make(cells_per_class=most, ignore_index=255).double()
    loss = isda(normal(2, 4, 2, 3), labels, features, normal(4, 3))
    assert isda.estimator.count.tolist() == [min(5, most) + min(3, most), 1 + min(2, most), 0, 0]
    assert loss.isfinite()
    if most == 1:  # evenly spread: the last of each group
        own = torch.stack([features[0, :, 1, 1], features[1, :, 1, 2]])
        assert_close(isda.estimator.mean[0], own.mean(dim=0))


def test_wrong_class_weights_and_smoothing_are_named(batch):
    logits, labels, weight, covariance = batch

    def call(**options):
        return isda_loss(logits, labels, weight, covariance, strength=0.5, **options)

    message = r": expected `class_weights` of shape "
    with pytest.raises(ValueError, match="isda_loss" + message + r"\(C=4,\), got \(3,\)"):
        call(class_weights=WEIGHTS[:3])
    with pytest.raises(ValueError, match="ISDALoss" + message + r"\(4,\), got \(3,\)"):
        make(class_weights=WEIGHTS[:3])
    with pytest.raises(TypeError, match="isda_loss: expected `class_weights` of a floating-point"):
        call(class_weights=WEIGHTS.long())
    with pytest.raises(ValueError, match="isda_loss: expected `class_weights` on the device of"):
        call(class_weights=WEIGHTS.to("meta"))
    with pytest.raises(ValueError, match="isda_loss: expected `label_smoothing` <= 1, got 2"):
        call(label_smoothing=2)
    with pytest.raises(ValueError, match="isda_loss: expected `label_smoothing` >= 0, got -1"):
        call(label_smoothing=-1)


def test_wrong_soft_targets_are_named(batch):
    logits, _, weight, covariance = batch
    message = r"isda_loss: expected `targets` of shape \(N=6, C=4\)"
    for targets in (ONE_HOT[:5], ONE_HOT[:, :3]):
        with pytest.raises(ValueError, match=message):
            isda_loss(logits, targets, weight, covariance, strength=0.5)
    with pytest.raises(ValueError, match="isda_loss: expected `strength` to be one number, got"):
        isda_loss(logits, ONE_HOT, weight, covariance, strength=torch.ones(6))
    with pytest.raises(ValueError, match=r"isda_loss: expected `labels` of shape \(N=6,\)"):
        isda_loss(logits, ONE_HOT.long(), weight, covariance, strength=0.5)


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
    with pytest.raises(ValueError, match="`dense` to be one of 'exact', 'features', 'faithful'"):
        make(dense="upsampled")
    with pytest.raises(TypeError, match="isda_loss: expected `align_corners` to be a bool, got 1"):
        isda_loss(*batch, strength=0.5, align_corners=1)
    with pytest.raises(ValueError, match="`cells_per_class` >= 1, got 0"):
        make(cells_per_class=0)
    with pytest.raises(ValueError, match="`ramp_steps` >= 1, got 0"):
        make(ramp_steps=0)
    with pytest.raises(TypeError, match=r"`ramp_steps` to be an int, got 2\.5"):
        make(ramp_steps=2.5)
    with pytest.raises(ValueError, match=r"\(num_classes, num_features\) = \(4, 3\), got \(4, 2\)"):
        make(ClassCovariance(4, 2))
    with pytest.raises(ValueError, match="ISDALoss: expected `covariance` to be one of 'full'"):
        make("low")

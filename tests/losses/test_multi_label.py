"""Tests of semaug.losses.multi_label."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import ClassCovariance, MultiLabelISDALoss, multi_label_isda_loss
from tests.references.losses import multi_label_by_loops

# N=5, C=4, A=3.

SPARSE = torch.tensor(
    [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]], dtype=torch.float64
)
FULL = torch.linspace(0.01, 0.99, 20, dtype=torch.float64).view(5, 4)
WEIGHTS = {
    "class_weights": torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64),
    "pos_weight": torch.tensor([3.0, 1.0, 0.5, 2.0], dtype=torch.float64),
}


@pytest.fixture(params=["few labels", "every label", "no label"])
def targets(request):
    return {"few labels": SPARSE, "every label": FULL, "no label": SPARSE * 0}[request.param]


def make(covariance="full", **options):
    return MultiLabelISDALoss(4, 3, **{"strength": 0.5, "covariance": covariance, **options})


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("options", [{}, WEIGHTS])
def test_matches_the_equation(
    normal, targets, estimator, options, reduction, either_path, gradients
):
    logits, weight = normal(5, 4).requires_grad_(), normal(4, 3).requires_grad_()
    leaves = logits, weight, *estimator.parameters()
    options = {**options, "strength": 0.8, "reduction": reduction}
    actual = multi_label_isda_loss(logits, targets, weight, estimator, **options)
    expected = multi_label_by_loops(logits, targets, weight, estimator.dense(), **options)
    assert_close(actual, expected)
    assert_close(gradients(actual, *leaves), gradients(expected, *leaves))


def test_samples_may_have_strengths_of_their_own(normal, estimator, either_path):
    logits, weight, strength = normal(5, 4), normal(4, 3), [0.0, 0.1, 0.2, 3.0, 1.0]
    tensor = torch.tensor(strength, dtype=torch.float64)
    actual = multi_label_isda_loss(logits, SPARSE, weight, estimator, strength=tensor)
    expected = multi_label_by_loops(logits, SPARSE, weight, estimator.dense(), strength=strength)
    assert_close(actual, expected)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("options", [{}, WEIGHTS])
def test_is_binary_cross_entropy_at_zero_strength(normal, targets, options, reduction):
    logits, weight, covariance = normal(5, 4), normal(4, 3), normal(4, 3).square()
    actual = multi_label_isda_loss(
        logits, targets, weight, covariance, strength=0.0, reduction=reduction, **options
    )
    expected = F.binary_cross_entropy_with_logits(
        logits,
        targets,
        options.get("class_weights"),
        pos_weight=options.get("pos_weight"),
        reduction=reduction,
    )
    assert_close(actual, expected)


def test_has_the_derivatives_that_it_says(normal, estimator):
    inputs = normal(5, 4).requires_grad_(), normal(4, 3).requires_grad_()

    def loss(logits, weight, *parameters):
        return multi_label_isda_loss(logits, SPARSE, weight, estimator, strength=0.8, **WEIGHTS)

    leaves = *inputs, *estimator.parameters()
    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, leaves, fast_mode=True)
    expected = torch.autograd.grad(loss(*inputs), inputs)
    actual = torch.func.grad(loss, argnums=(0, 1))(*(x.detach() for x in inputs))
    assert_close(actual, expected)


def test_targets_have_gradients_also_where_they_are_zero(normal, either_path):
    logits, weight, covariance = normal(5, 4), normal(4, 3), normal(4, 3).square()

    def loss(targets):
        return multi_label_isda_loss(logits, targets, weight, covariance, strength=0.8)

    targets = (SPARSE + 0.0)[[0, 1, 3, 4, 0]].requires_grad_()
    assert torch.autograd.gradcheck(loss, targets)
    assert torch.autograd.grad(loss(SPARSE.requires_grad_()), SPARSE)[0].isfinite().all()
    SPARSE.requires_grad_(False)


@pytest.mark.parametrize("sizes", [(0, 4, 3), (1, 1, 1), (3, 1, 2), (2, 5, 1)])
def test_small_sizes(normal, sizes, either_path):
    num_samples, num_classes, num_features = sizes
    logits, weight = normal(num_samples, num_classes), normal(num_classes, num_features)
    targets, covariance = logits.sigmoid(), normal(num_classes, num_features).square()
    options = {"strength": 0.5, "reduction": "none"}
    actual = multi_label_isda_loss(logits, targets, weight, covariance, **options)
    if num_samples == 0:
        assert actual.shape == (0, num_classes)
        return
    dense = torch.diag_embed(covariance)
    assert_close(actual, multi_label_by_loops(logits, targets, weight, dense, **options))


def test_huge_numbers_stay_finite(normal):
    logits, weight = normal(5, 4) * 1e4, normal(4, 3).requires_grad_()
    loss = multi_label_isda_loss(logits, SPARSE, weight, torch.ones(4, 3).double(), strength=1e6)
    loss.backward()
    assert loss.isfinite()
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_more_than_the_inputs_do(normal, estimator, dtype):
    logits, weight, features = normal(5, 4).to(dtype), normal(4, 3).to(dtype), normal(5, 3)
    loss = make(estimator.float(), reduction="none").eval()
    with torch.autocast("cpu", dtype):
        actual = loss(logits, SPARSE.to(dtype), features.to(dtype), weight)
    assert actual.dtype == torch.float32
    expected = multi_label_by_loops(
        logits.double(), SPARSE, weight.double(), estimator.dense().double(),
        strength=0.5, reduction="none",
    )  # fmt: skip
    assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


# The module.


def test_a_sample_counts_for_each_of_its_labels(normal, either_path):
    loss, features = make().double(), normal(5, 3)
    loss(normal(5, 4), SPARSE, features, normal(4, 3))
    expected = ClassCovariance(4, 3).double()
    sample, label = SPARSE.nonzero().unbind(dim=1)
    expected.update(features[sample], label)
    assert_close(dict(loss.estimator.state_dict()), dict(expected.state_dict()))


def test_the_module_updates_first_and_then_is_the_function(normal, estimator, either_path):
    reference, weight = copy.deepcopy(estimator), normal(4, 3)
    loss = make(estimator, **WEIGHTS).double()
    for targets in (SPARSE, SPARSE.flip(0), SPARSE * 0):
        logits, features = normal(5, 4), normal(5, 3)
        sample, label = targets.nonzero().unbind(dim=1)
        reference.update(features[sample], label)
        expected = multi_label_isda_loss(
            logits, targets, weight, reference, strength=0.5, **WEIGHTS
        )
        expected = expected + reference.uncertainty(label)
        assert_close(loss(logits, targets, features, weight), expected)
        assert_close(estimator.dense(), reference.dense())
        assert_close(estimator.count, reference.count)
        loss.eval()
        before = copy.deepcopy(loss.state_dict())
        actual = loss(logits, targets, features, weight)
        assert_close(actual, expected - reference.uncertainty(label))
        assert_close(dict(loss.state_dict()), dict(before), rtol=0, atol=0)
        loss.train()


def test_the_strength_ramps(normal):
    loss = make(strength=0.8, ramp_steps=2)
    strengths = []
    for _ in range(3):
        loss(normal(5, 4), SPARSE, normal(5, 3), normal(4, 3))
        strengths.append(loss.current_strength().item())
    assert strengths == pytest.approx([0.4, 0.8, 0.8])
    loss.strength = 0.2
    assert loss.strength == 0.2
    assert_close(loss.current_strength(), torch.tensor(0.2))


# Errors.


def test_wrong_arguments_are_named(normal):
    logits, weight, covariance = normal(5, 4), normal(4, 3), normal(4, 3).square()

    def call(logits=logits, targets=SPARSE, weight=weight, covariance=covariance, **options):
        options = {"strength": 0.5, **options}
        return multi_label_isda_loss(logits, targets, weight, covariance, **options)

    name = "multi_label_isda_loss: expected "
    for error, message, options in [
        (ValueError, r"`targets` of shape \(N=5, C=4\), got \(3, 4\)", {"targets": SPARSE[:3]}),
        (TypeError, "`targets` of a floating-point dtype", {"targets": SPARSE.long()}),
        (TypeError, "`logits` to be a tensor, got float", {"logits": 0.0}),
        (ValueError, r"`weight` of shape \(C=4, A\)", {"weight": weight[:3]}),
        (ValueError, r"`covariance` of shape \(C=4, A=3\)", {"covariance": covariance[:3]}),
        (ValueError, "`weight` on the device of `logits`", {"weight": weight.to("meta")}),
        (ValueError, "`strength` >= 0, got -1", {"strength": -1}),
        (ValueError, r"`strength` of shape \(5,\)", {"strength": torch.ones(4)}),
        (ValueError, "`reduction` to be one of", {"reduction": "avg"}),
        (ValueError, r"`class_weights` of shape \(C=4,\)", {"class_weights": torch.ones(3)}),
        (TypeError, "`pos_weight` of a floating", {"pos_weight": torch.ones(4).long()}),
        (ValueError, "`pos_weight` on the device", {"pos_weight": torch.ones(4, device="meta")}),
    ]:
        with pytest.raises(error, match=name + message):
            call(**options)


def test_wrong_arguments_of_the_module_are_named(normal):
    name = "MultiLabelISDALoss: expected "
    for error, message, options in [
        (ValueError, "`strength` >= 0", {"strength": -1}),
        (ValueError, "`reduction` to be one of", {"reduction": "avg"}),
        (ValueError, "`ramp_steps` >= 1", {"ramp_steps": 0}),
        (ValueError, r"`pos_weight` of shape \(4,\)", {"pos_weight": torch.ones(3)}),
        (ValueError, "`covariance` to be one of", {"covariance": "ful"}),
        (ValueError, "`covariance` with", {"covariance": ClassCovariance(4, 2)}),
    ]:
        with pytest.raises(error, match=name + message):
            make(**options)
    logits, features, weight = normal(5, 4), normal(5, 3), normal(4, 3)
    with pytest.raises(ValueError, match=name + r"`features` of shape \(N=5, A=3\)"):
        make()(logits, SPARSE, features[:3], weight)
    with pytest.raises(TypeError, match=name + "`features` of a floating"):
        make()(logits, SPARSE, features.long(), weight)
    with pytest.raises(ValueError, match=name + "`features` on the device of `logits`"):
        make()(logits, SPARSE, features.to("meta"), weight)
    with pytest.raises(ValueError, match=name + r"`weight` of shape \(C=4, A=3\) of the"):
        make()(logits, SPARSE, features[:, :2], weight[:, :2])

"""Tests of semaug.losses.invariance: the function."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import augmentation_invariant_loss
from semaug.losses._divergences import divergence_from_mixture
from tests.references.invariance import invariance_by_loops

# V=2 or more views, N=5, C=4.

OPTIONS = {
    "kl": {},
    "kl, targets constant": {"target_gradient": False},
    "euclidean": {"metric": "euclidean"},
    "both": {"metric": "both"},
    "squared": {"metric": "squared_euclidean"},
    "mixture": {"reference": "mixture"},
    "first": {"reference": "first"},
    "first, target constant, sharp and confident": {
        "reference": "first",
        "target_gradient": False,
        "temperature": 0.4,
        "threshold": 0.5,
    },
    "first, sharp": {"reference": "first", "temperature": 0.4},
}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@each_option
@pytest.mark.parametrize("num_views", [2, 3, 4])
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3, 2)], ids=["samples", "dense"])
def test_matches_the_equation(normal, gradients, num_views, shape, options):
    views = normal(num_views, *shape).mul(2).requires_grad_()
    for reduction in ("none", "mean", "sum"):
        actual = augmentation_invariant_loss(views, reduction=reduction, **options)
        expected = invariance_by_loops(views, reduction=reduction, **options)
        assert_close(actual, expected)
        assert_close(gradients(actual, views), gradients(expected, views))


def test_two_views_give_equation_1_of_the_paper(normal):
    one, other = normal(2, 5, 4).log_softmax(dim=2)
    expected = F.kl_div(one, other, reduction="batchmean", log_target=True)
    expected += F.kl_div(other, one, reduction="batchmean", log_target=True)
    assert_close(augmentation_invariant_loss(torch.stack([one, other])), expected)


@each_option
def test_the_order_of_views_does_not_matter_unless_one_is_first(normal, options):
    views, order = normal(4, 5, 4) * 2, [2, 0, 3, 1]
    if options.get("reference") == "first":
        order = [0, 3, 2, 1]
        assert augmentation_invariant_loss(views.flip(0), **options) != pytest.approx(
            augmentation_invariant_loss(views, **options).item()
        )
    actual = augmentation_invariant_loss(views[order], **options)
    assert_close(actual, augmentation_invariant_loss(views, **options))


@each_option
@pytest.mark.parametrize("num_views", [2, 3, 7])
def test_views_that_agree_have_neither_loss_nor_gradient(normal, num_views, options):
    options = {**options, "temperature": 1.0}
    views = normal(5, 4).float().mul(5).repeat(num_views, 1, 1).requires_grad_()
    loss = augmentation_invariant_loss(views, **options)
    loss.backward()
    assert_close(loss, torch.zeros(()), rtol=0, atol=1e-12)
    assert_close(views.grad, torch.zeros_like(views), rtol=0, atol=1e-7)


@each_option
def test_a_constant_added_to_the_logits_of_a_sample_changes_no_divergence(normal, options):
    views, constants = normal(3, 5, 4), normal(3, 5, 1) * 100
    actual = augmentation_invariant_loss(views + constants, **options)
    expected = augmentation_invariant_loss(views, **options)
    if options.get("metric", "kl") == "kl":
        assert_close(actual, expected)
    else:
        assert actual > expected


@pytest.mark.parametrize("name", [name for name in OPTIONS if "constant" not in name])
def test_has_the_gradient_of_its_value(normal, name):
    options = OPTIONS[name]
    views = normal(3, 5, 4).requires_grad_()

    def loss(views):
        return augmentation_invariant_loss(views, reduction="none", **options)

    assert torch.autograd.gradcheck(loss, views)
    assert torch.autograd.gradgradcheck(loss, views)
    actual = torch.func.grad(lambda views: loss(views).sum())(views.detach())
    assert_close(actual, torch.autograd.grad(loss(views).sum(), views)[0])


def test_the_gradient_is_the_one_of_the_docstring(normal):
    logits = normal(3, 5, 4).requires_grad_()
    log_probs = logits.detach().log_softmax(dim=2)
    probs = log_probs.exp()
    ratio = log_probs - log_probs.mean(dim=0)
    kept = probs - probs.mean(dim=0)
    rest = probs * (ratio - (probs * ratio).sum(dim=2, keepdim=True))
    for target_gradient, expected in ((False, kept), (True, kept + rest)):
        loss = augmentation_invariant_loss(logits, target_gradient=target_gradient, reduction="sum")
        assert_close(torch.autograd.grad(loss, logits)[0], expected * 3 / 2)


def test_a_mixture_has_no_gradient_without_its_targets(normal):
    logits = normal(3, 5, 4).requires_grad_()
    mixture = logits.softmax(dim=2).mean(dim=0)
    loss = (logits.softmax(dim=2).detach() * mixture.log()).sum()
    assert_close(torch.autograd.grad(loss, logits)[0], torch.zeros_like(logits))
    assert torch.autograd.grad(divergence_from_mixture(logits).sum(), logits)[0].norm() > 0.1


@pytest.mark.parametrize("options", [{}, {"reference": "mixture"}], ids=["every", "mixture"])
@pytest.mark.parametrize("num_views", [2, 3])
@pytest.mark.parametrize("difference", [1.0, 1e-2, 1e-4, 1e-6])
def test_is_accurate_and_not_negative_for_views_that_almost_agree(
    normal, num_views, difference, options
):
    views = (normal(1, 1000, 10) * 4 + difference * normal(num_views, 1000, 10)).float()
    actual = augmentation_invariant_loss(views, reduction="none", **options)
    assert actual.min() >= 0
    exact = augmentation_invariant_loss(views.double(), reduction="none", **options)
    # Errors of logits in float32, 1e-6, next to differences.
    assert_close(actual.double(), exact, rtol=1e-5, atol=1e-6 * difference + 1e-12)
    assert_close(actual.double().mean(), exact.mean(), rtol=2e-5 + 1e-6 / difference, atol=1e-13)


def test_losses_lost_in_rounding_are_zero_and_keep_their_gradients(normal):
    views = normal(1, 1000, 10) * 4 + 1e-4 * normal(2, 1000, 10)
    views = views.float().requires_grad_()
    losses = augmentation_invariant_loss(views, reference="first", reduction="none")
    assert losses.min() == 0
    assert (losses == 0).sum() > 100
    gradient = torch.autograd.grad(losses.sum(), views)[0][1]
    expected = views[1].softmax(dim=1) - views[0].softmax(dim=1)
    assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    assert (gradient != 0).any(dim=1).all()


@each_option
def test_large_logits_stay_finite(normal, options):
    views = normal(3, 5, 4).float().mul(1e4).requires_grad_()
    loss = augmentation_invariant_loss(views, **options)
    loss.backward()
    assert loss.isfinite()
    assert views.grad.isfinite().all()


@each_option
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_more_than_the_inputs_do(normal, options, dtype):
    views = (normal(3, 5, 4) * 2).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype):
        loss = augmentation_invariant_loss(views, **options)
    loss.backward()
    assert loss.dtype == torch.float32
    exact = views.detach().double().requires_grad_()
    expected = invariance_by_loops(exact, **options)
    expected.backward()
    assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    assert_close(views.grad, exact.grad.to(dtype))


# The relatives, each by its own formula.


def test_augmix(normal, gradients):
    """Hendrycks et al., https://arxiv.org/abs/1912.02781, Eqs. (1) and (2)."""
    logits = normal(3, 5, 4).requires_grad_()
    probs = logits.softmax(dim=2)
    mixture = probs.mean(dim=0)
    divergences = [F.kl_div(mixture.log(), p, reduction="batchmean") for p in probs]
    actual = augmentation_invariant_loss(logits, reference="mixture")
    expected = sum(divergences) / 3
    assert_close(actual, expected)
    assert_close(gradients(actual, logits), gradients(expected, logits))


def test_uda(normal):
    """Xie et al., https://arxiv.org/abs/1904.12848, section 2."""
    logits = (normal(2, 50, 4) * 2).requires_grad_()
    clean, augmented = logits
    target = (clean.detach() / 0.4).softmax(dim=1)
    mask = (clean.detach().softmax(dim=1).amax(dim=1) > 0.8).double()
    assert 0 < mask.sum() < 50
    divergence = F.kl_div(augmented.log_softmax(dim=1), target, reduction="none").sum(dim=1)
    expected = (mask * divergence).mean()
    actual = augmentation_invariant_loss(
        logits, reference="first", target_gradient=False, temperature=0.4, threshold=0.8
    )
    assert_close(actual, expected)
    gradient, expected = (torch.autograd.grad(loss, logits)[0] for loss in (actual, expected))
    assert_close(gradient, expected)
    assert gradient[0].count_nonzero() == 0


# What is not accepted.


@pytest.mark.parametrize(
    ("error", "message", "shape", "options"),
    [
        (ValueError, r"`views` of shape \(V, N, C\), got \(5, 4\)", (5, 4), {}),
        (ValueError, r"`views` of shape \(V, N, C\), got \(2, 5, 4, 3\)", (2, 5, 4, 3), {}),
        (ValueError, r"`views` of shape \(V, N, C\) with V >= 2, got \(1, 5, 4\)", (1, 5, 4), {}),
        (ValueError, "`metric` to be one of 'kl', .*got 'l1'", (2, 5, 4), {"metric": "l1"}),
        (ValueError, "`reference` to be one of 'every'", (2, 5, 4), {"reference": "last"}),
        (ValueError, "`reduction` to be one of 'none'", (2, 5, 4), {"reduction": "max"}),
        (TypeError, "`target_gradient` to be a bool, got 1", (2, 5, 4), {"target_gradient": 1}),
        (
            TypeError,
            "`temperature` to be a number, got tensor",
            (2, 5, 4),
            {"temperature": torch.ones(())},
        ),
        (ValueError, "`temperature` >= 0, got -1", (2, 5, 4), {"temperature": -1}),
        (ValueError, "`temperature` > 0, got 0", (2, 5, 4), {"temperature": 0}),
        (ValueError, "`threshold` >= 0, got -1", (2, 5, 4), {"threshold": -1}),
        (ValueError, "`threshold` < 1, got 1", (2, 5, 4), {"threshold": 1}),
        (
            ValueError,
            "metric='kl' for reference='first', got 'both'",
            (2, 5, 4),
            {"metric": "both", "reference": "first"},
        ),
        (
            ValueError,
            "metric='kl' for target_gradient=False, got 'euclidean'",
            (2, 5, 4),
            {"metric": "euclidean", "target_gradient": False},
        ),
        (
            ValueError,
            "target_gradient=True for reference='mixture', got False",
            (2, 5, 4),
            {"reference": "mixture", "target_gradient": False},
        ),
        (
            ValueError,
            "reference='first' for `temperature` and `threshold`, got 'every'",
            (2, 5, 4),
            {"temperature": 0.5},
        ),
    ],
)
def test_bad_arguments_are_named(error, message, shape, options):
    with pytest.raises(error, match="augmentation_invariant_loss: expected .*" + message):
        augmentation_invariant_loss(torch.zeros(shape), **options)


def test_views_must_be_tensors_of_floating_point_numbers():
    with pytest.raises(TypeError, match=r"`views` of a floating-point dtype, got torch\.int64"):
        augmentation_invariant_loss(torch.zeros(2, 5, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match="`views` to be a tensor, got list"):
        augmentation_invariant_loss([torch.zeros(5, 4), torch.zeros(5, 4)])

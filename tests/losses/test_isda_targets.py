"""Tests of isda_loss for every kind of covariance and of target."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import isda_loss
from semaug.losses import _pixels
from tests.losses.conftest import KINDS, estimator_of
from tests.references.losses import dense_isda_by_loops, isda_by_loops

# N=6, C=4, A=3; dense: 2 images of 2 x 3 pixels, labels 4 x 5.

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
IDS = torch.tensor([0, 1, 2, 3, 3, 1])
SPARSE = torch.eye(4, dtype=torch.float64)[IDS]
SPARSE[2] = torch.tensor([0.0, 0.4, 0.6, 0.0])
FULL = torch.linspace(-1, 1, 24, dtype=torch.float64).view(6, 4).sin().softmax(dim=1)
PIXELS = torch.arange(40).view(2, 4, 5) * 7 % 4
DENSE_SOFT = FULL.repeat(2, 1).view(2, 2, 3, 4).movedim(3, 1)
ALL = {"class_weights": WEIGHTS, "label_smoothing": 0.2}

TARGETS = {
    "ids": (IDS, {}),
    "ids, one class": (torch.full((6,), 2), {}),
    "ids, weighted": (IDS, {"class_weights": WEIGHTS}),
    "ids, a class ignored": (IDS, {"ignore_index": 3}),
    "ids, some ignored": (IDS.masked_fill(IDS == 1, 255), {"ignore_index": 255}),
    "ids, smoothed": (IDS, {"label_smoothing": 0.2}),
    "ids, all options": (IDS.masked_fill(IDS == 3, -100), ALL),
    "soft, few classes": (SPARSE, {}),
    "soft, one-hot": (torch.eye(4, dtype=torch.float64)[torch.tensor([1, 1, 2, 1, 2, 1])], ALL),
    "soft, every class": (FULL, {}),
    "soft, smoothed": (SPARSE, {"label_smoothing": 1.0}),
    "soft, all options": (FULL, ALL),
    "dense": (PIXELS, {}),
    "dense, all options": (PIXELS.masked_fill(PIXELS == 2, 255), {**ALL, "ignore_index": 255}),
    "dense, soft": (DENSE_SOFT, {}),
    "dense, soft, all options": (DENSE_SOFT, ALL),
}  # fmt: skip


FEW = ["ids, all options", "soft, few classes", "soft, every class", "dense, all options"]


@pytest.fixture(params=list(TARGETS))
def problem(request, normal):
    """Logits, labels, weight, and options."""
    labels, options = TARGETS[request.param]
    dense = request.param.startswith("dense")
    logits = normal(2, 4, 2, 3) if dense else normal(6, 4)
    return logits, labels, normal(4, 3), options


few = pytest.mark.parametrize("problem", FEW, indirect=True)


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


def check(loss, reference, logits, labels, weight, estimator, gradients, **options):
    """Compare values and gradients with those of the loops."""
    logits, weight = leaves(logits, weight)
    parameters = logits, weight, *estimator.parameters()
    for reduction in ("none", "mean", "sum"):
        options["reduction"] = reduction
        actual = loss(logits, labels, weight, estimator, **options)
        expected = reference(logits, labels, weight, estimator.dense(), **options)
        assert_close(actual, expected)
        assert_close(gradients(actual, *parameters), gradients(expected, *parameters))


def test_matches_the_equation(problem, estimator, either_path, gradients):
    logits, labels, weight, options = problem
    problem = logits, labels, weight, estimator, gradients
    reference = dense_isda_by_loops if labels.ndim == 3 else isda_by_loops
    check(isda_loss, reference, *problem, strength=0.8, **options)


@pytest.mark.parametrize("options", [{}, {**ALL, "ignore_index": 2}])
@pytest.mark.parametrize("dense", ["exact", "features", "faithful"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_dense_labels_of_another_resolution_match_the_equation(
    normal, dense, align_corners, options, estimator, either_path, gradients
):
    options = {**options, "dense": dense, "align_corners": align_corners, "strength": 0.8}
    problem = normal(2, 4, 2, 3), PIXELS, normal(4, 3), estimator, gradients
    check(isda_loss, dense_isda_by_loops, *problem, **options)


@pytest.mark.parametrize("dense", ["exact", "faithful"])
@pytest.mark.parametrize("size", [(2, 3), (4, 5)])
def test_blocks_of_rows_change_no_loss_and_no_gradient(
    normal, dense, size, estimator, monkeypatch, gradients
):
    monkeypatch.setattr(_pixels, "BLOCK_ELEMENTS", 4 * 5 * 2)
    options = {**ALL, "ignore_index": 2, "dense": dense, "strength": 0.8}
    problem = normal(2, 4, *size), PIXELS, normal(4, 3), estimator, gradients
    check(isda_loss, dense_isda_by_loops, *problem, **options)


def test_exact_logits_are_those_of_interpolated_features(normal, gradients):
    features, weight, bias = normal(2, 3, 2, 3), *leaves(normal(4, 3)), normal(4)
    covariance = normal(4, 3) ** 2
    up = functools.partial(F.interpolate, size=(4, 5), mode="bilinear", align_corners=True)
    logits, of_pixels = (
        torch.einsum("nahw,ca->nchw", x, weight) + bias.view(-1, 1, 1)
        for x in (features, up(features))
    )
    options = {"strength": 0.7, "align_corners": True}
    actual = isda_loss(logits, PIXELS, weight, covariance, **options)
    expected = isda_loss(
        of_pixels.movedim(1, 3).flatten(0, 2), PIXELS.flatten(), weight, covariance, strength=0.7
    )
    assert_close(actual, expected)
    assert_close(gradients(actual, weight), gradients(expected, weight))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}])
def test_mixtures_of_two_of_many_classes_match_the_equation(
    normal, name, options, either_path, gradients
):
    """So few that on a CPU each pair of a sample and a class is looked at alone."""
    eye = torch.eye(12, dtype=torch.float64)
    targets = 0.3 * eye[[0, 1, 2, 3, 4, 5]] + 0.7 * eye[[6, 7, 8, 9, 0, 1]]
    logits, weight, estimator = normal(6, 12), normal(12, 3), estimator_of(name, 12)
    problem = logits, targets, weight, estimator, gradients
    check(isda_loss, isda_by_loops, *problem, strength=0.8, **options)

    def loss(logits, weight, *parameters):
        return isda_loss(logits, targets, weight, estimator, strength=0.8, **options)

    inputs = *leaves(logits, weight), *estimator.parameters()
    assert torch.autograd.gradgradcheck(loss, inputs, fast_mode=True)


@few
def test_does_not_depend_on_the_size_of_chunks(
    problem, estimator, either_path, small_chunks, gradients
):
    test_matches_the_equation(problem, estimator, either_path, gradients)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_is_cross_entropy_at_zero_strength(problem, normal, reduction, either_path):
    logits, labels, weight, options = problem
    options = {**options, "reduction": reduction}
    loss = isda_loss(logits, labels, weight, normal(4, 3) ** 2, strength=0.0, **options)
    if labels.ndim == 3:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear")
    expected = F.cross_entropy(logits, labels, options.pop("class_weights", None), **options)
    exact = {} if labels.is_floating_point() or labels.ndim == 3 else {"rtol": 0, "atol": 0}
    assert_close(loss, expected, **exact)


@few
def test_has_the_derivatives_that_it_says(problem, estimator, either_path):
    logits, labels, weight, options = problem
    inputs = *leaves(logits, weight), *estimator.parameters()

    def loss(logits, weight, *parameters):
        return isda_loss(logits, labels, weight, estimator, strength=0.8, **options)

    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, inputs, fast_mode=True)
    expected = torch.autograd.grad(loss(*inputs), inputs[:2])
    assert_close(torch.func.grad(loss, argnums=(0, 1))(logits, weight), expected)


@few
def test_needs_no_autograd(problem, estimator):
    logits, labels, weight, options = problem
    arguments = logits, labels, weight, estimator
    expected = isda_loss(*arguments, strength=0.8, **options)
    with torch.inference_mode():
        assert_close(isda_loss(*arguments, strength=0.8, **options), expected)

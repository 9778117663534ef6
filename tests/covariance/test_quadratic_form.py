"""Tests of semaug.covariance.quadratic_form."""

import pytest
import torch
from torch.testing import assert_close

import semaug.covariance.rows
from semaug.covariance import quadratic_form
from semaug.covariance.form import class_variance
from semaug.covariance.quadratic_form import as_form
from semaug.covariance.rows import class_rows
from tests.references.isda import quadratic_form_by_loops


def covariance(normal, num_classes, num_features, kind):
    if kind == "diagonal":
        return normal(num_classes, num_features).square()
    root = normal(num_classes, num_features, num_features)
    return root @ root.mT


def rows_of_labels(weight, matrices, labels):
    """Q[labels], as the losses compute it."""
    rows = class_rows(labels, len(weight))
    table = class_variance(weight, as_form("", weight, matrices), rows)
    return rows.per_sample(table, torch.empty(len(labels), len(weight)))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 1), (5, 4), (3, 12)])
def test_matches_the_equation(normal, kind, sizes):
    weight, matrices = normal(*sizes), covariance(normal, *sizes, kind)
    assert_close(quadratic_form(weight, matrices), quadratic_form_by_loops(weight, matrices))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_gradient_matches_the_equation(normal, kind):
    weight, matrices, upstream = normal(4, 3), covariance(normal, 4, 3, kind), normal(4, 4)
    gradients = []
    for form in (quadratic_form, quadratic_form_by_loops):
        leaf = weight.clone().requires_grad_()
        (form(leaf, matrices) * upstream).sum().backward()
        gradients.append(leaf.grad)
    assert_close(*gradients)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("num_samples", [1, 3, 9])
def test_passes_gradcheck(normal, kind, num_samples, either_path):
    weight, matrices = normal(5, 3).requires_grad_(), covariance(normal, 5, 3, kind)
    labels = torch.arange(num_samples) % 4
    assert torch.autograd.gradcheck(lambda w: rows_of_labels(w, matrices, labels), weight)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("labels", [[2], [2, 2, 2], [0, 4, 0, 1], [0, 1, 2, 3, 4, 0]])
def test_rows_are_those_of_the_labels(normal, kind, labels, either_path):
    weight, matrices = normal(5, 3), covariance(normal, 5, 3, kind)
    expected = quadratic_form_by_loops(weight, matrices)[labels]
    assert_close(rows_of_labels(weight, matrices, torch.tensor(labels)), expected)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_an_empty_batch_has_no_rows(normal, kind, either_path):
    weight = normal(5, 3).requires_grad_()
    rows = rows_of_labels(weight, covariance(normal, 5, 3, kind), torch.tensor([]).long())
    rows.sum().backward()
    assert rows.shape == (0, 5)
    assert torch.equal(weight.grad, torch.zeros_like(weight))


@pytest.mark.parametrize("elements", [1, 40, 10**6])
def test_does_not_depend_on_the_chunks(normal, elements, monkeypatch, either_path):
    for name in ("CHUNK_ELEMENTS", "CHUNK_ELEMENTS_STATIC"):
        monkeypatch.setattr(semaug.covariance.rows, name, elements)
    weight, matrices = normal(5, 3).requires_grad_(), covariance(normal, 5, 3, "full")
    labels, upstream = torch.tensor([4, 1, 1, 0, 4, 2]), normal(6, 5)
    rows = rows_of_labels(weight, matrices, labels)
    assert_close(rows, quadratic_form_by_loops(weight, matrices)[labels])
    (actual,) = torch.autograd.grad((rows * upstream).sum(), weight)
    expected = torch.autograd.grad(
        (quadratic_form_by_loops(weight, matrices)[labels] * upstream).sum(), weight
    )
    assert_close(actual, expected[0])


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_a_common_offset_of_the_weights_costs_no_digits(normal, kind):
    weight, matrices = normal(6, 8), covariance(normal, 6, 8, kind)
    offset = (weight + 30).float()
    actual = quadratic_form(offset, matrices.float())
    expected = quadratic_form_by_loops(offset.double(), matrices.float().double())
    assert_close(actual.double(), expected, rtol=2e-5, atol=0)
    assert (actual >= 0).all()


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_the_own_class_has_no_variance(normal, kind):
    q = quadratic_form(normal(4, 3).float(), covariance(normal, 4, 3, kind).float())
    assert torch.equal(q.diagonal(), torch.zeros(4))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_half_precision_and_autocast_are_computed_in_float32(normal, kind):
    weight, matrices = normal(4, 3).bfloat16(), covariance(normal, 4, 3, kind).float()
    expected = quadratic_form(weight.float(), matrices)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaf = weight.clone().requires_grad_()
        q = quadratic_form(leaf, matrices)
        q.sum().backward()
    assert q.dtype == torch.float32
    assert_close(q, expected, rtol=0, atol=0)
    assert leaf.grad.dtype == torch.bfloat16


def test_the_covariance_is_a_constant(normal):
    matrices = covariance(normal, 4, 3, "full").requires_grad_()
    weight = normal(4, 3).requires_grad_()
    quadratic_form(weight, matrices).sum().backward()
    assert matrices.grad is None


def test_wrong_shapes_are_named(normal):
    weight = normal(4, 3)
    with pytest.raises(
        ValueError, match=r"`covariance` of shape \(C=4, A=3, A=3\), got \(4, 2, 2\)"
    ):
        quadratic_form(weight, normal(4, 2, 2))
    with pytest.raises(ValueError, match=r"`covariance` of shape \(C=4, A=3\), got \(5, 3\)"):
        quadratic_form(weight, normal(5, 3))
    with pytest.raises(ValueError, match=r"`weight` of shape \(C, A\), got \(3,\)"):
        quadratic_form(weight[0], normal(4, 3))


def test_wrong_types_are_named(normal):
    with pytest.raises(TypeError, match=r"`weight` of a floating-point dtype, got torch.int64"):
        quadratic_form(torch.ones(4, 3).long(), normal(4, 3))
    with pytest.raises(TypeError, match=r"`covariance` to be a tensor, got list"):
        quadratic_form(normal(4, 3), [1.0])


def test_another_device_is_named(normal):
    with pytest.raises(
        ValueError, match=r"`covariance` on the device of `weight` \(cpu\), got meta"
    ):
        quadratic_form(normal(4, 3), normal(4, 3).to("meta"))


@pytest.mark.parametrize("bad", [[0, 5], [-1, 2]])
def test_labels_out_of_range_are_named(normal, bad):
    with pytest.raises(ValueError, match=r"`labels` between 0 and 4, got"):
        rows_of_labels(normal(5, 3), normal(5, 3).square(), torch.tensor(bad))

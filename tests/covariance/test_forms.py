"""Tests of what losses ask of the forms of covariances: values and derivatives."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import semaug.covariance.full
from semaug import ClassCovariance
from semaug.covariance.form import class_variance, pair_variance
from semaug.covariance.quadratic_form import as_form
from semaug.covariance.rows import class_rows
from tests.covariance.setups import KINDS, SETUPS
from tests.references.isda import quadratic_form_by_loops

FORMS = KINDS | {
    "low_rank of rank 2": {"kind": "low_rank", "rank": 2},
    "full, shrunk": SETUPS["full, shrunk"],
    "diagonal, shrunk": SETUPS["diagonal, shrunk"],
    "low_rank, shrunk": SETUPS["low_rank, shrunk"],
}


def updated(options, normal):
    """Estimator of five classes, one of them never seen."""
    estimator = ClassCovariance(5, 4, **options).double()
    estimator.update(normal(24, 4), torch.arange(24) * 7 % 11 % 4)
    if estimator.kind == "learned":
        estimator.factor.data.copy_(normal(5, 4, 4))
    return estimator


@pytest.fixture(params=FORMS)
def estimator(request, normal):
    return updated(FORMS[request.param], normal)


@pytest.fixture
def rows():
    return class_rows(torch.tensor([4, 1, 1, 0, 4, 2]), 5)


def test_derivatives_of_differences(normal, estimator, rows, either_path):
    inputs = [normal(5, 4).requires_grad_(), *estimator.parameters()]

    def differences(weight, *factor):
        return estimator.form().differences(weight, rows)

    assert gradcheck(differences, inputs)
    assert gradgradcheck(differences, inputs, fast_mode=True)


def test_derivatives_of_gram_and_variance(normal, estimator, either_path):
    weight, references = normal(5, 4).requires_grad_(), normal(2, 4).requires_grad_()
    classes = torch.tensor([3, 0, 3])
    for check in (gradcheck, gradgradcheck):
        assert check(lambda w, u: estimator.form().gram(w, classes, u), (weight, references))
        assert check(lambda w: estimator.form().variance(w, classes), weight)


def test_values_are_those_of_the_matrices(normal, estimator, rows, either_path):
    weight, form, matrices = normal(5, 4), estimator.form(), estimator.dense()
    expected = quadratic_form_by_loops(weight, matrices)
    assert_close(form.differences(weight, rows), expected[rows.classes])
    assert_close(form.to(torch.float32).dense(), matrices.float())

    classes, references = torch.tensor([3, 0, 3]), torch.tensor([4, 1])
    own = matrices[classes]
    variance = form.variance(weight, classes)
    assert_close(variance, torch.einsum("ja,rab,jb->rj", weight, own, weight))
    u = normal(2, 4)
    gram = form.gram(weight, classes, u)
    assert_close(gram, torch.einsum("ka,rab,jb->rkj", u, own, weight))
    pairs = pair_variance(form, weight, classes, references, variance)
    delta = weight - weight[references].unsqueeze(1)  # (K, C, A)
    assert_close(pairs, torch.einsum("kja,rab,kjb->rkj", delta, own, delta))
    assert (pairs[:, [0, 1], references] == 0).all()


def test_functional_transforms_agree_with_autograd(normal, estimator, rows, either_path):
    weight, form = normal(5, 4).requires_grad_(), estimator.form()

    def loss(weight):
        return class_variance(weight, form, rows).exp().sum()

    (expected,) = torch.autograd.grad(loss(weight), weight, create_graph=True)
    actual = torch.func.grad(loss)(weight.detach())
    assert_close(actual, expected.detach())
    (second,) = torch.autograd.grad(expected.square().sum(), weight)
    assert_close(
        torch.func.grad(lambda w: torch.func.grad(loss)(w).square().sum())(weight.detach()), second
    )


def test_the_statistics_may_move_on_before_the_backward_pass(normal, estimator, either_path):
    weight = normal(5, 4).requires_grad_()
    classes, references = torch.tensor([3]), normal(2, 4)

    def loss():
        form = estimator.form()
        parts = [
            estimator.quadratic_form(weight),
            estimator.gram(weight),
            form.gram(weight, classes, references),
            form.variance(weight, classes),
        ]
        return sum(part.square().sum() for part in parts)

    early = loss()
    expected = torch.autograd.grad(loss(), weight)
    estimator.update(normal(8, 4), torch.arange(8) % 5)
    assert_close(torch.autograd.grad(early, weight), expected)


# Products that full covariances keep for the backward pass, or do not.


def test_products_may_be_computed_again(normal, rows, monkeypatch, either_path):
    estimator, weight = updated(KINDS["full"], normal), normal(5, 4).requires_grad_()
    upstream = normal(len(rows.classes), 5)
    gradients = []
    for kept in (10**6, 0):
        monkeypatch.setattr(semaug.covariance.full, "KEPT_ELEMENTS", kept)
        q = estimator.form().differences(weight, rows)
        gradients += torch.autograd.grad((q * upstream).sum(), weight)
    assert_close(*gradients)


def test_products_are_kept_only_for_a_backward_pass(normal, monkeypatch, either_path):
    estimator, weight = updated(KINDS["full"], normal), normal(5, 4)
    outputs, apply = [], semaug.covariance.full._Differences.apply

    def recorded(*arguments):
        outputs.append(apply(*arguments))
        return outputs[-1]

    monkeypatch.setattr(semaug.covariance.full._Differences, "apply", recorded)

    def number_kept():
        return len(outputs.pop()) - 1

    estimator.quadratic_form(weight)
    assert number_kept() == 0
    with torch.no_grad():
        estimator.quadratic_form(weight.clone().requires_grad_())
    assert number_kept() == 0
    estimator.quadratic_form(weight.clone().requires_grad_())
    assert number_kept() == 1
    with torch.no_grad():
        torch.func.grad(lambda w: estimator.quadratic_form(w).sum())(weight)
    assert number_kept() == 1


def test_an_inner_transform_may_take_the_weight_for_a_constant(normal, either_path):
    """Products are not kept then, and the outer transform needs them."""
    estimator, weight = updated(KINDS["full"], normal), normal(5, 4)

    def loss(weight):
        return estimator.quadratic_form(weight).exp().sum()

    def through_another(weight):
        scale = weight.new_ones(())
        return torch.func.grad(lambda s: s * loss(weight))(scale)

    assert_close(torch.func.grad(through_another)(weight), torch.func.grad(loss)(weight))


@pytest.mark.parametrize(
    ("kind", "kept", "create_graph", "fails"),
    [
        ("full", 10**6, False, False),
        ("full", 10**6, True, True),
        ("full", 0, False, True),
        ("full", 0, True, True),
        ("shared", 0, False, False),
        ("shared", 0, True, True),
    ],
)
def test_a_backward_pass_that_comes_too_late_is_named(
    normal, monkeypatch, kind, kept, create_graph, fails, either_path
):
    monkeypatch.setattr(semaug.covariance.full, "KEPT_ELEMENTS", kept)
    estimator, weight = updated(KINDS[kind], normal), normal(5, 4).requires_grad_()
    loss = estimator.quadratic_form(weight).sum()
    (expected,) = torch.autograd.grad(loss, weight, create_graph=create_graph, retain_graph=True)
    estimator.update(normal(4, 4), torch.arange(4))
    if not fails:
        assert_close(torch.autograd.grad(loss, weight)[0], expected)
        return
    with pytest.raises(RuntimeError, match="backward pass before the next update of the stat"):
        torch.autograd.grad(loss, weight, create_graph=create_graph)


def test_a_gram_too_large_to_copy_must_not_change_either(normal, monkeypatch):
    monkeypatch.setattr(semaug.covariance.full, "KEPT_ELEMENTS", 0)
    estimator = ClassCovariance(1, 4).double()
    estimator.update(normal(6, 4), torch.zeros(6, dtype=torch.int64))
    weight = normal(1, 4).requires_grad_()
    loss = estimator.gram(weight).sum()
    estimator.update(normal(6, 4), torch.zeros(6, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_another_size_or_device_is_named(normal):
    estimator = ClassCovariance(5, 4)
    for function in ("quadratic_form", "gram"):
        ask = getattr(estimator, function)
        with pytest.raises(
            ValueError,
            match=rf"{function}: expected `weight` of shape \(C=5, A=4\) of .*, got \(3, 4\)",
        ):
            ask(normal(3, 4))
        with pytest.raises(ValueError, match=r"`weight` of shape \(C, A\), got \(4,\)"):
            ask(normal(4))
        with pytest.raises(ValueError, match=r"device of `weight` \(meta\), got cpu"):
            ask(normal(5, 4).to("meta"))
        with pytest.raises(TypeError, match=r"`weight` of a floating-point dtype, got torch.int64"):
            ask(torch.ones(5, 4).long())
    with pytest.raises(TypeError, match=r"`classes` of dtype torch.int64, got torch.int32"):
        estimator.gram(normal(5, 4), torch.arange(2).int())
    with pytest.raises(ValueError, match=r"`labels` of shape \(N,\), got \(1, 2\)"):
        estimator.sample(torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="`num_samples` >= 1, got 0"):
        estimator.sample(torch.zeros(2, dtype=torch.int64), 0)


def test_double_weights_are_not_rounded(normal):
    estimator = ClassCovariance(5, 4)
    estimator.update(normal(24, 4), torch.arange(24) % 5)
    weight = normal(5, 4)
    expected = quadratic_form_by_loops(weight, estimator.covariance.double())
    assert_close(
        class_variance(weight, as_form("", weight, estimator), class_rows(torch.arange(5), 5)),
        expected,
    )

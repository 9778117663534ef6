"""Tests of semaug.losses._references."""

import pytest
import torch
from torch.testing import assert_close

from semaug.losses import _references
from semaug.losses._references import product_logsumexp, reference_logsumexp, used_references


@pytest.fixture(params=["one table", "several tables"])
def problem(request, normal):
    """Logits, raises and position: N=5, K=2, C=4, R=3."""
    if request.param == "one table":
        return normal(5, 4), normal(1, 2, 4), None
    return normal(5, 4), normal(3, 2, 4), torch.tensor([2, 0, 0, 1, 2])


@pytest.fixture(params=[False, True])
def chunked(request):
    if request.param:
        request.getfixturevalue("small_chunks")


def by_loops(logits, raises, position):
    position = [0] * len(logits) if position is None else position.tolist()
    rows = [
        [(z + raise_).logsumexp(dim=0) for raise_ in raises[r]]
        for z, r in zip(logits, position, strict=True)
    ]
    return torch.stack([torch.stack(row) for row in rows])


def test_matches_the_equation(problem, chunked, gradients):
    logits, raises, _ = problem
    leaves = logits.requires_grad_(), raises.requires_grad_()
    actual, expected = reference_logsumexp(*problem), by_loops(*problem)
    assert_close(actual, expected)
    assert_close(gradients(actual, *leaves), gradients(expected, *leaves))


def test_has_derivatives_of_second_order_too(problem, chunked):
    logits, raises, position = problem
    leaves = logits.requires_grad_(), raises.requires_grad_()

    def sums(logits, raises):
        return reference_logsumexp(logits, raises, position)

    assert torch.autograd.gradcheck(sums, leaves)
    assert torch.autograd.gradgradcheck(sums, leaves)


def test_works_with_transforms(problem, chunked):
    logits, raises, position = problem
    actual = torch.func.grad(lambda z: reference_logsumexp(z, raises, position).sum())(logits)
    logits.requires_grad_()
    (expected,) = torch.autograd.grad(by_loops(logits, raises, position).sum(), logits)
    assert_close(actual, expected)


def test_nothing_comes_of_nothing(chunked):
    logits = torch.zeros(0, 4, requires_grad=True)
    for raises, position in [
        (torch.zeros(1, 2, 4), None),
        (torch.zeros(0, 2, 4), torch.zeros(0).long()),
    ]:
        sums = reference_logsumexp(logits, raises, position)
        assert sums.shape == (0, 2)
        assert torch.autograd.grad(sums.sum(), logits)[0].shape == (0, 4)


# By a product.


@pytest.fixture(params=["moderate", "up to the bound", "beyond it", "a class excluded"])
def table(request, normal):
    """Logits (N=5, C=4) and raises (K=3, C=4), none negative."""
    logits, raises = normal(5, 4) * 50, normal(3, 4).square()
    if request.param != "moderate":
        beyond = 2.0 if request.param == "beyond it" else 1.0
        raises = raises / raises.amax() * _references.LARGEST_RAISE * beyond
    if request.param == "a class excluded":
        logits[:, 1] = -torch.inf
    return logits, raises


def test_a_product_makes_the_same_sums(table, chunked, either_path, gradients):
    leaves = [x.requires_grad_() for x in table]
    actual, expected = product_logsumexp(*leaves), by_loops(leaves[0], leaves[1].unsqueeze(0), None)
    assert_close(actual, expected)
    assert_close(gradients(actual, *leaves), gradients(expected, *leaves))


def test_a_product_loses_no_more_in_single_precision_than_sums_do(table, gradients):
    expected = by_loops(table[0], table[1].unsqueeze(0), None)
    leaves = [x.float().requires_grad_() for x in table]
    actual = product_logsumexp(*leaves)
    assert_close(actual.double(), expected, rtol=1e-6, atol=0)
    sums = reference_logsumexp(leaves[0], leaves[1].unsqueeze(0), None)
    found, wanted = (gradients(x, *leaves) for x in (actual, sums))
    assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_product_has_derivatives_of_second_order_too(normal, chunked):
    leaves = normal(5, 4).requires_grad_(), normal(3, 4).square().requires_grad_()
    assert torch.autograd.gradcheck(product_logsumexp, leaves)
    assert torch.autograd.gradgradcheck(product_logsumexp, leaves)
    actual = torch.func.grad(lambda z: product_logsumexp(z, leaves[1]).sum())(leaves[0])
    (expected,) = torch.autograd.grad(product_logsumexp(*leaves).sum(), leaves[0])
    assert_close(actual, expected)


def test_no_product_comes_of_nothing():
    for num_samples, num_references in ((0, 3), (5, 0)):
        sums = product_logsumexp(torch.zeros(num_samples, 4), torch.zeros(num_references, 4))
        assert sums.shape == (num_samples, num_references)


def test_infinite_logits_go_the_other_way():
    logits = torch.tensor([[0.0, torch.inf], [0.0, torch.nan], [-torch.inf, -torch.inf]])
    raises = torch.tensor([[0.0, 1.0]])
    expected = reference_logsumexp(logits, raises.unsqueeze(0), None)
    assert_close(product_logsumexp(logits, raises), expected, equal_nan=True)


def test_references_are_used_where_targets_are_not_zero(either_path):
    targets = torch.tensor([[0.0, 0.5, 0.0, 0.5], [0.0, 1.0, 0.0, 0.0]])
    used = used_references(targets)
    if either_path == "static shapes":
        assert used is None
    else:
        assert used.tolist() == [1, 3]
    assert used_references(targets.requires_grad_()) is None

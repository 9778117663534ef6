"""Tests of semaug.losses._references."""

import pytest
import torch
from torch.testing import assert_close

from semaug.losses._references import reference_logsumexp, used_references


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


def test_references_are_used_where_targets_are_not_zero(either_path):
    targets = torch.tensor([[0.0, 0.5, 0.0, 0.5], [0.0, 1.0, 0.0, 0.0]])
    used = used_references(targets)
    if either_path == "static shapes":
        assert used is None
    else:
        assert used.tolist() == [1, 3]
    assert used_references(targets.requires_grad_()) is None

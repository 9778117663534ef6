"""Tests of semaug.networks._shake."""

import pytest
import torch
from torch.testing import assert_close

from semaug.networks._shake import mix, scale, uniform


def numbers(*values):
    return torch.tensor(values).view(-1, 1, 1, 1)


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 4, 5, generator=generator, requires_grad=True) for _ in range(2)]


def test_mix_takes_one_share_forward_and_another_backward(maps):
    first, second = maps
    share, backward_share = numbers(0.0, 0.25), numbers(1.0, 0.75)
    mixed = mix(first, second, share, backward_share)
    assert_close(mixed, share * first + (1 - share) * second)
    grad = torch.randn(2, 3, 4, 5)
    mixed.backward(grad)
    assert_close(first.grad, backward_share * grad)
    assert_close(second.grad, (1 - backward_share) * grad)


def test_scale_takes_one_factor_forward_and_another_backward(maps):
    image, _ = maps
    scaled = scale(image, numbers(-1.0, 1.0), numbers(0.5, 1.0))
    assert_close(scaled, image * numbers(-1.0, 1.0))
    grad = torch.randn(2, 3, 4, 5)
    scaled.backward(grad)
    assert_close(image.grad, grad * numbers(0.5, 1.0))


def test_with_equal_numbers_they_are_their_own_derivatives(maps):
    first, second = (x.detach().double().requires_grad_() for x in maps)
    share = numbers(0.3, 0.9).double()
    assert torch.autograd.gradcheck(lambda x, y: mix(x, y, share, share), (first, second))
    assert torch.autograd.gradcheck(lambda x: scale(x, share, share), (first,))
    assert torch.autograd.gradgradcheck(lambda x, y: mix(x, y, share, share), (first, second))


@pytest.mark.parametrize(("level", "length"), [("image", 4000), ("batch", 1)])
def test_numbers_are_drawn_for_each_image_or_once(level, length):
    like = torch.zeros(4000, 3, 1, 1, dtype=torch.float64)
    first, second = uniform(like, level, 2)
    assert first.shape == second.shape == (length, 1, 1, 1)
    assert first.dtype == torch.float64
    assert not torch.equal(first, second)


def test_numbers_are_uniform():
    torch.manual_seed(0)
    (draws,) = uniform(torch.zeros(20_000, 1, 1, 1), "image", 1)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = torch.histc(draws, 10, 0.0, 1.0)
    assert_close(counts, torch.full((10,), 2000.0), rtol=0.1, atol=0)

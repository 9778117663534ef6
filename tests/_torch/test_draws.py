"""Tests of semaug._torch.draws."""

import torch

from semaug._torch.draws import normal_draws

IMAGES = torch.zeros(500, 3, 8, 8)


def test_draws_are_normal_and_of_no_correlation():
    draws = normal_draws(IMAGES, torch.arange(500), 3, seed=1)
    assert draws.shape == IMAGES.shape
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 1) < 0.02
    assert abs((draws**4).mean() - 3) < 0.15
    beside = torch.corrcoef(draws.flatten(1)) - torch.eye(500)
    across = torch.corrcoef(draws.flatten(1).T) - torch.eye(192)
    assert beside.abs().max() < 6 / 192**0.5
    assert across.abs().max() < 6 / 500**0.5


def test_draws_follow_the_image_wherever_it_stands():
    positions = torch.tensor([7, 3, 100_000])
    whole = normal_draws(IMAGES[:3], positions, 5, seed=2)
    assert torch.equal(normal_draws(IMAGES[:1], positions[2:], torch.tensor(5), seed=2), whole[2:])
    for other in ((positions, 6, 2), (positions, 5, 3)):
        assert (
            not torch.isclose(normal_draws(IMAGES[:3], *other[:2], seed=other[2]), whole)
            .any(dim=(1, 2, 3))
            .all()
        )


def test_draws_may_be_odd_in_number_and_double():
    draws = normal_draws(torch.zeros(2, 3, dtype=torch.float64), torch.arange(2), 0, seed=0)
    assert (draws.dtype, draws.shape) == (torch.float64, (2, 3))
    assert draws.isfinite().all()

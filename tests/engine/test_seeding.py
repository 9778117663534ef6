"""Tests of semaug.engine.seeding."""

import torch

from semaug.engine.seeding import derive_seed, make_generator


def test_seeds_differ_by_seed_purpose_and_epoch():
    seeds = {
        derive_seed(seed, purpose, epoch)
        for seed in range(10)
        for purpose in ("order", "augmentation", "weights")
        for epoch in range(10)
    }
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_never_change():
    assert derive_seed(0, "order", 1) == 7825938063290953878


def test_generators_repeat_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    first, second = (torch.rand(3, generator=make_generator(1, "order", 2)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)

"""Tests of semaug.covariance in two processes with batches of different sizes."""

import pytest
import torch
from torch.testing import assert_close

from semaug import ClassCovariance
from tests.covariance import ranks as covariance_ranks


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(covariance_ranks.run_rank, args=(2, str(folder)), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("kind", covariance_ranks.KINDS)
def test_uneven_and_empty_batches_on_two_ranks_equal_one_process(states, kind):
    expected = ClassCovariance(5, 4, kind).double()
    expected.update(*covariance_ranks.samples())
    for state in states:
        assert_close(state[kind], dict(expected.state_dict()))

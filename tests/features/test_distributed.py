"""Tests of semaug.features under DistributedDataParallel and FSDP2, two processes."""

import pytest
import torch
from torch.testing import assert_close

from tests.features import ranks
from tests.features.networks import small_batch
from tests.processes import run_together


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_together(ranks.run_rank, 2, str(folder))
    return torch.load(folder / "results.pt")


@pytest.mark.parametrize("setup", ranks.SETUPS, ids=lambda setup: setup.__name__)
def test_two_ranks_get_the_gradients_of_one_process_on_the_joint_batch(results, setup):
    expected = ranks.two_steps(ranks.attach_plain, *small_batch(ranks.NUM_IMAGES))
    assert_close(results[setup.__name__], expected)

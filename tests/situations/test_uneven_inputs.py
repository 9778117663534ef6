"""Ranks have unequal numbers of batches, and torch's Join is to make up for it."""

import pytest
import torch

from tests.processes import run_together
from tests.situations import uneven_ranks


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of two ranks found, without a warning."""
    folder = tmp_path_factory.mktemp("uneven")
    run_together(uneven_ranks.run_rank, 2, str(folder))
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_join_is_refused_on_every_rank_before_anyone_waits(results):
    refused = (
        "ClassCovariance: expected as many batches on every rank, got torch's Join, in which "
        "ranks without batches would leave the others waiting for their statistics; use "
        "Join(..., throw_on_early_termination=True), which ends with the first of them"
    )
    for result in results:
        assert (result[False], result["later"]) == (refused, refused)


def test_join_that_ends_with_the_first_rank_is_fine(results):
    assert results[0][True] == "Rank 0 exhausted all inputs."
    assert "at least one rank that exhausted inputs" in results[1][True]


def test_statistics_of_all_ranks_are_exchanged_without_a_warning(results):
    for result in results:
        assert result["even"] == [8, 4, 4]
        assert result["disabled"] == [4, 2, 2]
        assert result["dense"] == [0, 8, 0]

"""Tests of semaug.covariance in several processes: together they are one process.

Batches of different sizes, empty ones, and some of which nothing counts.
"""

import pytest
import torch
from torch.testing import assert_close

import semaug.covariance.rows
from tests.covariance import ranks
from tests.processes import run_together

# Half a minute of four processes. Two processes are in the contract tests of losses, too.
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each rank of four, and then of two, has in the end."""
    folder = tmp_path_factory.mktemp("ranks")
    for world_size in (4, 2):  # two go on from what four have saved
        run_together(ranks.run_rank, world_size, str(folder))
    return {
        world_size: [torch.load(folder / f"{world_size}-{rank}.pt") for rank in range(world_size)]
        for world_size in (4, 2)
    }


@pytest.fixture(params=[2, 4])
def of_ranks(results, request):
    return results[request.param]


def assert_same_statistics(state, estimator):
    """Bases may be rotated."""
    expected = dict(estimator.state_dict())
    state = dict(state)
    for name in expected:
        if name.endswith("basis"):
            expected[name], state[name] = (x[name].mT @ x[name] for x in (expected, state))
    assert_close(state, expected)


@pytest.mark.parametrize("way", ["flat", "dense"])
@pytest.mark.parametrize("static", [False, True], ids=["sizes agreed on", "max_batch_size"])
@pytest.mark.parametrize(
    ("world_size", "setup"), [(size, name) for size, runs in ranks.RUNS.items() for name in runs]
)
def test_several_processes_equal_one(results, world_size, setup, way, static, monkeypatch):
    monkeypatch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", static)
    steps = ranks.joint(ranks.batches(world_size, dense=way == "dense"))
    expected = ranks.follow(ranks.make(ranks.RUNS[world_size][setup]), steps)
    for result in results[world_size]:
        assert_same_statistics(result[setup, way, static], expected)


@pytest.mark.parametrize("setup", ranks.RUNS[4])
def test_saved_by_four_processes_and_resumed_by_two(results, setup):
    expected = ranks.follow(ranks.make(ranks.RUNS[4][setup]), ranks.joint(ranks.batches(4)))
    ranks.follow(expected, ranks.joint(ranks.batches(2, start=1)))
    for result in results[2]:
        assert_same_statistics(result[setup, "resumed"], expected)


def test_gradients_of_learned_factors_are_the_mean_over_ranks(of_ranks):
    expected = ranks.learned_gradient(torch.arange(8) % 3)
    for result in of_ranks:
        assert_close(result["learned"], expected)
        # The others had no samples, and took part.
        assert_close(result["learned by one"], expected / len(of_ranks))


def test_accumulation_and_checkpointing_count_each_sample_once(results):
    expected = ranks.trained(0, 1)
    assert expected["state"]["estimator.count"].sum() == 48
    for result in results[2]:
        assert_close(result["trained"], expected)


def test_batches_larger_than_announced_are_named(of_ranks):
    for result in of_ranks:
        assert result["too many"] == (
            "ClassCovariance: expected at most max_batch_size=2 samples on each rank, got 3"
        )


def test_an_update_compiles_to_one_graph_with_its_communication(results):
    for result in results[2]:
        assert_close(*result["compiled"])

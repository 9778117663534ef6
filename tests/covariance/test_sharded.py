"""Tests of semaug.covariance.sharded in several processes."""

import pytest
import torch
from torch.testing import assert_close

import semaug.covariance.sharded
from semaug import ClassCovariance, ISDALoss, explicit_augmentation_loss
from tests.covariance import sharded_ranks as ranks
from tests.processes import run_together

NUM_RANKS = 3


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.full)],
    ids=["cpu path", "static path"],
)
def on_ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    run_together(ranks.run_rank, NUM_RANKS, request.param, str(folder))
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(NUM_RANKS)]


@pytest.fixture(params=ranks.CLASSES)
def num_classes(request):
    return request.param


@pytest.fixture
def whole(num_classes):
    """Return the estimator of one process on the joint batches, and its losses and gradients."""
    isda = ISDALoss(
        num_classes,
        ranks.NUM_FEATURES,
        strength=0.7,
        covariance=ranks.estimator(num_classes),
        reduction="sum",
    ).double()
    return isda.estimator, ranks.steps(isda, *ranks.problem(num_classes), slice(None))


def test_losses_and_gradients_sum_to_those_of_one_process(on_ranks, whole, num_classes):
    by_rank = [saved[num_classes]["results"] for saved in on_ranks]
    for step, expected in enumerate(whole[1]):
        for part in (0, 1):
            assert_close(sum(results[step][part] for results in by_rank), expected[part])


def test_other_losses_sum_to_those_of_one_process(on_ranks, whole, num_classes):
    weight, features, labels = ranks.problem(num_classes)
    expected = ranks.other_losses(whole[0], weight, features[0], labels[0], slice(None))
    by_rank = [saved[num_classes]["others"] for saved in on_ranks]
    for number, pair in enumerate(expected):
        for part in (0, 1):
            assert_close(sum(results[number][part] for results in by_rank), pair[part])


def test_learned_covariances_get_the_mean_gradient_of_all_ranks(on_ranks, num_classes):
    weight, features, labels = ranks.problem(num_classes)
    learned = ClassCovariance(num_classes, ranks.NUM_FEATURES, "learned").double()
    expected = ranks.other_losses(learned, weight, features[0], labels[0], slice(None))
    for number, pair in enumerate(expected):
        for part in (0, 1):
            parts = [saved[num_classes]["learned"][number][part] for saved in on_ranks]
            assert_close(sum(parts), pair[part])
    for saved in on_ranks:
        assert_close(saved[num_classes]["factor"] * NUM_RANKS, learned.factor.grad)


def test_an_estimator_from_before_the_process_group_is_refused(normal, monkeypatch):
    estimator = ClassCovariance(3, 4, sharded=True)
    monkeypatch.setattr(semaug.covariance.sharded, "rank_and_size", lambda: (0, 2))
    message = r"expected 1 process\(es\), as when the sharded estimator was created, got 2"
    for call in (
        lambda: estimator.update(normal(3, 4), torch.arange(3)),
        lambda: estimator.quadratic_form(normal(3, 4)),
        estimator.state_dict,
    ):
        with pytest.raises(RuntimeError, match=message):
            call()


def test_each_rank_holds_its_share_and_shows_the_whole(on_ranks, whole, num_classes):
    estimator = whole[0]
    rows = [saved[num_classes]["rows"] for saved in on_ranks]
    assert sum(rows) == num_classes
    assert max(rows) - min(rows) <= 1
    weight = ranks.problem(num_classes)[0]
    for saved in on_ranks:
        assert_close(saved[num_classes]["state"], dict(estimator.state_dict()))
        assert_close(saved[num_classes]["gram"], estimator.gram(weight))
        assert_close(saved[num_classes]["dense"], estimator.dense())


def test_a_state_of_many_ranks_goes_on_in_one(on_ranks, whole, num_classes):
    for sharded in (False, True):
        resumed = ranks.estimator(num_classes, sharded)
        resumed.load_state_dict(on_ranks[1][num_classes]["state"])
        assert_close(dict(resumed.state_dict()), dict(whole[0].state_dict()))


def test_merge_is_that_of_whole_matrices(normal):
    pairs = [[ranks.estimator(3, sharded) for _ in range(2)] for sharded in (False, True)]
    batches = [(normal(9, ranks.NUM_FEATURES), torch.arange(9) % 3) for _ in range(2)]
    for pair in pairs:
        for estimator, batch in zip(pair, batches, strict=True):
            estimator.update(*batch)
        pair[0].merge(pair[1])
    assert_close(dict(pairs[1][0].state_dict()), dict(pairs[0][0].state_dict()))


def test_what_shards_cannot_do_is_named(normal):
    estimator = ClassCovariance(3, 4, sharded=True)
    with pytest.raises(ValueError, match="expected no draws from sharded covariances"):
        estimator.sample(torch.tensor([0]))
    weight, logits = normal(3, 4).float(), normal(2, 3).float()
    with pytest.raises(ValueError, match="expected no draws from sharded covariances"):
        explicit_augmentation_loss(
            logits, torch.tensor([0, 1]), weight, estimator, strength=1.0, num_samples=2
        )
    with pytest.raises(ValueError, match="expected no `sharded` for kind='diagonal'"):
        ClassCovariance(3, 4, "diagonal", sharded=True)

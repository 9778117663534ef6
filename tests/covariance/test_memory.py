"""Tests of the options of semaug.ClassCovariance: memory, shrinkage and what does not fit."""

import math

import pytest
import torch
from torch.testing import assert_close

from semaug import ClassCovariance
from semaug.covariance.learned import UNIT_ENTROPY
from tests.references.isda import covariance_by_loops


def zeros(count):
    return torch.zeros(count, dtype=torch.int64)


def test_each_sample_lowers_the_weight_of_earlier_ones(either_path):
    estimator = ClassCovariance(2, 1, "diagonal", memory=0.5).double()
    estimator.update(torch.tensor([[0.0], [0.0]]), zeros(2))
    estimator.update(torch.tensor([[8.0]]), zeros(1))
    estimator.update(torch.tensor([[7.0]]), zeros(1) + 1)  # another class does not count
    assert_close(estimator.sample_weight, torch.tensor([2.0, 1.0]).double())  # 2 * 0.5 + 1
    assert_close(estimator.mean, torch.tensor([[4.0], [7.0]]).double())
    assert_close(estimator.covariance, torch.tensor([[16.0], [0.0]]).double())
    estimator.update(torch.full((3, 1), 4.0), zeros(3))
    assert_close(estimator.sample_weight[0].item(), 2 / 8 + 3)
    assert_close(estimator.covariance[0].item(), 16 * 0.25 / 3.25)
    assert estimator.count.tolist() == [6, 1]


def test_what_is_long_ago_is_forgotten(normal, either_path):
    estimator = ClassCovariance(1, 3, memory=0.9).double()
    estimator.update(100 * normal(50, 3), zeros(50))
    for features in normal(300, 3).split(10):
        estimator.update(features, zeros(10))
    assert_close(estimator.sample_weight.item(), 10 / (1 - 0.9**10), rtol=1e-12, atol=0)
    assert (estimator.covariance.diagonal(0, 1, 2) < 3).all()


def test_an_epoch_is_in_use_while_the_next_one_is_collected(normal, either_path):
    features, labels = normal(24, 3), torch.arange(24) % 2

    def assert_in_use(estimator, samples):
        count, mean, covariance = covariance_by_loops(features[samples], labels[samples], 2)
        assert torch.equal(estimator.count, count)
        assert_close(estimator.mean, mean)
        assert_close(estimator.covariance, covariance)

    estimator = ClassCovariance(2, 3, memory="epoch").double()
    estimator.start_epoch()  # nothing to put in use
    estimator.update(features[:4], labels[:4])
    assert_in_use(estimator, slice(0, 4))
    estimator.update(features[4:10], labels[4:10])
    assert_in_use(estimator, slice(0, 10))  # all so far, in the first epoch
    estimator.start_epoch()
    assert_in_use(estimator, slice(0, 10))
    estimator.update(features[10:16], labels[10:16])
    assert_in_use(estimator, slice(0, 10))
    estimator.start_epoch()
    estimator.start_epoch()  # nothing came in between
    assert_in_use(estimator, slice(10, 16))
    estimator.update(features[16:], labels[16:])
    estimator.start_epoch()
    assert_in_use(estimator, slice(16, 24))
    assert estimator.epoch == 3


def test_starting_an_epoch_does_nothing_to_other_memories(normal):
    for memory in (None, 0.9):
        estimator = ClassCovariance(2, 3, memory=memory)
        estimator.update(normal(4, 3), torch.arange(4) % 2)
        before = estimator.covariance.clone()
        estimator.start_epoch()
        assert torch.equal(estimator.covariance, before)


def test_merging_takes_over_the_epoch(normal):
    one, other = (ClassCovariance(2, 3, memory="epoch").double() for _ in range(2))
    other.update(normal(6, 3), torch.arange(6) % 2)
    other.start_epoch()
    one.merge(other)
    in_use = one.covariance.clone()
    one.update(normal(6, 3), torch.arange(6) % 2)
    assert_close(one.covariance, in_use)


@pytest.mark.parametrize("kind", ["full", "diagonal", "low_rank"])
def test_rare_classes_take_the_covariance_of_all(normal, kind):
    features, labels = normal(30, 3), torch.tensor([0] * 24 + [1] * 6)
    estimator = ClassCovariance(3, 3, kind, shrinkage=6).double()
    assert_close(estimator.dense(), torch.zeros(3, 3, 3).double())
    estimator.update(features, labels)
    own = covariance_by_loops(features, labels, 3)[2]
    if kind == "diagonal":
        own = torch.diag_embed(own.diagonal(0, 1, 2))
    pooled = (24 * own[0] + 6 * own[1]) / 30
    expected = [0.8 * own[0] + 0.2 * pooled, (own[1] + pooled) / 2, pooled]
    assert_close(estimator.dense(), torch.stack(expected))


def test_no_shrinkage_is_no_shrinkage(normal):
    plain, shrunk = ClassCovariance(3, 3), ClassCovariance(3, 3, shrinkage=0)
    for estimator in (plain, shrunk):
        estimator.update(torch.arange(12).view(4, 3).cos(), torch.arange(4) % 2)
    assert torch.equal(shrunk.dense(), plain.dense())


def test_uncertainty_is_the_entropy_that_is_missing(normal, either_path):
    estimator = ClassCovariance(3, 2, "learned", entropy_weight=0.5).double()
    labels = torch.tensor([0, 1, 1, 255])
    assert_close(estimator.uncertainty(labels, ignore_index=255).item(), 0.0)
    estimator.factor.data[0] /= 2
    estimator.factor.data[1] = torch.tensor([[0.1, 0.0], [7.0, 0.4]])
    estimator.factor.data[2] *= 1e3  # of no sample
    missing = (math.log(2) - math.log(0.1 * 0.4) / 2 * 2) / 3  # in nats per feature, mean
    loss = estimator.uncertainty(labels, ignore_index=255)
    assert_close(loss.item(), 0.5 * missing)
    assert estimator.uncertainty(labels[3:], ignore_index=255) == 0
    assert estimator.uncertainty(labels[:0]) == 0
    loss.backward()
    assert (estimator.factor.grad[:2] != 0).any()
    assert (estimator.factor.grad[2] == 0).all()


def test_entropy_beyond_the_margin_is_no_loss():
    estimator = ClassCovariance(2, 2, "learned", entropy_margin=UNIT_ENTROPY + 0.25)
    assert_close(estimator.uncertainty(zeros(3)).item(), 0.25)
    estimator.factor.data *= 2
    assert estimator.uncertainty(zeros(3)) == 0
    assert ClassCovariance(2, 2).uncertainty(zeros(3)) == 0


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_enough_entropy_may_be_that_of_a_share_of_the_features(normal, scale):
    estimator = ClassCovariance(3, 4, "learned", entropy_share=0.5).double()
    features, labels = normal(20, 4) * scale, torch.arange(20) % 2
    assert estimator.uncertainty(labels) == 0  # nothing is seen yet
    halves = [ClassCovariance(3, 4, "learned", entropy_share=0.5).double() for _ in "12"]
    for half, part in zip(halves, (slice(0, 7), slice(7, 20)), strict=True):
        half.update(features[part], labels[part])
    estimator.update(features, labels)
    halves[0].merge(halves[1])
    assert_close(halves[0].variance, estimator.variance)
    spread = torch.stack([features[labels == k].var(dim=0, correction=0).mean() for k in (0, 1)])
    estimator.factor.data *= 0.01 * scale
    missing = math.log(0.5 * spread.mean().sqrt()) - math.log(0.01 * scale)
    assert_close(estimator.uncertainty(labels).item(), missing, rtol=1e-6, atol=0)


# Errors.


@pytest.mark.parametrize(
    ("option", "kinds"),
    [
        ({"rank": 2}, ["full", "diagonal", "shared", "identity", "learned"]),
        ({"memory": 0.9}, ["identity", "learned"]),
        ({"memory": "epoch"}, ["identity", "learned"]),
        ({"shrinkage": 3.0}, ["shared", "identity", "learned"]),
        ({"entropy_weight": 1.0}, ["full", "diagonal", "shared", "identity", "low_rank"]),
        ({"entropy_margin": 1.0}, ["full", "diagonal", "shared", "identity", "low_rank"]),
        ({"entropy_share": 1.0}, ["full", "diagonal", "shared", "identity", "low_rank"]),
    ],
)
def test_options_without_effect_are_named(option, kinds):
    ((name, value),) = option.items()
    for kind in kinds:
        with pytest.raises(
            ValueError, match=f"no `{name}` for kind='{kind}', .* got {value!r}; it is for"
        ):
            ClassCovariance(2, 3, kind, **option)


@pytest.mark.parametrize("memory", [0.0, 1.0, 1, -0.5, True, "epochs", float("nan")])
def test_a_wrong_memory_is_named(memory):
    with pytest.raises(ValueError, match=f"'epoch' or a number between 0 and 1, got {memory!r}"):
        ClassCovariance(2, 3, memory=memory)


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="`shrinkage` >= 0, got -1"):
        ClassCovariance(2, 3, shrinkage=-1)
    with pytest.raises(TypeError, match="`shrinkage` to be a number, got 'much'"):
        ClassCovariance(2, 3, shrinkage="much")
    with pytest.raises(ValueError, match="`max_batch_size` >= 1, got 0"):
        ClassCovariance(2, 3, max_batch_size=0)
    with pytest.raises(ValueError, match="`entropy_weight` >= 0, got -1"):
        ClassCovariance(2, 3, "learned", entropy_weight=-1)
    for margin in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f"finite `entropy_margin`, got {margin}"):
            ClassCovariance(2, 3, "learned", entropy_margin=margin)
    with pytest.raises(TypeError, match="`entropy_margin` to be a number, got 'x'"):
        ClassCovariance(2, 3, "learned", entropy_margin="x")
    with pytest.raises(ValueError, match="`entropy_share` >= 0, got -1"):
        ClassCovariance(2, 3, "learned", entropy_share=-1)
    for options in ({"entropy_share": 0}, {"entropy_share": 1.0, "entropy_margin": 1.0}):
        with pytest.raises(ValueError, match="`entropy_share` > 0 and no `entropy_margin`"):
            ClassCovariance(2, 3, "learned", **options)
    with pytest.raises(TypeError, match="`sharded` to be a bool, got 'no'"):
        ClassCovariance(2, 3, sharded="no")


def test_merge_refuses_other_options():
    for left, right in [
        ({"memory": 0.9}, {"memory": 0.8}),
        ({"memory": "epoch"}, {}),
        ({"shrinkage": 3}, {"shrinkage": 4}),
        ({"kind": "low_rank", "rank": 2}, {"kind": "low_rank", "rank": 3}),
    ]:
        with pytest.raises(ValueError, match="merge: expected `other` to be"):
            ClassCovariance(2, 3, **left).merge(ClassCovariance(2, 3, **right))
    ClassCovariance(2, 3, shrinkage=3).merge(ClassCovariance(2, 3, shrinkage=3.0))


def test_bad_dense_batches_are_named():
    estimator = ClassCovariance(2, 3)
    with pytest.raises(ValueError, match=r"`features` of shape \(N, A=3, h, w\), got \(1, 4, 2, 2"):
        estimator.update(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=1, H, W\), got \(2, 2, 2\)"):
        estimator.update(torch.zeros(1, 3, 2, 2), torch.zeros(2, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=1, H, W\), got \(1,\)"):
        estimator.update(torch.zeros(1, 3, 2, 2), zeros(1))

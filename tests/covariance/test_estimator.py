"""Tests of semaug.covariance.estimator."""

import copy
import warnings

import pytest
import torch
from torch.testing import assert_close

import semaug.covariance.full
import semaug.covariance.rows
from semaug import ClassCovariance, ISDALoss
from tests.covariance.setups import KINDS, SETUPS
from tests.references.isda import covariance_by_loops


def assert_same_state(left, right, **tolerance):
    assert_close(dict(left.state_dict()), dict(right.state_dict()), **tolerance)


@pytest.mark.parametrize("num_classes", [5, 60])
def test_large_matrices_take_the_loop_and_agree(normal, num_classes, monkeypatch):
    monkeypatch.setattr(semaug.covariance.full, "BATCHED_ELEMENTS", 0)
    features, labels = normal(24, 6), torch.arange(24) * 5 % num_classes
    estimator = ClassCovariance(num_classes, 6).double()
    for own in zip(features.split(8), labels.split(8), strict=True):
        estimator.update(*own)
    count, mean, covariance = covariance_by_loops(features, labels, num_classes)
    assert torch.equal(estimator.count, count)
    assert_close(estimator.mean, mean)
    assert_close(estimator.covariance, covariance)


def test_stays_symmetric_and_positive_semi_definite_over_many_steps():
    generator = torch.Generator().manual_seed(0)
    estimator = ClassCovariance(3, 8)
    for step in range(300):
        features = torch.randn(7, 8, generator=generator) * 0.1 + step / 100
        features[:, 5] = features[:, 2]  # a direction without variance
        estimator.update(features, torch.randint(3, (7,), generator=generator))
    assert torch.equal(estimator.covariance, estimator.covariance.mT)
    eigenvalues = torch.linalg.eigvalsh(estimator.covariance.double())
    assert (eigenvalues >= -1e-6 * eigenvalues.amax()).all()


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("num_classes", [4, 5])
def test_absent_classes_are_not_touched(normal, setup, num_classes, either_path):
    estimator = ClassCovariance(num_classes, 4, **SETUPS[setup])
    estimator.update(normal(12, 4).float(), torch.arange(12) % num_classes)
    before = copy.deepcopy(estimator)
    estimator.update(normal(4, 4).float(), torch.tensor([1, 1, -100, 1]))
    others = [0, *range(2, num_classes)]
    for name, value in estimator.state_dict().items():
        if name not in ("num_skipped", "pooled") and len(value) > 1:
            assert torch.equal(value[others], before.state_dict()[name][others])


def test_many_large_features_are_not_left_out(either_path):
    estimator = ClassCovariance(1, 2)
    estimator.update(torch.full((50, 2), 4e9), torch.zeros(50, dtype=torch.int64))
    assert estimator.num_skipped == 0
    assert estimator.count == 50
    assert estimator.covariance.isfinite().all()


def test_a_batch_of_non_finite_rows_changes_nothing(either_path):
    estimator = ClassCovariance(2, 2)
    estimator.update(torch.ones(3, 2), torch.tensor([0, 0, 1]))
    before = copy.deepcopy(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.update(torch.full((2, 2), torch.nan), torch.tensor([0, 1]))
    assert estimator.num_skipped == 2
    estimator.num_skipped.zero_()
    assert_same_state(estimator, before, rtol=0, atol=0)


def test_features_that_would_spoil_every_later_loss_are_left_out(normal, either_path):
    isda, weight = ISDALoss(3, 640, strength=1.0), normal(3, 640).float()
    features, labels = normal(6, 640).float(), torch.arange(6) % 3
    for scale in (1, 1e10, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = isda(features @ weight.T, labels, features * scale, weight)
    assert isda.estimator.num_skipped == 6
    assert loss < 1e4
    isda(features @ weight.T, labels, features / features.abs().amax() * 4e9, weight)
    assert isda.estimator.num_skipped == 6
    loss = isda(features @ weight.T, labels, features, weight)
    assert loss.isfinite()


def test_warns_once_of_rows_left_out():
    estimator = ClassCovariance(2, 2)
    bad = torch.full((1, 2), torch.nan), torch.tensor([0])
    with pytest.warns(
        UserWarning, match=r"left out 1 sample\(s\) with non-finite or huge features"
    ):
        estimator.update(*bad)
    estimator.update(*bad)  # a second warning would be an error
    assert estimator.num_skipped == 2


def test_warns_when_asked_where_looking_at_each_step_would_stall(monkeypatch):
    monkeypatch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", True)
    estimator = ClassCovariance(2, 2)
    estimator.update(torch.full((1, 2), torch.nan), torch.tensor([0]))
    with pytest.warns(UserWarning, match="left out 1"):
        estimator.warn_of_skipped()


def test_merge_refuses_another_size_or_kind_or_type():
    estimator = ClassCovariance(2, 3)
    with pytest.raises(ValueError, match=r"kind='full', got .*kind='diagonal'"):
        estimator.merge(ClassCovariance(2, 3, "diagonal"))
    with pytest.raises(TypeError, match="`other` to be a ClassCovariance, got int"):
        estimator.merge(3)


def test_features_keep_their_gradient_and_are_not_changed(normal):
    features = normal(4, 3).requires_grad_()
    before = features.detach().clone()
    ClassCovariance(2, 3).double().update(features, torch.tensor([0, 1, 1, 0]))
    assert torch.equal(features, before)
    assert features.grad is None


def test_counts_do_not_saturate():
    estimator = ClassCovariance(1, 1)
    estimator.count.fill_(2**53)
    estimator.update(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64))
    assert estimator.count.item() == 2**53 + 3


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`num_classes` >= 1, got 0"):
        ClassCovariance(0, 3)
    with pytest.raises(TypeError, match=r"`num_features` to be an int, got 3\.0"):
        ClassCovariance(2, 3.0)
    with pytest.raises(ValueError, match=r"`kind` to be one of 'full', .*; got 'ful'"):
        ClassCovariance(2, 3, "ful")


def test_bad_batches_are_named(normal):
    estimator = ClassCovariance(2, 3)
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"`features` of shape \(N, A=3\), got \(2, 4\)"):
        estimator.update(normal(2, 4), labels)
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=2,\), got \(3,\)"):
        estimator.update(normal(2, 3), torch.tensor([0, 1, 1]))
    with pytest.raises(TypeError, match=r"`labels` of dtype torch.int64, got torch.int32"):
        estimator.update(normal(2, 3), labels.int())
    with pytest.raises(TypeError, match=r"`features` of a floating-point dtype, got torch.int64"):
        estimator.update(torch.ones(2, 3).long(), labels)
    with pytest.raises(ValueError, match=r"device of `mean` \(cpu\), got meta"):
        estimator.update(normal(2, 3).to("meta"), labels)
    with pytest.raises(ValueError, match=r"between 0 and 1, got 0 to 2; only -100 is ignored"):
        estimator.update(normal(2, 3), torch.tensor([0, 2]))
    assert_same_state(estimator, ClassCovariance(2, 3), rtol=0, atol=0)


def test_labels_out_of_range_are_named_before_they_are_counted(normal, monkeypatch):
    """Counting takes memory for as many numbers as the highest label."""
    counted, bincount = [], torch.bincount
    monkeypatch.setattr(
        torch, "bincount", lambda x, **options: counted.append(x) or bincount(x, **options)
    )
    estimator = ClassCovariance(2, 3)
    for bad in (2, 10**7, -1):
        with pytest.raises(ValueError, match=f"between 0 and 1, got .*{bad}"):
            estimator.update(normal(2, 3), torch.tensor([1, bad]))
    assert counted == []
    estimator.update(normal(3, 3), torch.tensor([1, 255, 1]), ignore_index=255)
    assert estimator.count.tolist() == [0, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_classes_of_a_gram_are_named(normal, kind):
    estimator, weight = ClassCovariance(2, 3, kind), normal(2, 3)
    for error, message, classes in [
        (ValueError, r"`classes` of shape \(R,\), got \(1, 2\)", torch.tensor([[0, 1]])),
        (ValueError, r"`classes` in 0\.\.1, got values in -1\.\.0", torch.tensor([0, -1])),
        (ValueError, r"`classes` in 0\.\.1, got values in 2\.\.2", torch.tensor([2])),
        (TypeError, "`classes` to be a tensor, got list", [0]),
        (ValueError, r"`classes` on the device of `weight`", torch.tensor([0]).to("meta")),
    ]:
        with pytest.raises(error, match="ClassCovariance.gram: expected " + message):
            estimator.gram(weight, classes)
    assert estimator.gram(weight, torch.tensor([]).long()).shape == (0, 2, 2)


@pytest.mark.parametrize("kind", ["full", "learned"])
def test_bad_labels_of_the_uncertainty_are_named(kind):
    estimator, name = ClassCovariance(2, 3, kind), "ClassCovariance.uncertainty: expected "
    for dtype in (torch.float32, torch.int32):
        with pytest.raises(TypeError, match=name + f"`labels` of dtype torch.int64, got {dtype}"):
            estimator.uncertainty(torch.zeros(2, dtype=dtype))
    with pytest.raises(ValueError, match=name + r"`labels` of shape \(N,\), got \(1, 2, 2\)"):
        estimator.uncertainty(torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="between 0 and 1, got 2 to 2"):
        estimator.uncertainty(torch.tensor([2]))

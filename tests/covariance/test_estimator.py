"""Tests of semaug.covariance.estimator."""

import copy
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semaug._classes
import semaug.covariance.full
from semaug import ClassCovariance
from tests.references.isda import covariance_by_loops

KINDS = ["full", "diagonal"]


def of_kind(covariance, kind):
    return covariance if kind == "full" else covariance.diagonal(dim1=1, dim2=2)


def assert_holds(estimator, features, labels, **tolerance):
    count, mean, covariance = covariance_by_loops(features, labels, estimator.num_classes)
    assert torch.equal(estimator.count, count)
    assert_close(estimator.mean, mean, **tolerance)
    assert_close(estimator.covariance, of_kind(covariance, estimator.kind), **tolerance)


def assert_same_state(left, right, **tolerance):
    assert_close(dict(left.state_dict()), dict(right.state_dict()), **tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [3, 40])
@pytest.mark.parametrize("batches", [[30], [10, 10, 10], [1] * 30, [29, 0, 1]])
def test_one_batch_equals_many(normal, kind, num_classes, batches, either_path):
    features = normal(30, 4) + 2
    labels = torch.arange(30) * 7 % num_classes % 11
    estimator = ClassCovariance(num_classes, 4, kind).double()
    for own in zip(features.split(batches), labels.split(batches), strict=True):
        estimator.update(*own)
    assert_holds(estimator, features, labels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [5, 60])
def test_large_matrices_take_the_loop_and_agree(normal, kind, num_classes, monkeypatch):
    monkeypatch.setattr(semaug.covariance.full, "BATCHED_ELEMENTS", 0)
    features, labels = normal(24, 6), torch.arange(24) * 5 % num_classes
    estimator = ClassCovariance(num_classes, 6, kind).double()
    for own in zip(features.split(8), labels.split(8), strict=True):
        estimator.update(*own)
    assert_holds(estimator, features, labels)


@given(
    sizes=st.tuples(*[st.integers(1, 6)] * 3),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=60, deadline=None)
def test_any_sizes_and_magnitudes(sizes, seed, scale, kind):
    num_samples, num_classes, num_features = sizes
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(
        2 * num_samples, num_features, generator=generator, dtype=torch.float64
    ).mul_(scale)
    labels = torch.randint(num_classes, (2 * num_samples,), generator=generator)
    estimator = ClassCovariance(num_classes, num_features, kind).double()
    estimator.update(features[:num_samples], labels[:num_samples])
    estimator.update(features[num_samples:], labels[num_samples:])
    assert_holds(estimator, features, labels, rtol=1e-9, atol=1e-12 * scale**2)


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


def test_constant_features_have_no_variance(either_path):
    estimator = ClassCovariance(2, 3)
    for _ in range(5):
        estimator.update(torch.full((4, 3), 7.0), torch.tensor([0, 0, 1, 0]))
    assert_close(estimator.mean, torch.full((2, 3), 7.0))
    assert_close(estimator.covariance, torch.zeros(2, 3, 3))


def test_absent_classes_are_not_touched(normal, either_path):
    estimator = ClassCovariance(5, 3)
    estimator.update(normal(6, 3).float(), torch.tensor([0, 1, 2, 3, 4, 4]))
    before = copy.deepcopy(estimator)
    estimator.update(normal(2, 3).float(), torch.tensor([1, 1]))
    others = [0, 2, 3, 4]
    for name, value in estimator.state_dict().items():
        if name != "num_skipped":
            assert torch.equal(value[others], before.state_dict()[name][others])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("num_classes", [3, 12])
def test_non_finite_rows_are_left_out_and_counted(normal, kind, bad, num_classes, either_path):
    features, labels = normal(8, 4), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    spoiled = features.clone()
    spoiled[1, 2], spoiled[5, 0] = bad, bad
    estimator = ClassCovariance(num_classes, 4, kind).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.update(spoiled, labels)
    kept = [0, 2, 3, 4, 6, 7]
    assert_holds(estimator, features[kept], labels[kept])
    assert estimator.num_skipped == 2


@pytest.mark.parametrize("kind", KINDS)
def test_huge_features_that_would_overflow_are_left_out(normal, kind, either_path):
    features, labels = normal(6, 3).float(), torch.tensor([0, 1, 1, 0, 1, 0])
    spoiled = torch.cat([features, torch.full((1, 3), 3e38), torch.full((1, 3), -1e20)])
    estimator, expected = ClassCovariance(2, 3, kind), ClassCovariance(2, 3, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.update(spoiled, torch.cat([labels, torch.tensor([0, 1])]))
    expected.update(features, labels)
    assert estimator.num_skipped == 2
    estimator.num_skipped.zero_()
    assert_same_state(estimator, expected)


def test_many_large_features_are_not_left_out(either_path):
    estimator = ClassCovariance(1, 2)
    estimator.update(torch.full((50, 2), 1e18), torch.zeros(50, dtype=torch.int64))
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
    monkeypatch.setattr(semaug._classes, "ALWAYS_STATIC", True)
    estimator = ClassCovariance(2, 2)
    estimator.update(torch.full((1, 2), torch.nan), torch.tensor([0]))
    with pytest.warns(UserWarning, match="left out 1"):
        estimator.warn_of_skipped()


@pytest.mark.parametrize("kind", KINDS)
def test_merge_equals_having_seen_both(normal, kind):
    features, labels = normal(20, 4), torch.arange(20) % 3
    labels[12:] = 1
    left, right = ClassCovariance(4, 4, kind).double(), ClassCovariance(4, 4, kind).double()
    left.update(features[:7], labels[:7])
    right.update(features[7:], labels[7:])
    left.merge(right)
    assert_holds(left, features, labels)


def test_merge_refuses_another_size_or_kind_or_type():
    estimator = ClassCovariance(2, 3)
    with pytest.raises(ValueError, match=r"kind='full', got .*kind='diagonal'"):
        estimator.merge(ClassCovariance(2, 3, "diagonal"))
    with pytest.raises(TypeError, match="`other` to be a ClassCovariance, got int"):
        estimator.merge(3)


@pytest.mark.parametrize("kind", KINDS)
def test_reset_forgets_everything(normal, kind):
    estimator = ClassCovariance(2, 3, kind)
    estimator.update(normal(4, 3), torch.tensor([0, 1, 1, 0]))
    estimator.reset()
    assert_same_state(estimator, ClassCovariance(2, 3, kind), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_goes_on_bit_for_bit(normal, kind):
    features, labels = normal(12, 3).float(), torch.arange(12) % 2
    straight, stopped = ClassCovariance(2, 3, kind), ClassCovariance(2, 3, kind)
    straight.update(features[:6], labels[:6])
    straight.update(features[6:], labels[6:])
    stopped.update(features[:6], labels[:6])
    resumed = ClassCovariance(2, 3, kind)
    resumed.load_state_dict(stopped.state_dict())
    resumed.update(features[6:], labels[6:])
    assert_same_state(resumed, straight, rtol=0, atol=0)


def test_the_statistics_stay_float32_when_a_model_is_cast(normal):
    estimator = ClassCovariance(2, 3)
    estimator.update(normal(4, 3), torch.tensor([0, 1, 1, 0]))
    before = copy.deepcopy(estimator)
    torch.nn.Sequential(estimator).half().to(torch.bfloat16)
    assert estimator.mean.dtype == estimator.covariance.dtype == torch.float32
    assert_same_state(estimator, before, rtol=0, atol=0)
    assert estimator.double().mean.dtype == torch.float64


def test_autocast_does_not_touch_the_statistics(normal):
    features, labels = normal(40, 6).float(), torch.arange(40) % 2
    plain, under = ClassCovariance(2, 6), ClassCovariance(2, 6)
    plain.update(features, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under.update(features, labels)
    assert_same_state(under, plain, rtol=0, atol=0)


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
    with pytest.raises(ValueError, match=r"`labels` between 0 and 1, got 0 to 2"):
        estimator.update(normal(2, 3), torch.tensor([0, 2]))
    assert_same_state(estimator, ClassCovariance(2, 3), rtol=0, atol=0)

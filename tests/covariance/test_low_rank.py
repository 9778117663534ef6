"""Tests of semaug.covariance.low_rank."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semaug.covariance.low_rank
import semaug.covariance.rows
from semaug import ClassCovariance
from tests.references.isda import covariance_by_loops


def updated(features, labels, rank, *, num_classes=3, size=10):
    estimator = ClassCovariance(num_classes, features.shape[1], "low_rank", rank=rank)
    estimator = estimator.to(features.dtype)
    for batch in zip(features.split(size), labels.split(size), strict=True):
        estimator.update(*batch)
    return estimator


def assert_certified(estimator, exact, directions, tolerance=1e-10):
    """Diagonal and trace are exact, and no direction is wrong by more than `captured` allows."""
    error = estimator.dense() - exact
    largest = exact.abs().amax()
    assert_close(estimator.dense().diagonal(0, 1, 2), exact.diagonal(0, 1, 2))
    trace = exact.diagonal(0, 1, 2).sum(dim=1)
    bound = (1 - estimator.captured()) * trace
    wrong = torch.einsum("va,cab,vb->cv", directions, error, directions).abs()
    assert (wrong <= bound.unsqueeze(1) * directions.square().sum(1) + tolerance * largest).all()


@given(
    rank=st.integers(1, 6),
    num_samples=st.integers(1, 40),
    size=st.integers(1, 20),
    seed=st.integers(0, 2**31),
    static=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_cut_off_bounds_the_error(rank, num_samples, size, seed, static):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([10.0, 5, 1, 0.3, 0.01, 0], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    features = torch.randn(num_samples, 6, generator=generator, dtype=torch.float64) * scale @ turn
    labels = torch.randint(3, (num_samples,), generator=generator)
    size = min(size, 8) if static else size  # that a slot is enough for each sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", static)
        estimator = updated(features, labels, rank, size=size)
    exact = covariance_by_loops(features, labels, 3)[2]
    directions = torch.cat([turn, torch.randn(20, 6, generator=generator, dtype=torch.float64)])
    assert_certified(estimator, exact, directions)


@pytest.mark.parametrize("size", [1, 7, 10, 60])
def test_is_exact_where_the_rank_is_enough(normal, size, either_path):
    """Samples of a class lie in a plane through their mean."""
    planes, mean = normal(3, 2, 6), normal(3, 1, 6)
    features = (normal(3, 20, 2) @ planes + mean).transpose(0, 1).flatten(0, 1)
    labels = torch.arange(60) % 3
    estimator = updated(features, labels, 2, size=size)
    assert_close(estimator.dense(), covariance_by_loops(features, labels, 3)[2])
    assert_close(estimator.captured(), torch.ones(3).double())


def test_keeps_the_strongest_directions(normal):
    turn = torch.linalg.qr(normal(8, 8))[0]
    scale = torch.tensor([9.0, 6, 4, 0.1, 0.1, 0.1, 0.1, 0.1], dtype=torch.float64)
    features, labels = normal(400, 8) * scale @ turn, torch.zeros(400, dtype=torch.int64)
    estimator = updated(features, labels, 3, num_classes=1, size=20)
    exact = covariance_by_loops(features, labels, 1)[2]
    values = torch.linalg.eigvalsh(exact[0])
    assert estimator.captured() > 0.999 * values[-3:].sum() / values.sum()
    assert_close(estimator.dense(), exact, atol=0.02, rtol=0)


def test_float32_keeps_its_digits(normal):
    features, labels = normal(60, 6) + 10, torch.arange(60) % 3
    estimator = updated(features.float(), labels, 6)
    exact = covariance_by_loops(features.float().double(), labels, 3)[2]
    assert_close(estimator.dense().double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [1, 3, 64])
@pytest.mark.parametrize("elements", [1, 100, 2**20])
def test_does_not_depend_on_blocks_and_chunks(normal, block, elements, monkeypatch, either_path):
    monkeypatch.setattr(semaug.covariance.low_rank, "BLOCK", block)
    for name in ("CHUNK_ELEMENTS", "CHUNK_ELEMENTS_STATIC"):
        monkeypatch.setattr(semaug.covariance.rows, name, elements)
    features, labels = normal(24, 4), torch.arange(24) * 5 % 7
    estimator = updated(features, labels, 4, num_classes=40, size=12)
    assert_close(estimator.dense(), covariance_by_loops(features, labels, 40)[2])


def test_ignored_samples_take_no_slots(normal, monkeypatch):
    monkeypatch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", True)
    features, labels = normal(50, 4), torch.full((50,), -100)
    labels[-8:] = 0  # as many as a class has slots for, behind others that stand with it
    estimator = updated(features, labels, 4, num_classes=40, size=50)
    assert_close(estimator.dense()[0], covariance_by_loops(features[-8:], labels[-8:], 1)[2][0])


def test_samples_beyond_the_slots_count_in_the_variances(normal, monkeypatch):
    monkeypatch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", True)
    features, labels = normal(32, 3), torch.full((32,), 2)  # 8 slots
    estimator = updated(features, labels, 3, num_classes=40, size=32)
    exact = covariance_by_loops(features, labels, 40)[2]
    assert_certified(estimator, exact, normal(30, 3))
    assert 0.1 < estimator.captured()[2] < 0.6


def test_merging_keeps_the_certificate(normal):
    features, labels = normal(40, 6), torch.arange(40) % 3
    left, right = (
        updated(features[part], labels[part], 2) for part in (slice(0, 25), slice(25, 40))
    )
    left.merge(right)
    assert_certified(left, covariance_by_loops(features, labels, 3)[2], normal(30, 6))


def test_a_rank_out_of_range_is_named():
    assert ClassCovariance(2, 64, "low_rank").rank == 32
    assert ClassCovariance(2, 5, "low_rank").rank == 5
    with pytest.raises(ValueError, match="`rank` <= 3, got 4"):
        ClassCovariance(2, 3, "low_rank", rank=4)
    with pytest.raises(ValueError, match="`rank` >= 1, got 0"):
        ClassCovariance(2, 3, "low_rank", rank=0)
    with pytest.raises(TypeError, match=r"`rank` to be an int, got 2\.0"):
        ClassCovariance(2, 3, "low_rank", rank=2.0)

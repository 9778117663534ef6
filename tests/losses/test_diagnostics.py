"""Tests of semaug.losses.diagnostics."""

from copy import deepcopy

import pytest
import torch
from torch.testing import assert_close

from semaug import ClassCovariance, expected_loss, isda_loss
from semaug.losses import isda_diagnostics

KINDS = ["full", "diagonal", "shared", "identity", "low_rank", "learned"]


@pytest.fixture
def setup(normal):
    """Return a function that makes logits, labels, weight and statistics of a kind."""

    def make(kind="full", num_samples=7):
        estimator = ClassCovariance(4, 3, kind, **({"rank": 2} if kind == "low_rank" else {}))
        estimator = estimator.double()
        features, weight = normal(40, 3), normal(4, 3)
        estimator.update(features * torch.tensor([3.0, 1.0, 0.2]), torch.arange(40) % 4)
        labels = torch.tensor([0, 1, 1, 3, 2, 0, 3])[:num_samples]
        return features[: len(labels)] @ weight.T, labels, weight, estimator

    return make


def by_loops(logits, labels, weight, covariance, strength):
    """Follow the formulas of the module literally."""
    penalties, gaps, changed = [], [], []
    for z, y in zip(logits, labels.tolist(), strict=True):
        difference = weight - weight[y]
        penalty = torch.stack([0.5 * strength * v @ covariance[y] @ v for v in difference])
        spread = (z + penalty).softmax(0) @ difference
        penalties += [p for c, p in enumerate(penalty) if c != y]
        gaps.append(0.5 * strength * spread @ covariance[y] @ spread)
        for c in range(len(z)):
            before, after = ((x > x[c]).sum() for x in (z, z + penalty))
            changed.append(float(before != after))
    return {
        "mean_penalty": torch.stack(penalties).mean(),
        "bound_gap": torch.stack(gaps).mean(),
        "order_changed": torch.tensor(changed).mean().to(logits),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_samples", [1, 7])
def test_numbers_are_those_of_the_formulas(setup, kind, num_samples, either_path):
    logits, labels, weight, estimator = setup(kind, num_samples)
    actual = isda_diagnostics(logits, labels, weight, estimator, 0.8)
    expected = by_loops(logits, labels, weight, estimator.dense(), 0.8)
    assert_close({name: actual[name] for name in expected}, expected)


@pytest.mark.parametrize(("kind", "ranked"), [("full", 4), ("diagonal", 4), ("shared", 1)])
def test_effective_rank_is_a_number_of_directions(setup, kind, ranked):
    *arguments, estimator = setup(kind)
    actual = isda_diagnostics(*arguments, estimator, 1.0)["effective_rank"]
    matrices = estimator.dense()[:ranked]
    eigenvalues = torch.linalg.eigvalsh(matrices)
    if kind == "diagonal":
        eigenvalues = matrices.diagonal(dim1=1, dim2=2)
    expected = eigenvalues.sum(1).square() / eigenvalues.square().sum(1)
    assert_close(actual, expected.mean())
    assert 1 <= actual <= 3


@pytest.mark.parametrize("kind", ["identity", "low_rank", "learned"])
def test_other_kinds_tell_no_rank(setup, kind):
    assert "effective_rank" not in isda_diagnostics(*setup(kind), 1.0)


def test_statistics_without_samples_vary_in_no_direction(setup):
    logits, labels, weight, _ = setup()
    told = isda_diagnostics(logits, labels, weight, ClassCovariance(4, 3).double(), 1.0)
    assert set(map(float, told.values())) == {0.0}


def test_classes_without_samples_are_told(setup):
    *arguments, estimator = setup()
    assert isda_diagnostics(*arguments, estimator, 1.0)["fewest_samples"] == 10
    estimator.count[2] = 0
    assert isda_diagnostics(*arguments, estimator, 1.0)["fewest_samples"] == 0


def test_gap_is_what_the_bound_lies_above_the_expected_loss(setup):
    """To first order: at a small strength, with many draws."""
    logits, labels, weight, estimator = setup()
    strength = 0.02
    bound = isda_loss(logits, labels, weight, estimator.covariance, strength=strength)
    generator = torch.Generator().manual_seed(0)
    told = expected_loss(
        logits, labels, weight, estimator, strength=strength, num_samples=200_000,
        generator=generator,
    )  # fmt: skip
    gap = isda_diagnostics(logits, labels, weight, estimator, strength)["bound_gap"]
    assert_close(bound - told.mean, gap, rtol=0.2, atol=4 * float(told.standard_error))


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_touch_anything(setup, kind):
    *tensors, estimator = setup(kind)
    logits, labels, weight = (x.float() if x.is_floating_point() else x for x in tensors)
    estimator = ClassCovariance(4, 3, kind)
    estimator.update(torch.linspace(-3, 2, 120).cos().view(40, 3), torch.arange(40) % 4)
    expected = isda_diagnostics(logits, labels, weight, estimator, 0.8)
    with torch.autocast("cpu", torch.bfloat16):
        actual = isda_diagnostics(logits, labels, weight, estimator, 0.8)
    assert_close(actual, expected, rtol=0, atol=0)


def test_a_small_gap_keeps_its_digits(setup):
    """Where the network is sure, what moves the logits is the little that other classes get."""
    logits, labels, weight, estimator = setup()
    logits = logits + 12 * torch.eye(4, dtype=torch.float64)[labels]
    gap = by_loops(logits, labels, weight, estimator.covariance, 0.01)["bound_gap"]
    weight = weight + 1000  # of all classes, which no difference sees
    single = isda_diagnostics(logits.float(), labels, weight.float(), estimator.float(), 0.01)
    assert gap < 1e-8
    assert_close(single["bound_gap"].double(), gap, rtol=0.01, atol=0)


def test_one_class_has_nothing_to_lose(normal):
    labels = torch.zeros(3, dtype=torch.int64)
    told = isda_diagnostics(normal(3, 1), labels, normal(1, 2), ClassCovariance(1, 2).double(), 1.0)
    assert set(map(float, told.values())) == {0.0}


def test_nothing_changes_and_nothing_is_drawn(setup):
    *arguments, estimator = setup()
    before, state = deepcopy(estimator.state_dict()), torch.get_rng_state()
    isda_diagnostics(*arguments, estimator, 1.0)
    assert_close(estimator.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_wrong_arguments_are_named(setup):
    logits, labels, weight, estimator = setup()
    with pytest.raises(ValueError, match=r"isda_diagnostics: expected `labels` of shape \(N=7,\)"):
        isda_diagnostics(logits, labels[:3], weight, estimator, 1.0)
    with pytest.raises(
        TypeError, match=r"isda_diagnostics: expected `labels` of dtype torch\.int64"
    ):
        isda_diagnostics(logits, labels.float(), weight, estimator, 1.0)
    with pytest.raises(ValueError, match="isda_diagnostics: expected `weight` of shape"):
        isda_diagnostics(logits, labels, weight[:, :2], estimator, 1.0)
    with pytest.raises(ValueError, match=r"`weight` of shape \(C=3, A\), got \(4, 3\)"):
        isda_diagnostics(logits[:, :3], labels, weight, estimator, 1.0)
    for strength, message in [(-1.0, ">= 0, got -1"), (torch.ones(7), "to be one number, got sh")]:
        with pytest.raises(ValueError, match=f"isda_diagnostics: expected `strength` {message}"):
            isda_diagnostics(logits, labels, weight, estimator, strength)


def test_sharded_statistics_are_refused(setup):
    """Their matrices would meet the samples of other ranks."""
    logits, labels, weight, _ = setup()
    estimator = ClassCovariance(4, 3, sharded=True).double()
    with pytest.raises(ValueError, match="expected an `estimator` with sharded=False"):
        isda_diagnostics(logits, labels, weight, estimator, 1.0)

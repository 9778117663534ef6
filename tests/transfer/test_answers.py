"""Tests of semaug.transfer.answers."""

import pytest
import torch

from semaug.transfer import TEST_SETS
from semaug.transfer.answers import Sums, count_correct, symmetric_divergence


def test_divergence_of_distant_predictions_is_finite_and_of_equal_ones_zero():
    logits = torch.tensor([[0.0, 1000.0, -1000.0], [1.0, 2.0, 3.0]])
    divergence = symmetric_divergence(logits, logits.roll(1, dims=1))
    assert divergence.isfinite().all()
    assert (divergence > 0).all()
    assert torch.equal(symmetric_divergence(logits, logits + 4), torch.zeros(2).double())


def test_the_highest_logit_counts():
    logits = torch.tensor([[0.0, 1.0], [3.0, 2.0], [0.0, 5.0]])
    labels = torch.tensor([1, 1, 1])
    assert count_correct(logits, labels) == 2
    assert count_correct(torch.stack([logits, -logits]), labels).tolist() == [2, 1]


def test_batches_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(0)
    answers = {
        name: (torch.randn(10, 3, generator=generator), torch.randn(10, 4, generator=generator))
        for name in TEST_SETS
    }
    labels = torch.arange(10) % 3
    whole, parts = Sums(), Sums()
    whole.add(answers, labels)
    for rows in torch.arange(10).split(4):
        parts.add({name: (a[rows], b[rows]) for name, (a, b) in answers.items()}, labels[rows])
    one, other = whole.means(), parts.means()
    assert one.accuracies == other.accuracies
    assert one.divergences == pytest.approx(other.divergences)
    assert one.distances == pytest.approx(other.distances)
    first, second = answers["original"][1], answers["random_crop"][1]
    mean = float((first - second).norm(dim=1).mean())
    assert one.distances["original,random_crop"] == pytest.approx(mean)


def test_without_features_there_are_no_distances():
    answers = {name: (torch.zeros(2, 3), None) for name in TEST_SETS}
    sums = Sums()
    sums.add(answers, torch.tensor([0, 1]))
    found = sums.means()
    assert found.distances is None
    assert found.accuracies["grayscale"] == 50.0
    assert set(found.divergences.values()) == {0.0}

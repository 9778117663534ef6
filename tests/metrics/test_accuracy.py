"""Tests of semaug.metrics.accuracy."""

import pytest
import torch

from semaug.errors import UserError
from semaug.metrics import Accuracy, BalancedAccuracy, Error, TopKError
from semaug.registry import Sizes, metrics
from tests.metrics.batches import NUM_CLASSES, filled
from tests.references.metrics import errors_by_loops, top_k_error_by_loops


def test_error_is_that_of_the_loops(batch):
    error = filled(Error(NUM_CLASSES), batch)
    assert error.compute() == top_k_error_by_loops(*batch)
    assert error.by_class() == errors_by_loops(*batch)
    assert error.by_class()[4] is None


def test_accuracy_is_what_the_error_leaves(batch):
    error, accuracy = (filled(make(NUM_CLASSES), batch) for make in (Error, Accuracy))
    assert accuracy.compute() == pytest.approx(100 - error.compute())
    for right, wrong in zip(accuracy.by_class(), error.by_class(), strict=True):
        assert right is wrong is None or right == pytest.approx(100 - wrong)


def test_balanced_accuracy_is_the_mean_over_classes_with_labels(batch):
    errors = [error for error in errors_by_loops(*batch) if error is not None]
    expected = 100 - sum(errors) / len(errors)
    assert filled(BalancedAccuracy(NUM_CLASSES), batch).compute() == pytest.approx(expected)


def test_balanced_accuracy_of_always_the_same_class_is_chance():
    outputs, labels = torch.eye(2)[[0] * 10], torch.tensor([0] * 9 + [1])
    assert filled(Accuracy(2), (outputs, labels)).compute() == 90
    assert filled(BalancedAccuracy(2), (outputs, labels)).compute() == 50


@pytest.mark.parametrize("k", [1, 2, 5, NUM_CLASSES])
def test_labels_outside_of_the_best_are_errors(batch, k):
    error = filled(TopKError(NUM_CLASSES, k), batch)
    assert error.compute() == top_k_error_by_loops(*batch, k)
    assert error.name == f"top{k}_error"


def test_255_is_a_class_where_there_are_so_many():
    error = filled(Error(1000), (torch.eye(1000)[[254, 255]], torch.tensor([255, 255])))
    assert error.compute() == 50.0


def test_half_precision_outputs_are_counted(batch):
    outputs, labels = batch
    expected = filled(Error(NUM_CLASSES), (outputs.bfloat16().float(), labels))
    assert filled(Error(NUM_CLASSES), (outputs.bfloat16(), labels)).compute() == expected.compute()


def test_more_guesses_than_classes_are_refused():
    with pytest.raises(ValueError, match="TopKError: expected `k` <= 4, got 5"):
        TopKError(4)
    with pytest.raises(ValueError, match="TopKError: expected `k` >= 1, got 0"):
        TopKError(4, 0)


def test_five_guesses_among_fewer_classes_are_refused():
    with pytest.raises(UserError, match="metric top5_error: TopKError: expected `k` <= 4, got 5"):
        metrics.make("top5_error").build(Sizes(num_classes=4))

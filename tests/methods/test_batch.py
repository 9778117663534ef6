"""Tests of semaug.methods.batch."""

import pytest
import torch
from torch.testing import assert_close

from semaug.methods import Batch, Samples, StepOutput, Term

IMAGES, LABELS = torch.zeros(2, 3, 4, 4), torch.tensor([1, 0])


def test_streams_have_names():
    labeled, unlabeled = Samples(IMAGES, LABELS), Samples(IMAGES)
    batch = Batch({"labeled": labeled, "unlabeled": unlabeled, "more": unlabeled}, step=7)
    assert batch.labeled is labeled
    assert batch.unlabeled is batch.streams["more"] is unlabeled
    assert batch.step == 7
    alone = Batch.of(IMAGES, LABELS)
    assert (alone.step, alone.streams.keys()) == (0, {"labeled"})


def test_targets_of_mixed_images_stand_for_their_labels():
    targets = torch.rand(2, 3)
    assert Batch.of(IMAGES, LABELS).labeled.wanted is LABELS
    assert Batch.of(IMAGES, LABELS, targets).labeled.wanted is targets
    with pytest.raises(AssertionError, match="nothing to learn from a label"):
        _ = Samples(IMAGES).wanted


def test_the_loss_is_the_sum_of_its_terms():
    one, other = (torch.tensor(value, requires_grad=True) for value in (2.0, 3.0))
    assert StepOutput({"loss": Term(one)}).loss is one
    both = StepOutput({"supervised": Term(one), "consistency": Term(0.5 * other, "unlabeled")})
    assert_close(both.loss, torch.tensor(3.5))
    both.loss.backward()
    assert (one.grad, other.grad) == (1.0, 0.5)

"""Tests of semaug.training.evaluate."""

import pytest
import torch

from semaug.methods import Batch
from semaug.training.evaluate import count_wrong


@pytest.fixture
def images():
    """Ten images whose first pixel is their class, but for three, and their labels."""
    labels = torch.arange(10) % 4
    pixels = labels.clone()
    pixels[[2, 5, 9]] = (labels[[2, 5, 9]] + 1) % 4
    return pixels.view(10, 1, 1, 1).repeat(1, 3, 2, 2).float(), labels


def batches(images, size):
    return map(Batch, *(tensor.split(size) for tensor in images))


def predict(pixels):
    return torch.nn.functional.one_hot(pixels[:, 0, 0, 0].long(), 4).float()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_counts_do_not_depend_on_the_batch(images, batch_size):
    assert count_wrong(predict, batches(images, batch_size)) == 3


def test_without_images_nothing_is_wrong():
    assert count_wrong(predict, []) == 0


def test_stops_when_asked(images):
    seen = []

    def predict_and_note(pixels):
        seen.append(len(pixels))
        return predict(pixels)

    count_wrong(predict_and_note, batches(images, 2), stop=lambda: len(seen) == 2)
    assert seen == [2, 2]


def test_keeps_no_gradients(images):
    def predict_with_gradient(pixels):
        assert not torch.is_grad_enabled()
        return predict(pixels)

    count_wrong(predict_with_gradient, batches(images, 10))

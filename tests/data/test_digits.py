"""Tests of semaug.data.digits."""

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits
from torch.testing import assert_close

from semaug.data import load_data


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def test_every_image_of_scikit_learn_is_there_in_its_order(digits):
    assert (len(digits.train), len(digits.test)) == (1000, 797)
    labels = torch.cat([digits.train.labels, digits.test.labels])
    images = torch.cat([digits.train.images, digits.test.images])
    assert labels.tolist() == sklearn_digits().target.tolist()
    levels = images[:, 0].double() * 16 / 255
    np.testing.assert_array_equal(levels.round(), sklearn_digits().images)
    assert digits.train.images.shape[2:] == (8, 8)
    assert digits.train.classes == tuple("0123456789")


def test_grey_levels_fill_the_range_in_three_equal_channels(digits):
    images = digits.train.images
    assert (images.min(), images.max()) == (0, 255)
    assert len(images.unique()) == 17
    assert (images == images[:, :1]).all()
    assert images.shape == (1000, 3, 8, 8)


def test_both_parts_hold_every_class_about_equally(digits):
    assert torch.bincount(digits.train.labels).min() >= 98
    assert torch.bincount(digits.test.labels).min() >= 76


def test_the_constants_are_those_of_the_training_images(digits):
    pixels = digits.train.images.double() / 255
    assert_close(digits.mean, (pixels.mean().item(),) * 3, atol=5e-9, rtol=0)
    assert_close(digits.std, (pixels.std(correction=0).item(),) * 3, atol=5e-9, rtol=0)


def test_a_missing_scikit_learn_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"install it with: pip install .*\[train\]"):
        load_data("digits")

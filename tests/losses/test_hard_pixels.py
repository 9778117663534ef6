"""Tests of semaug.losses.hard_pixels."""

import pytest
import torch

from semaug.losses import hard_pixels
from tests.references.segmentation import hard_pixels_by_loops


@pytest.fixture
def pixels():
    """Losses and labels of two images of 17 x 33 pixels, 30 of them in the sample."""
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(2, 17, 33, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (2, 17, 33), generator=generator)
    labels[:, :5, ::3] = -100
    return losses, labels


@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("kept", [0, 63, 64, 64 * 10, 64 * 24, 64 * 26, 64 * 30, 10**6])
def test_matches_the_rule(pixels, threshold, kept):
    options = {"threshold": threshold, "kept": kept}
    expected = hard_pixels_by_loops(*pixels, **options)
    assert torch.equal(hard_pixels(*pixels, **options), expected)


def test_of_ignored_pixels_none_counts(pixels):
    losses, labels = pixels
    nothing = torch.full_like(labels, -100)
    assert not hard_pixels(losses, nothing).any()
    ignored = labels.masked_fill(labels == 1, 255)
    assert torch.equal(
        hard_pixels(losses, ignored, kept=640, ignore_index=255),
        hard_pixels_by_loops(losses, ignored, threshold=0.6, kept=640, ignore_index=255),
    )


def test_wrong_arguments_are_named(pixels):
    losses, labels = pixels
    with pytest.raises(ValueError, match=r"hard_pixels: expected `labels` of shape \(N=2, H=17"):
        hard_pixels(losses, labels[:, :3])
    with pytest.raises(TypeError, match=r"hard_pixels: expected `labels` of dtype torch.int64"):
        hard_pixels(losses, losses)
    with pytest.raises(ValueError, match="expected `threshold` >= 0, got -1"):
        hard_pixels(losses, labels, threshold=-1)
    with pytest.raises(ValueError, match="expected `kept` >= 1, got -1"):
        hard_pixels(losses, labels, kept=-1)

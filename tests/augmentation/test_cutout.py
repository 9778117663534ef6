"""Tests of semaug.augmentation.cutout."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semaug.augmentation import Cutout, normalize


def cutout_by_images(images, draws, size, fill):
    """Fill the square of one image after the other, as far as it lies inside."""
    images = images.clone()
    height, width = images.shape[-2:]
    for image, (y, x) in zip(images, draws.tolist(), strict=True):
        top, left = int(y * height) - size // 2, int(x * width) - size // 2
        square = image[:, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)]
        square.copy_(torch.tensor(fill).view(-1, 1, 1))
    return images


@given(
    size=st.integers(1, 25),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
    fill=st.sampled_from([(0,), (7, 200, 255)]),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.float64, torch.bfloat16]),
    seed=st.integers(0, 1000),
)
def test_fills_one_square_in_each_image(size, height, width, channels, fill, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (8, channels, height, width), generator=generator).to(dtype)
    fill = fill[:channels]
    augment = Cutout(size, fill if len(fill) == channels else fill[0])
    draws = augment.draw(8, generator)
    before = images.clone()
    actual = augment(images, draws)
    assert actual.dtype == dtype
    assert_close(actual, cutout_by_images(images, draws, size, fill), rtol=0, atol=0)
    assert_close(images, before, rtol=0, atol=0)


@pytest.mark.parametrize("size", [2, 8, 16])
def test_an_even_size_is_the_square_of_the_paper(size, generator):
    """The paper's code: from ``clip(y - size // 2, 0, h)`` to ``clip(y + size // 2, 0, h)``."""
    images = torch.ones(200, 1, 32, 32)
    augment = Cutout(size)
    draws = augment.draw(200, generator)
    for image, (y, x) in zip(augment(images, draws), (draws * 32).long().tolist(), strict=True):
        y1, y2 = (min(max(y + shift, 0), 32) for shift in (-(size // 2), size // 2))
        x1, x2 = (min(max(x + shift, 0), 32) for shift in (-(size // 2), size // 2))
        expected = torch.ones(1, 32, 32)
        expected[:, y1:y2, x1:x2] = 0
        assert_close(image, expected)


def test_every_middle_is_equally_likely(generator):
    images = torch.ones(40_000, 1, 8, 5)
    augment = Cutout(1)
    holes = (augment(images, augment.draw(40_000, generator)) == 0).flatten(1)
    assert (holes.sum(dim=1) == 1).all()
    statistic = ((holes.sum(dim=0) - 1000.0) ** 2 / 1000).sum()
    assert abs(statistic - 39) < 5 * (2 * 39) ** 0.5


def test_filling_bytes_with_the_mean_is_nearly_zero_after_normalization(images, generator):
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.262)
    fill = tuple(round(255 * x) for x in mean)
    draws = Cutout(6).draw(len(images), generator)
    before = normalize(Cutout(6, fill)(images, draws), mean, std)
    after = Cutout(6)(normalize(images, mean, std), draws)
    assert (before - after).abs().max() <= 0.5 / 255 / min(std)


def test_wrong_arguments_are_named(images):
    draws = torch.rand(40, 2)
    with pytest.raises(ValueError, match="Cutout: expected `size` >= 1, got 0"):
        Cutout(0)
    with pytest.raises(TypeError, match=r"Cutout: expected `size` to be an int, got 1\.5"):
        Cutout(1.5)
    with pytest.raises(TypeError, match="Cutout: expected `size` to be an int, got True"):
        Cutout(True)
    for fill in ([1, 2, 3], "grey", True, (0, False, 0)):
        with pytest.raises(TypeError, match="Cutout: expected `fill` to be a number or a tuple"):
            Cutout(4, fill)
    with pytest.raises(ValueError, match=r"Cutout: expected finite `fill`, got \(0, nan\)"):
        Cutout(4, (0, float("nan")))
    with pytest.raises(ValueError, match=r"`fill` for each of 3 channels, got \(1, 2\)"):
        Cutout(4, (1, 2))(images, draws)
    for fill in (256, -1, 0.5):
        with pytest.raises(ValueError, match="whole numbers from 0 to 255 for images of bytes"):
            Cutout(4, fill)(images, draws)
    with pytest.raises(ValueError, match=r"Cutout: expected `draws` of shape \(N=40, 2\)"):
        Cutout(4)(images, draws[:, :1])
    with pytest.raises(TypeError, match="Cutout: expected `draws` of a floating-point dtype"):
        Cutout(4)(images, draws.long())

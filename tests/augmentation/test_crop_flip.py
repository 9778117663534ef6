"""Tests of semaug.augmentation.crop_flip."""

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch.testing import assert_close

from semaug.augmentation import CropFlip, Translate

TORCHVISION_MODE = {"zero": "constant", "reflect": "reflect"}


def crop_flip_by_images(images, draws, augment):
    """Pad, crop and mirror one image after the other with torchvision."""
    side = 2 * augment.padding + 1
    rows = []
    for image, (top, left, flip) in zip(images, draws.tolist(), strict=True):
        image = TF.pad(image, augment.padding, padding_mode=TORCHVISION_MODE[augment.padding_mode])
        image = TF.crop(image, int(top * side), int(left * side), *images.shape[-2:])
        rows.append(TF.horizontal_flip(image) if augment.flip and flip < 0.5 else image)
    return torch.stack(rows)


@pytest.mark.parametrize("padding_mode", ["zero", "reflect"])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_equals_torchvision_image_by_image(images, generator, padding_mode, padding, flip, dtype):
    augment = CropFlip(padding, padding_mode, flip)
    draws = augment.draw(len(images), generator)
    actual = augment(images.to(dtype), draws)
    assert actual.dtype == dtype
    assert_close(actual, crop_flip_by_images(images.to(dtype), draws, augment), rtol=0, atol=0)


def test_every_place_and_flip_is_equally_likely(generator):
    """Chi-squared over 9 x 9 x 2 decisions, seen on images whose pixels tell their place."""
    count = 81 * 2 * 200
    place = torch.arange(1, 82, dtype=torch.uint8).view(1, 1, 9, 9).expand(count, 1, 9, 9)
    augment = CropFlip(padding=4)
    seen = augment(place, augment.draw(count, generator))
    middle = seen[:, 0, 4, 4].long() - 1  # which pixel has come to the middle: 81 places
    flipped = seen[:, 0, 4, 3] > seen[:, 0, 4, 4]  # ambiguous where a neighbor is padding
    neighbor_inside = (middle % 9 > 0) & (middle % 9 < 8)
    assert_chi_squared(torch.bincount(middle, minlength=81))
    decisions = 2 * (middle // 9 * 7 + middle % 9 - 1) + flipped
    assert_chi_squared(torch.bincount(decisions[neighbor_inside], minlength=126))


def assert_chi_squared(counts):
    """Assert that counts are within five standard deviations of what equal chances give."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_the_largest_draw_stays_inside_the_padding(images):
    largest = torch.full((40, 3), 1 - 2**-24)
    augment = CropFlip(padding=3)
    assert_close(augment(images, largest), crop_flip_by_images(images, largest, augment))


@pytest.mark.parametrize("padding_mode", ["zero", "reflect"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_shift_is_torchvisions_image_by_image(images, generator, padding_mode, dtype):
    augment = Translate(2, padding_mode)
    draws = augment.draw(len(images), generator)
    assert draws.shape == (40, 2)
    actual = augment(images.to(dtype), draws)
    for row, image, (y, x) in zip(actual, images.to(dtype), draws.tolist(), strict=True):
        down, right = 2 - int(y * 5), 2 - int(x * 5)
        sides = [max(right, 0), max(down, 0), max(-right, 0), max(-down, 0)]
        padded = TF.pad(image, sides, padding_mode=TORCHVISION_MODE[padding_mode])
        expected = TF.crop(padded, max(-down, 0), max(-right, 0), 12, 10)
        assert_close(row, expected, rtol=0, atol=0)


@pytest.mark.parametrize("padding_mode", ["zero", "reflect"])
@pytest.mark.parametrize("make", [CropFlip, Translate])
def test_labels_move_with_their_pixels(generator, make, padding_mode):
    masks = torch.randint(0, 255, (40, 12, 10), dtype=torch.uint8, generator=generator)
    augment = make(3, padding_mode)
    draws = augment.draw(40, generator)
    moved = augment.move(masks, draws)
    seen = augment((masks + 1).unsqueeze(1), draws).squeeze(1)  # 0 comes from outside
    assert_close(moved, torch.where(seen == 0, 255, seen - 1), rtol=0, atol=0)
    assert (moved == 255).any() == (padding_mode == "zero")


@pytest.mark.parametrize("make", [CropFlip, Translate])
def test_masks_that_do_not_fit_are_refused(make):
    augment, name = make(3), make.__name__
    draws, masks = torch.rand(4, augment.num_draws), torch.zeros(4, 12, 10, dtype=torch.uint8)
    for dtype in (torch.float32, torch.bool, torch.int8, torch.complex64):
        with pytest.raises(
            TypeError, match=rf"{name}: .* integer dtype that holds 255, got {dtype}"
        ):
            augment.move(masks.to(dtype), draws)
    with pytest.raises(TypeError, match="expected `draws` of a floating-point dtype"):
        augment.move(masks, draws.long())
    with pytest.raises(ValueError, match=rf"{name}: expected `masks` of shape \(N, H, W\)"):
        augment.move(masks.unsqueeze(1), draws)
    with pytest.raises(ValueError, match=rf"{name}: expected .* at most .* for 2 x 2 pixels"):
        augment.move(masks[:, :2, :2], draws)


def test_every_shift_is_equally_likely(generator):
    place = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5).expand(10_000, 1, 5, 5)
    augment = Translate(2)
    middle = augment(place, augment.draw(10_000, generator))[:, 0, 2, 2]
    assert_chi_squared(torch.bincount(middle, minlength=25))


@pytest.mark.parametrize("augment", [CropFlip(0, flip=False), Translate(0)])
def test_no_padding_leaves_images_as_they_are(images, generator, augment):
    result = augment(images, augment.draw(len(images), generator))
    assert result.equal(images)
    assert result.data_ptr() != images.data_ptr()


def test_wrong_draws_are_named(images):
    with pytest.raises(ValueError, match=r"`draws` of shape \(N=40, 3\), got \(39, 3\)"):
        CropFlip()(images, torch.rand(39, 3))
    with pytest.raises(TypeError, match="`draws` of a floating-point dtype"):
        CropFlip()(images, torch.zeros(40, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"Translate: .* of shape \(N=40, 2\), got \(40, 3\)"):
        Translate()(images, torch.rand(40, 3))
    with pytest.raises(TypeError, match="Translate: expected `draws` of a floating-point dtype"):
        Translate()(images, torch.zeros(40, 2, dtype=torch.int64))


def test_a_reflection_wider_than_the_image_is_refused(images):
    with pytest.raises(ValueError, match="got padding 10 for 12 x 10 pixels"):
        CropFlip(padding=10, padding_mode="reflect")(images, torch.rand(40, 3))
    with pytest.raises(ValueError, match=r"Translate: expected `pixels` .* got pixels 10 for"):
        Translate(pixels=10, padding_mode="reflect")(images, torch.rand(40, 2))


@pytest.mark.parametrize("size", [100_000, 13])
def test_padding_by_more_than_the_image_is_refused(images, size):
    with pytest.raises(ValueError, match=rf"CropFlip: expected `padding` at most .* {size} for 12"):
        CropFlip(size)(images, torch.rand(40, 3))
    with pytest.raises(ValueError, match=rf"Translate: expected `pixels` at most .* {size} for 12"):
        Translate(size)(images, torch.rand(40, 2))
    for augment in (CropFlip(size, "reflect"), Translate(size, "reflect")):
        with pytest.raises(ValueError, match=f"below the size .* {size} for 12 x 10 pixels"):
            augment(images, torch.rand(40, augment.num_draws))


def test_padding_by_the_longer_side_is_allowed(images, generator):
    augment = CropFlip(12)
    draws = augment.draw(40, generator)
    expected = crop_flip_by_images(images, draws, augment)
    assert_close(augment(images, draws), expected, rtol=0, atol=0)


def test_settings_of_other_types_are_named():
    for value in (2.5, True, "4", None):
        with pytest.raises(TypeError, match=f"CropFlip: .*`padding` to be an int, got {value!r}"):
            CropFlip(value)
        with pytest.raises(TypeError, match=f"Translate: .*`pixels` to be an int, got {value!r}"):
            Translate(value)
    for value in ("no", 1, None):
        with pytest.raises(TypeError, match=f"CropFlip: .*`flip` to be a bool, got {value!r}"):
            CropFlip(flip=value)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="`padding` >= 0, got -1"):
        CropFlip(padding=-1)
    with pytest.raises(ValueError, match="one of 'zero', 'reflect'; got 'edge'"):
        CropFlip(padding_mode="edge")
    with pytest.raises(ValueError, match="Translate: expected `pixels` >= 0, got -1"):
        Translate(-1)
    with pytest.raises(ValueError, match=r"Translate: .* one of 'zero', 'reflect'; got 'edge'"):
        Translate(2, "edge")

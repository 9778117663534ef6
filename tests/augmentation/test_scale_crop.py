"""Tests of semaug.augmentation.scale_crop."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug.augmentation import RandomScaleCrop
from semaug.augmentation.scale_crop import CropView
from semaug.data.views import SeveralViews

SIZES = [(8, 8), (12, 10), (5, 24), (30, 7)]
SCALES = [(0.5, 2.0), (0.2, 0.6), (1.5, 3.0), (1.0, 1.0)]


def scale_crop_by_images(images, masks, draws, augment):
    """Resize, pad and crop one image after the other with the operators of torch."""
    height, width = augment.size
    crops, mask_crops = [], []
    for image, mask, (scale, top, left, flip) in zip(images, masks, draws, strict=True):
        low, high = augment.scale
        factor = low + (high - low) * scale
        size = [max(1, int((side * factor).round())) for side in image.shape[1:]]
        image = F.interpolate(image[None].float(), size, mode="bilinear")[0]
        rows, columns = (
            [(2 * i + 1) * old // (2 * new) for i in range(new)]
            for old, new in zip(mask.shape, size, strict=True)
        )
        mask = mask[rows][:, columns]
        crop = torch.tensor(augment.fill).view(-1, 1, 1).repeat(1, height, width).float()
        mask_crop = torch.full((height, width), 255.0)
        for y in range(height):
            for x in range(width):
                row, column = (
                    place + int(draw * (abs(gap) + 1)) * (1 if gap > 0 else -1)
                    for place, draw, gap in ((y, top, size[0] - height), (x, left, size[1] - width))
                )
                if 0 <= row < size[0] and 0 <= column < size[1]:
                    crop[:, y, x] = image[:, row, column]
                    mask_crop[y, x] = mask[row, column]
        if augment.flip and flip < 0.5:
            crop, mask_crop = crop.flip(-1), mask_crop.flip(-1)
        crops.append(crop)
        mask_crops.append(mask_crop)
    return torch.stack(crops), torch.stack(mask_crops)


@pytest.fixture
def masks(generator):
    return torch.randint(0, 5, (40, 12, 10), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
def test_each_image_is_resized_and_cropped_by_its_own_draws(
    images, masks, generator, size, scale, flip
):
    augment = RandomScaleCrop(size, scale, flip, fill=(1, 2, 3))
    draws = augment.draw(len(images), generator)
    expected, expected_masks = scale_crop_by_images(images, masks, draws, augment)
    assert_close(augment(images.float(), draws), expected, rtol=0, atol=1e-3)
    assert_close(augment(images, draws).float(), expected, rtol=0, atol=0.5 + 1e-3)
    assert_close(augment.move(masks, draws), expected_masks.byte(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_masks_of_all_dtypes_move_alike(masks, generator, dtype):
    augment = RandomScaleCrop(9)
    draws = augment.draw(len(masks), generator)
    moved = augment.move(masks.to(dtype), draws)
    assert moved.dtype == dtype
    assert_close(moved, augment.move(masks, draws).to(dtype))


def test_an_image_of_the_size_of_the_crop_stays_as_it_is_at_scale_one(images, masks, generator):
    augment = RandomScaleCrop((12, 10), (1.0, 1.0), flip=False)
    draws = augment.draw(len(images), generator)
    assert_close(augment(images, draws), images, rtol=0, atol=0)
    assert_close(augment.move(masks, draws), masks, rtol=0, atol=0)


def test_masks_are_resized_as_torch_does_with_nearest_pixels(generator):
    masks = torch.randint(0, 5, (3, 37, 53), dtype=torch.uint8, generator=generator)
    augment = RandomScaleCrop((20, 41), (20 / 37, 20 / 37), flip=False)
    moved = augment.move(masks, torch.zeros(3, 4))[:, :, :29]
    expected = F.interpolate(masks.unsqueeze(1), (20, 29), mode="nearest-exact").squeeze(1)
    assert_close(moved, expected, rtol=0, atol=0)


def test_pixels_and_labels_go_to_the_same_places(generator):
    """Of blocks of one color each, the middle of a block has its own label."""
    masks = torch.randint(0, 8, (20, 6, 6), dtype=torch.uint8, generator=generator)
    masks = masks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    images = masks.unsqueeze(1).repeat(1, 3, 1, 1)
    augment = RandomScaleCrop(40, (0.7, 1.6), fill=255)
    draws = augment.draw(20, generator)
    moved = augment.move(masks, draws)
    same = augment(images, draws)[:, 0] == moved
    assert same.float().mean() > 0.6
    assert torch.equal(augment(images, draws)[:, 0] == 255, moved == 255)


def test_scales_and_places_are_spread_over_their_ranges():
    position = torch.arange(64).float().view(1, 1, 1, 64).expand(2000, 1, 64, 64)
    augment = RandomScaleCrop(16, (1.0, 2.0), flip=False)
    crops = augment(position, augment.draw(2000, torch.Generator().manual_seed(0)))
    step = crops[:, 0, 0, 9] - crops[:, 0, 0, 8]  # of the image for a pixel of the crop
    assert abs((1 / step).mean() - 1.5) < 0.03
    assert step.min() >= 0.5 - 1e-4
    assert step.max() <= 1 + 1e-4
    middle = crops[:, 0, 0, :].mean(1)
    assert abs(middle.mean() - 31.5) < 1
    assert (middle.min() < 8, middle.max() > 55) == (True, True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 0}, ValueError, "RandomScaleCrop: expected `size` >= 1, got 0"),
        ({"size": 8.0}, TypeError, r"expected `size` to be an int, got 8\.0"),
        ({"size": (8, 8, 8)}, ValueError, r"expected two numbers `size`, got \(8, 8, 8\)"),
        ({"scale": 2}, ValueError, "RandomScaleCrop: expected two numbers `scale`, got 2"),
        ({"scale": (2, 1)}, ValueError, r"`scale` with 0 < lowest <= highest, got \(2, 1\)"),
        ({"scale": (0, 1)}, ValueError, r"`scale` with 0 < lowest <= highest, got \(0, 1\)"),
        ({"scale": ("x", 1)}, TypeError, "expected `scale` to be a number, got 'x'"),
        ({"flip": 1}, TypeError, "expected `flip` to be a bool, got 1"),
        ({"fill": "red"}, TypeError, "RandomScaleCrop: expected `fill` to be a number or a tuple"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        RandomScaleCrop(**{"size": 8, **options})


def test_wrong_batches_are_refused(images, masks):
    augment, draws = RandomScaleCrop(8, fill=(1, 2)), torch.rand(40, 4)
    with pytest.raises(ValueError, match="RandomScaleCrop: expected `fill` for each of 3 channels"):
        augment(images, draws)
    with pytest.raises(TypeError, match=r"bytes or of a floating-point dtype, got torch\.int64"):
        augment(images.long(), draws)
    with pytest.raises(ValueError, match=r"`draws` of shape \(N=40, 4\), got \(40, 3\)"):
        augment(images, draws[:, :3])
    with pytest.raises(TypeError, match="RandomScaleCrop: expected `masks` of an integer dtype"):
        augment.move(masks.float(), draws)


def test_factors_have_steps(generator):
    augment = RandomScaleCrop(4, (0.7, 2.1), step=0.1)
    draws = torch.linspace(0, 1 - 1e-6, 301).unsqueeze(1).repeat(1, 4)
    (_, resized), _ = augment._crops(draws, (100, 100))
    assert resized.unique().tolist() == [*range(70, 211, 10)]
    counts = torch.bincount(resized.flatten() // 10)[7:]
    assert counts.max() - counts.min() <= 1


def test_every_second_image_is_turned_about_its_middle():
    """A quarter turn of a square is exact, clockwise for the highest angle."""
    augment = RandomScaleCrop(6, (1.0, 1.0), flip=False, rotation=90)
    image = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6)
    for chance, turns in ((0.5 - 1e-7, -1), (0.0, 1), (0.25, 0), (0.9, 0)):
        draws = torch.tensor([[0.0, 0.0, 0.0, 0.9, chance]])
        expected = image.rot90(turns, (2, 3))
        assert_close(augment(image, draws), expected, rtol=0, atol=1)
        assert_close(augment.move(image[:, 0], draws), expected[:, 0], rtol=0, atol=0)


def test_what_comes_in_by_a_turn_has_no_class():
    augment = RandomScaleCrop(8, (1.0, 1.0), flip=False, fill=7, rotation=45)
    draws = torch.tensor([[0.0, 0.0, 0.0, 0.9, 0.0]])
    image = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    turned, mask = augment(image, draws), augment.move(image[:, 0] * 0, draws)
    assert mask[0, 0, 0] == 255
    assert mask[0, 4, 4] == 0
    assert (turned[0, :, mask[0] == 255] == 7).all()
    assert (turned[0, :, mask[0] == 0] == 200).all()


@pytest.mark.parametrize("name", ["step", "rotation"])
def test_steps_and_angles_are_not_negative(name):
    with pytest.raises(ValueError, match=f"RandomScaleCrop: expected `{name}` >= 0"):
        RandomScaleCrop(4, **{name: -1})


def test_a_view_crops_an_image_and_its_mask_alike():
    crop = RandomScaleCrop(5, (0.5, 2.0), fill=9, rotation=20)
    view, draws = CropView(crop, shorter_side=8), torch.rand(20, 5)
    image = torch.zeros(3, 16, 24, dtype=torch.uint8)
    image[:, :, 12:] = 200
    mask = (image[0] > 0).byte()
    assert view.num_draws == 5
    for row in draws:
        seen, moved = view(image, row), view.move(mask, row)
        assert seen.shape == (3, 5, 5)
        assert moved.shape == (5, 5)
        assert (seen[:, moved == 255] == 9).all()
        assert ((seen[0] > 100) == (moved == 1))[moved < 255].float().mean() > 0.7
    small = CropView(RandomScaleCrop(8, (1.0, 1.0), flip=False), 8)
    assert small(image, torch.zeros(4)).shape == (3, 8, 8)


# A limit for one class.


def places_by_images(masks, draws, augment):
    """Try one place of the crop of one image after the other; return the draws that are used."""
    unlimited = replace(augment, max_class_share=1)
    first = unlimited.num_draws
    chosen = draws.clone()
    for mask, row in zip(masks, chosen, strict=True):
        for place in row[first:].clone().split(2):
            crop = unlimited.move(mask[None], row[None, :first])
            counts = crop[crop != 255].unique(return_counts=True)[1].tolist()
            if len(counts) > 1 and max(counts) / sum(counts) < augment.max_class_share:
                break
            row[1:3] = place
    return chosen


@pytest.fixture
def regions(generator):
    """Return masks ``(40, 24, 24)`` with large regions of four classes and of none."""
    coarse = torch.tensor([0, 1, 2, 3, 255], dtype=torch.uint8)
    coarse = coarse[torch.randint(0, 5, (40, 3, 3), generator=generator)]
    return coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.mark.parametrize("rotation", [0, 30])
@pytest.mark.parametrize("share", [0.6, 0.75, 0.99])
def test_a_crop_that_one_class_fills_moves(regions, generator, share, rotation):
    augment = RandomScaleCrop(6, (0.9, 1.2), rotation=rotation, max_class_share=share)
    draws = augment.draw(len(regions), generator)
    chosen = augment.choose_draws(regions, draws)
    assert_close(chosen, places_by_images(regions, draws, augment), rtol=0, atol=0)
    moved = (chosen != draws).any(dim=1)
    assert 0 < moved.sum() < 40
    assert_close(chosen[:, 3:], draws[:, 3:], rtol=0, atol=0)
    assert_close(chosen[:, 0], draws[:, 0], rtol=0, atol=0)


def test_a_crop_without_a_better_place_is_an_eleventh(generator):
    augment = RandomScaleCrop(6, max_class_share=0.75)
    draws = augment.draw(2, generator)
    for number in (1, 255):  # a single class, and none
        chosen = augment.choose_draws(torch.full((2, 24, 24), number), draws)
        assert_close(chosen[:, 1:3], draws[:, -2:], rtol=0, atol=0)


def test_without_a_limit_all_crops_are_taken(regions, generator):
    augment = RandomScaleCrop(6)
    draws = augment.draw(len(regions), generator)
    assert augment.choose_draws(regions, draws) is draws
    assert torch.equal(
        CropView(augment, shorter_side=12).choose_draws(regions[0], draws[0]), draws[0]
    )


@pytest.mark.parametrize("share", [0, -0.5, 1.5])
def test_the_limit_is_a_share(share):
    message = r"RandomScaleCrop: expected 0 < `max_class_share` <= 1, got"
    with pytest.raises(ValueError, match=message):
        RandomScaleCrop(4, max_class_share=share)


def test_a_view_chooses_by_the_mask_at_its_size(regions, generator):
    augment = RandomScaleCrop(6, (1.0, 1.0), max_class_share=0.75)
    view = CropView(augment, shorter_side=12)
    for mask in regions[:10]:
        draws = view.draw(1, generator)[0]
        smaller = mask[None, 1::2, 1::2]
        expected = places_by_images(smaller, draws[None], augment)[0]
        assert_close(view.choose_draws(mask, draws), expected, rtol=0, atol=0)
        several = SeveralViews(view, 2)
        both = several.choose_draws(mask, torch.cat([draws, draws]))
        assert_close(both, torch.cat([expected, expected]), rtol=0, atol=0)

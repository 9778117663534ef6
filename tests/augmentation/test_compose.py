"""Tests of semaug.augmentation.compose."""

import pytest
import torch
from torch.testing import assert_close

from semaug.augmentation import (
    Augmentation,
    Compose,
    CropFlip,
    Cutout,
    Grayscale,
    RandAugment,
    RandomScaleCrop,
)


def test_augmentations_follow_each_other_with_draws_of_their_own(images, generator):
    crop, gray, cut = CropFlip(2), Grayscale(0.5), Cutout(4)
    augment = Compose(crop, gray, cut)
    draws = augment.draw(len(images), generator)
    assert draws.shape == (40, augment.num_draws) == (40, 3 + 1 + 2)
    by_hand = cut(gray(crop(images, draws[:, :3]), draws[:, 3:4]), draws[:, 4:])
    assert_close(augment(images, draws), by_hand, rtol=0, atol=0)


def test_one_may_be_inside_another(images, generator):
    flat = Compose(CropFlip(2), Grayscale(0.5), Cutout(4))
    nested = Compose(Compose(CropFlip(2), Compose()), Compose(Grayscale(0.5), Cutout(4)))
    draws = flat.draw(len(images), generator)
    assert_close(nested(images, draws), flat(images, draws), rtol=0, atol=0)


def test_masks_follow_each_augmentation_that_moves_pixels(generator):
    masks = torch.randint(0, 9, (40, 12, 10), dtype=torch.uint8, generator=generator)
    crop, scale = CropFlip(2), RandomScaleCrop((12, 10))
    augment = Compose(crop, Grayscale(0.5), scale)
    draws = augment.draw(40, generator)
    by_hand = scale.move(crop.move(masks, draws[:, :3]), draws[:, 4:])
    assert_close(augment.move(masks, draws), by_hand, rtol=0, atol=0)
    with pytest.raises(ValueError, match="RandAugment: expected images with one label each"):
        Compose(crop, RandAugment(1)).move(masks, torch.rand(40, 5))
    with pytest.raises(ValueError, match=r"Compose: .* `draws` of shape \(N=40, 8\)"):
        augment.move(masks, draws[:, 1:])


def test_each_augmentation_chooses_by_the_masks_as_it_gets_them(generator):
    masks = torch.randint(0, 2, (40, 3, 3), dtype=torch.uint8, generator=generator)
    masks = masks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    crop, scale = CropFlip(2), RandomScaleCrop(5, (1.0, 1.0), max_class_share=0.75)
    augment = Compose(crop, Grayscale(0.5), scale)
    draws = augment.draw(40, generator)
    by_hand = scale.choose_draws(crop.move(masks, draws[:, :3]), draws[:, 4:])
    assert_close(augment.choose_draws(masks, draws), torch.cat([draws[:, :4], by_hand], 1))
    assert (by_hand != draws[:, 4:]).any()
    assert Compose(crop).choose_draws(masks, draws) is draws


def test_draws_are_named_after_what_they_decide():
    augment = Compose(CropFlip(2), Grayscale(0.5), RandomScaleCrop(8), RandAugment(1))
    assert augment.draw_names == (
        *("crop", "crop", "flip", "grayscale", "scale", "crop", "crop", "flip"),
        *("rand_augment", "rand_augment"),
    )


def test_nothing_leaves_images_as_they_are(images, generator):
    augment = Compose()
    assert augment(images, augment.draw(40, generator)).equal(images)


def test_it_shows_what_it_does():
    assert repr(Compose(Cutout(4), Grayscale(0.5))) == (
        "Compose(Cutout(size=4, fill=0), Grayscale(probability=0.5))"
    )


def test_an_augmentation_of_ones_own_joins_in(images, generator):
    class Invert(Augmentation):
        @property
        def num_draws(self):
            return 1

        def __call__(self, images, draws):
            return torch.where(draws.view(-1, 1, 1, 1) < 0.5, 255 - images, images)

    augment = Compose(Cutout(4), Invert())
    draws = augment.draw(len(images), generator)
    expected = Invert()(Cutout(4)(images, draws[:, :2]), draws[:, 2:])
    assert_close(augment(images, draws), expected, rtol=0, atol=0)


def test_wrong_arguments_are_named(images):
    with pytest.raises(TypeError, match=r"objects of type Augmentation, got <class .*Cutout'>"):
        Compose(CropFlip(), Cutout)
    augment = Compose(CropFlip(), Cutout(4))
    with pytest.raises(
        ValueError, match=r"Compose: .* `draws` of shape \(N=40, 5\), got \(40, 4\)"
    ):
        augment(images, torch.rand(40, 4))
    with pytest.raises(TypeError, match="Compose: expected `draws` of a floating-point dtype"):
        augment(images, torch.zeros(40, 5, dtype=torch.int64))

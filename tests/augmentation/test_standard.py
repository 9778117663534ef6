"""Tests of semaug.augmentation.standard."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import torch
from torch.testing import assert_close

from semaug.augmentation import (
    Augment,
    AutoAugment,
    ColorJitter,
    Compose,
    CropFlip,
    Cutout,
    Grayscale,
    Mix,
    RandAugment,
    RandomScaleCrop,
    ScaleCrop,
    normalize,
)
from semaug.augmentation.scale_crop import CropView
from semaug.augmentation.standard import VIEW_PARTS
from semaug.data import DataSet, FileSet, ImageSet, RandomResizedCrop, ResizeCenterCrop
from semaug.data.image_set import FilePaths, MaskFiles
from semaug.data.views import Whole
from semaug.errors import UserError
from semaug.registry import augmentations

MEAN, STD = (0.31, 0.49, 0.71), (0.2, 0.25, 0.3)
MEAN_COLOR = (79, 125, 181)  # MEAN in bytes
EVERYTHING = Augment(
    padding=2,
    padding_mode="reflect",
    policy="randaugment",
    grayscale=0.3,
    jitter=(0.4, 0.3),
    cutout=3,
)


@pytest.fixture
def data():
    part = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    return DataSet("toy", part, part, MEAN, STD)


@pytest.fixture
def in_files():
    part = FileSet(FilePaths.of("root", ["1.png", "2.png"]), torch.tensor([0, 1]), ("a", "b"))
    return DataSet("photos", part, part, MEAN, STD)


@pytest.fixture
def dense(data):
    train = data.train.with_labels(torch.zeros(2, 8, 8, dtype=torch.uint8))
    return replace(data, train=train, test=train)


def parts_of(augment, data):
    return augment.build(data).augmentations


def test_operations_follow_each_other_in_the_order_of_the_fields(data):
    assert parts_of(EVERYTHING, data) == (
        CropFlip(2, "reflect"),
        RandAugment(2, 9, fill=MEAN_COLOR),
        Grayscale(0.3),
        ColorJitter(0.4, 0.3),
        Cutout(3, fill=MEAN_COLOR),
    )


def test_what_is_not_asked_for_is_left_out(data):
    assert parts_of(Augment(padding=0, flip=False), data) == ()
    assert parts_of(Augment(padding=0), data) == (CropFlip(0),)
    assert parts_of(Augment(), data) == (CropFlip(4),)
    assert parts_of(Augment(policy="autoaugment_svhn", fill="black"), data)[1:] == (
        AutoAugment("svhn"),
    )
    assert parts_of(Augment(jitter=(0.0, 0.0)), data) == (CropFlip(4),)


def test_it_is_the_standard_one(data):
    assert augmentations.make("standard") == Augment()
    assert isinstance(augmentations.make("standard").build(data), Compose)


def test_holes_have_the_color_that_becomes_nearly_zero(data):
    (cutout,) = parts_of(Augment(padding=0, flip=False, cutout=3), data)
    fill = torch.tensor(cutout.fill, dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(fill, MEAN, STD).abs().max() < 0.5 / 255 / min(STD)


def test_holes_of_images_that_are_normal_already_are_zero(data):
    (cutout,) = parts_of(Augment(padding=0, flip=False, cutout=3, whitening=True), data)
    assert cutout.fill == 0
    part = ImageSet(torch.randn(2, 64, 4, 4), torch.tensor([0, 1]), ("a", "b"))
    numbers = DataSet("toy", part, part, None, None)
    (cutout,) = parts_of(Augment(padding=0, flip=False, cutout=3), numbers)
    images = torch.randn(5, 64, 4, 4)
    assert_close(cutout(images, torch.full((5, 2), 0.5))[:, :, 2, 2], torch.zeros(5, 64))


def test_images_are_mixed_if_there_is_an_alpha():
    assert Augment().mix() is None
    assert not Augment().mixes
    for options, mix in (
        ({"mixup": 0.2}, Mix(0.2, 0.0)),
        ({"cutmix": 1.0}, Mix(0.0, 1.0)),
        ({"mixup": 0.2, "cutmix": 1.0}, Mix(0.2, 1.0)),
    ):
        assert Augment(**options).mixes
        assert Augment(**options).mix() == mix


def test_images_in_files_are_cropped_where_they_are_decoded(in_files):
    augment = Augment(padding=0)
    assert augment.train_view() == RandomResizedCrop(224)
    assert augment.test_view() == ResizeCenterCrop(256, 224)
    small = replace(augment, image_size=64)
    assert small.train_view() == RandomResizedCrop(64)
    assert small.test_view() == ResizeCenterCrop(73, 64)
    assert replace(small, test_crop=1.0).test_view() == ResizeCenterCrop(64, 64)
    assert parts_of(small, in_files) == (CropFlip(0),)


@pytest.mark.parametrize(
    ("letters", "kept"),
    [
        ("h", ()),
        ("p", (CropFlip(2, "reflect"),)),
        ("g", (CropFlip(0), Grayscale(0.3))),
        ("ac", (CropFlip(0), RandAugment(2, 9, fill=MEAN_COLOR), ColorJitter(0.4, 0.3))),
        ("po", (CropFlip(2, "reflect"), Cutout(3, fill=MEAN_COLOR))),
    ],
)
def test_views_keep_what_their_letters_say(data, letters, kept):
    kept = kept or (CropFlip(0),)  # all flip
    assert parts_of(EVERYTHING.only(letters), data) == kept


def test_a_view_with_every_letter_has_all():
    assert EVERYTHING.only("".join(VIEW_PARTS)) == EVERYTHING


@pytest.mark.parametrize(("letter", "name"), VIEW_PARTS.items())
def test_letters_without_their_part_are_refused(letter, name):
    message = f"`view_augments` has 'r{letter}', but there is no `{name}` to have"
    with pytest.raises(UserError, match=message):
        Augment(padding=0).only(letter)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 0),
        ("test_crop", 0.0),
        ("test_crop", 1.5),
        ("padding", -1),
        ("grayscale", 1.5),
        ("cutout", -1),
        ("mixup", -0.1),
        ("cutmix", float("inf")),
        ("jitter", (0.4, 0.4, 0.4, 0.1, 0.1)),
        ("jitter", (0.4, -0.4)),
        ("jitter", (0.4, 0.4, 0.4, 0.6)),
    ],
)
def test_numbers_out_of_range_are_named(name, value):
    with pytest.raises(UserError, match=rf"recipe: expected `{name}` .*, got"):
        Augment(**{name: value})


def test_randaugment_states_the_options_that_were_left_out():
    augment = Augment(policy="randaugment", randaugment_magnitude=0)
    assert (augment.randaugment_ops, augment.randaugment_magnitude) == (2, 0)


@pytest.mark.parametrize("name", ["randaugment_ops", "randaugment_magnitude"])
def test_options_of_randaugment_mean_nothing_to_others(name):
    message = f"`{name}` has no effect without policy=randaugment"
    with pytest.raises(UserError, match=message):
        Augment(policy="autoaugment_cifar10", **{name: 5})


@pytest.mark.parametrize(("name", "value"), [("randaugment_ops", 0), ("randaugment_magnitude", 31)])
def test_options_of_randaugment_have_a_range(name, value):
    with pytest.raises(UserError, match=f"expected `{name}` from . to .*, got {value}"):
        Augment(policy="randaugment", **{name: value})


def test_every_policy_of_autoaugment_has_its_word(data):
    words = get_args(get_args(get_type_hints(Augment)["policy"])[0])
    for word in words:
        policy = parts_of(Augment(policy=word), data)[1]
        assert isinstance(policy, RandAugment if word == "randaugment" else AutoAugment)


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment_cifar10"])
def test_a_policy_states_the_color_around_moved_images(data, policy):
    colors = {None: MEAN_COLOR, "mean": MEAN_COLOR, "gray": 128, "black": 0}
    for fill, color in colors.items():
        augment = Augment(policy=policy, fill=fill)
        assert augment.fill == (fill or "mean")
        assert parts_of(augment, data)[1].fill == color
    assert Augment().fill is None
    assert Augment(policy=policy).changed(policy=None) == Augment()


def test_a_color_is_one_of_three_and_belongs_to_a_policy():
    with pytest.raises(UserError, match="expected `fill` one of mean, gray, black, got white"):
        Augment(policy="randaugment", fill="white")
    with pytest.raises(UserError, match="`fill` has no effect without `policy`"):
        Augment(fill="gray")


def test_a_border_without_padding_is_refused():
    with pytest.raises(UserError, match="`padding_mode` has no effect with padding=0"):
        Augment(padding=0, padding_mode="reflect")


@pytest.mark.parametrize(
    "options", [{"policy": "randaugment"}, {"grayscale": 0.1}, {"jitter": (0.1,)}]
)
def test_colors_of_whitened_images_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"expected no `{name}` with `whitening`: it changes colo"):
        Augment(whitening=True, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": 4}, "data=photos lie in files and get .* so `padding` has no meaning"),
        ({"padding": 0, "whitening": True}, "no `whitening` of images that lie in files, as in"),
    ],
)
def test_what_has_no_meaning_for_files_is_named(in_files, options, message):
    with pytest.raises(UserError, match=message):
        Augment(**options).build(in_files)


def test_a_crop_of_whole_images_is_refused(data):
    with pytest.raises(UserError, match="`test_crop` has no effect, for images of data=toy are wh"):
        Augment(test_crop=0.9).build(data)


def test_images_with_masks_are_not_resized(dense):
    with pytest.raises(UserError, match="expected no `image_size` for images with masks, as in"):
        Augment(image_size=32).build(dense)


def test_images_with_masks_are_not_mixed(dense):
    with pytest.raises(UserError, match="no `mixup` and no `cutmix` of images with masks, as in"):
        Augment(cutmix=1.0).build(dense)
    augment = Augment(padding=2, grayscale=0.5, cutout=2).build(dense)
    masks = dense.train.labels
    assert augment.move(masks, torch.zeros(2, augment.num_draws)).shape == masks.shape


def test_scale_crops_have_a_name_and_options(dense):
    spec = augmentations.make("scale_crop", size=(6, 5), scale=(1.0, 1.5), flip=False)
    assert spec == ScaleCrop(size=(6, 5), scale=(1.0, 1.5), flip=False)
    assert spec.build(dense) == RandomScaleCrop((6, 5), (1.0, 1.5), False, MEAN_COLOR)
    assert ScaleCrop(size=(6,)).build(dense).size == 6
    options = {"scale": (0.7, 2.1), "scale_step": 0.1, "rotation": 10, "jitter": (0.1, 0, 0.2)}
    crop = RandomScaleCrop(6, (0.7, 2.1), True, MEAN_COLOR, 0.1, 10)
    found = ScaleCrop(size=(6,), **options).build(dense)
    assert str(found) == str(Compose(crop, ColorJitter(0.1, 0, 0.2)))


def test_images_with_masks_in_files_are_cropped_where_they_are_decoded(dense):
    masks = MaskFiles.of(FilePaths.of("", ["a.png"]), (0, 1))
    files = FileSet.with_masks(FilePaths.of("", ["a.jpg"]), masks, ("x", "y"))
    data = replace(dense, train=files)
    spec = ScaleCrop(size=(6,), shorter_side=9, jitter=(0.1,))
    assert str(spec.build(data)) == str(Compose(ColorJitter(0.1)))
    assert spec.train_view(data) == CropView(RandomScaleCrop(6, fill=MEAN_COLOR), 9)
    assert spec.test_view() == Whole(9)
    with pytest.raises(UserError, match="`shorter_side` has no effect, for images of data="):
        spec.build(dense)
    with pytest.raises(UserError, match="have masks; add augment=scale_crop size=N"):
        Augment(padding=0).build(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0,)}, "^recipe: expected `size` >= 1, got 0"),
        ({"size": (1, 2, 3)}, "expected two numbers `size`, got"),
        ({"size": ()}, "expected two numbers `size`, got"),
        ({"size": (8,), "scale": (2.0, 1.0)}, "expected `scale` with 0 < lowest <= highest"),
        ({"size": (8,), "rotation": -1.0}, "^recipe: expected `rotation` >= 0"),
        (
            {"size": (8,), "jitter": (0, 0, 0, 0.6)},
            "recipe: expected `jitter` >= 0, and hue <= 0.5",
        ),
        ({"size": (8,), "shorter_side": 0}, "recipe: expected `shorter_side` >= 1 or none"),
    ],
)
def test_options_of_scale_crops_have_a_range(options, message):
    with pytest.raises(UserError, match=message):
        ScaleCrop(**options)

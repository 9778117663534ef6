"""Tests of semaug.transfer.sets."""

import pytest
import torch

from semaug.data import load_data
from semaug.transfer.sets import (
    TEST_SETS,
    SetMaker,
    choose_padding,
    make_test_sets,
    sum_of_images,
)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits").test.images


@pytest.fixture(scope="module")
def colored():
    """Draw 40 images of noise, 3 x 12 x 12."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (40, 3, 12, 12), generator=generator, dtype=torch.uint8)


# Recorded once. Another machine or version of torch that draws other bytes tests something else.
RECORDED = {
    "original": "66a69fc82673bcb6",
    "random_crop": "4273b44f018bff26",
    "grayscale": "66a69fc82673bcb6",  # digits are grey
    "random_color": "b5d42302a07c2da8",
}


def test_every_machine_draws_the_same_bytes(digits):
    drawn = make_test_sets(digits)
    assert {name: sum_of_images(part)[:16] for name, part in drawn.items()} == RECORDED


@pytest.mark.parametrize(
    ("hue", "recorded"), [(0.0, "6b44bd787de0edd3"), (0.1, "bd2537be7a21d491")]
)
def test_colors_are_the_same_bytes_too(hue, recorded):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, 3, 32, 32), generator=generator, dtype=torch.uint8)
    assert sum_of_images(make_test_sets(images, hue=hue)["random_color"])[:16] == recorded


def test_each_set_changes_what_its_name_says(colored):
    drawn = make_test_sets(colored)
    assert list(drawn) == list(TEST_SETS)
    assert torch.equal(drawn["original"], colored)
    grey = drawn["grayscale"]
    assert torch.equal(grey, grey[:, :1].expand_as(grey))  # every image, without exception
    jittered = drawn["random_color"].float().mean((1, 2, 3)) / colored.float().mean((1, 2, 3))
    assert ((jittered > 0.85) & (jittered < 1.15)).all()
    assert (drawn["random_color"] != colored).flatten(1).any(1).all()
    padded = torch.nn.functional.pad(colored, (1,) * 4)  # an eighth of 12, rounded down
    for image, whole in zip(drawn["random_crop"], padded, strict=True):
        crops = (whole[:, y : y + 12, x : x + 12] for y in range(3) for x in range(3))
        assert any(torch.equal(image, crop) for crop in crops)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_batches_of_any_size_and_order_are_those_of_the_whole(colored, batch_size):
    whole = make_test_sets(colored, seed=2, hue=0.1)
    make = SetMaker(40, seed=2, hue=0.1, padding=1)
    for places in torch.randperm(40, generator=torch.Generator().manual_seed(0)).split(batch_size):
        some = make(colored[places], places)
        assert all(torch.equal(some[name], whole[name][places]) for name in TEST_SETS)


@pytest.mark.parametrize(
    ("size", "padding"), [((8, 8), 1), ((32, 32), 4), ((224, 224), 28), ((40, 17), 2), ((7, 7), 0)]
)
def test_black_pixels_are_an_eighth_of_the_shorter_side(size, padding):
    images = torch.full((16, 3, *size), 9, dtype=torch.uint8)
    assert choose_padding(images) == padding
    cropped = make_test_sets(images)["random_crop"]
    inner = cropped[..., padding : size[0] - padding, padding : size[1] - padding]
    assert (inner == 9).all()
    assert (cropped == 0).any() == (padding > 0)


def test_seed_and_hue_change_what_they_should(colored):
    first, other, hue = (
        make_test_sets(colored, **options) for options in ({}, {"seed": 1}, {"hue": 0.1})
    )
    differ = {name: not torch.equal(first[name], other[name]) for name in TEST_SETS}
    assert differ == {
        "original": False, "random_crop": True, "grayscale": False, "random_color": True
    }  # fmt: skip
    differ = {name: not torch.equal(first[name], hue[name]) for name in TEST_SETS}
    assert differ == dict.fromkeys(TEST_SETS, False) | {"random_color": True}


def test_wrong_arguments_are_named(colored):
    with pytest.raises(ValueError, match=r"make_test_sets: expected `images` of shape \(N, 3, H"):
        make_test_sets(colored[:, :1])
    with pytest.raises(TypeError, match=r"dtype torch\.uint8"):
        make_test_sets(colored.float())
    with pytest.raises(ValueError, match=r"make_test_sets: expected `hue` <= 0\.5, got 0\.6"):
        make_test_sets(colored, hue=0.6)
    with pytest.raises(ValueError, match="SetMaker: expected `seed` >= 0, got -1"):
        SetMaker(4, seed=-1, padding=1)
    with pytest.raises(TypeError, match="make_test_sets: expected `hue` to be a number, got '1'"):
        make_test_sets(colored, hue="1")

"""Tests of semaug.augmentation.operator."""

import pytest
import torch
from torch.testing import assert_close

from semaug.augmentation import operator


def test_a_probability_is_a_number_from_0_to_1():
    for value in (0, 0.5, 1):
        operator.check_probability("f", "p", value)
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"f: expected `p` between 0 and 1, got {value}"):
            operator.check_probability("f", "p", value)
    for value in ("x", True, None):
        with pytest.raises(TypeError, match=f"f: expected `p` to be a number, got {value!r}"):
            operator.check_probability("f", "p", value)


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_only_chosen_images_change(images, generator, share):
    chosen = torch.rand(len(images), generator=generator) < share
    level = torch.arange(len(images), dtype=torch.uint8)

    def add(images, level):
        return images + level.view(-1, 1, 1, 1)

    expected = images.clone()
    for n in range(len(images)):
        if chosen[n]:
            expected[n] += n
    before = images.clone()
    assert_close(operator.apply_where(chosen, add, images, level), expected, rtol=0, atol=0)
    assert_close(images, before, rtol=0, atol=0)


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize(
    "shape", [(40, 3, 12, 10), (3, 1, 600, 500), (1, 3, 400, 400), (0, 3, 4, 4)]
)
def test_pieces_are_the_whole(generator, monkeypatch, shape):
    monkeypatch.setattr(operator, "_PIECE_ELEMENTS", 2000)
    images = torch.randint(0, 128, shape, dtype=torch.uint8, generator=generator)
    level = torch.arange(len(images), dtype=torch.uint8)
    sizes = []

    def add(images, level):
        sizes.append(len(images))
        return images + level.view(-1, 1, 1, 1)

    assert_close(operator.in_pieces(add, images, level), add(images, level), rtol=0, atol=0)
    assert sum(sizes) == 2 * len(images)

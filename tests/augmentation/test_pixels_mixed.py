"""Tests of semaug.augmentation.pixels: mixing."""

import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter

from semaug.augmentation.pixels import blend, color, luminance, sharpness
from tests.references.pillow import from_pillow, to_pillow

FACTORS = sorted({*torch.linspace(0.1, 1.9, 19).tolist(), *torch.linspace(0, 2, 62).tolist(), 1.0})


@pytest.mark.parametrize("factor", [*FACTORS, -0.7, 5.3])
def test_mixes_all_pairs_of_bytes_as_pillow_does(factor):
    byte = torch.arange(256, dtype=torch.uint8)
    rows, columns = torch.meshgrid(byte, byte, indexing="ij")
    pair = [Image.fromarray(x.contiguous().numpy()) for x in (rows, columns)]
    wanted = torch.tensor(list(Image.blend(*pair, factor).tobytes()), dtype=torch.uint8)
    actual = blend(rows.float(), columns.float(), torch.tensor(factor))
    assert torch.equal(actual.flatten(), wanted)


def test_luminance_is_that_of_pillow_for_all_colors_on_a_grid(generator):
    """Every fifth byte of each channel, and 100,000 random colors."""
    grid = torch.cartesian_prod(*[torch.arange(0, 256, 5)] * 3)
    colors = torch.cat([grid, torch.randint(0, 256, (100_000, 3), generator=generator)]).byte()
    images = colors.T.reshape(1, 3, 1, -1)
    wanted = torch.tensor(list(to_pillow(images[0]).convert("L").tobytes()))
    assert torch.equal(luminance(images).flatten().long(), wanted)


@pytest.mark.parametrize("factor", FACTORS[::7])
def test_color_and_sharpness_are_those_of_pillow(images, factor):
    for image in images[:10]:
        own = image.unsqueeze(0), torch.tensor([factor])
        pillow = to_pillow(image)
        assert torch.equal(color(*own)[0], from_pillow(ImageEnhance.Color(pillow).enhance(factor)))
        wanted = ImageEnhance.Sharpness(pillow).enhance(factor)
        assert torch.equal(sharpness(*own)[0], from_pillow(wanted))


@pytest.mark.parametrize("size", [(1, 5), (2, 2), (3, 3), (3, 7), (40, 50)])
def test_smooths_all_but_the_border(generator, size):
    images = torch.randint(0, 256, (20, 3, *size), dtype=torch.uint8, generator=generator)
    images[10:] = (images[10:] > 127) * 255
    wanted = [from_pillow(to_pillow(image).filter(ImageFilter.SMOOTH)) for image in images]
    assert torch.equal(sharpness(images, torch.zeros(20)), torch.stack(wanted))

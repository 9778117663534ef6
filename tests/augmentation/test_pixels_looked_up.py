"""Tests of semaug.augmentation.pixels: tables."""

import shutil

import pytest
import torch
from PIL import ImageOps, ImageStat

from semaug.augmentation.pixels import (
    auto_contrast,
    constant_tables,
    equalize,
    look_up,
    mean_luminance,
)
from tests.references.pillow import from_pillow, to_pillow


def test_looks_every_byte_up_in_the_table_of_its_channel(images, generator):
    tables = torch.randint(0, 256, (40, 3, 256), dtype=torch.uint8, generator=generator)
    actual = look_up(images, tables)
    for n, c in [(0, 0), (7, 1), (39, 2)]:
        assert torch.equal(actual[n, c], tables[n, c][images[n, c].long()])
    assert torch.equal(
        look_up(images, tables[:, :1])[:, 2], look_up(images[:, 2:], tables[:, :1])[:, 0]
    )


def test_stretches_every_range_of_bytes_as_pillow_does(generator):
    """All bytes of 3,000 ranges, among them the shortest and the longest."""
    ends = torch.randint(0, 256, (997, 3, 2), generator=generator).sort(2).values
    special = torch.tensor([[[0, 255], [0, 0], [255, 255]], [[0, 1], [254, 255], [7, 8]]])
    low, high = torch.cat([special, ends]).split(1, dim=2)
    images = torch.arange(256).clamp(min=low, max=high).byte().view(-1, 3, 16, 16)
    wanted = [from_pillow(ImageOps.autocontrast(to_pillow(image))) for image in images]
    assert torch.equal(look_up(images, auto_contrast(images)), torch.stack(wanted))


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (16, 16), (16, 32), (30, 51), (100, 90)])
def test_equalizes_every_histogram_as_pillow_does(generator, size):
    """From all bytes alike to a single one: powers of a uniform number."""
    powers = torch.linspace(0, 12, 60).view(-1, 1, 1, 1)
    images = (torch.rand(60, 3, *size, generator=generator) ** powers * 255.99).byte()
    images[1::2] &= 0xF0  # few values, of many pixels each
    wanted = [from_pillow(ImageOps.equalize(to_pillow(image))) for image in images]
    assert torch.equal(look_up(images, equalize(images)), torch.stack(wanted))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 3), (12, 10), (320, 300)])
def test_rounds_mean_luminance_as_pillow_does(generator, size):
    """Images of two values too, of which many have a mean that ends in one half."""
    images = torch.randint(0, 256, (60, 3, *size), dtype=torch.uint8, generator=generator)
    images[::2] = images[::2, :1, :1, :1] + images[::2, :1] // 128
    wanted = [int(ImageStat.Stat(to_pillow(image).convert("L")).mean[0] + 0.5) for image in images]
    assert mean_luminance(images).tolist() == wanted


def test_contrast_has_a_table_for_each_mean_and_others_have_one():
    assert constant_tables("Contrast", -0.5).shape == (256, 256)
    assert constant_tables("Contrast", -0.5)[100, 200] == 150
    assert constant_tables("Brightness", -0.5)[0, 200] == 100
    assert constant_tables("Posterize", 4)[0, 255] == 0b11110000
    assert constant_tables("Solarize", 128.0)[0, 126:130].tolist() == [126, 127, 127, 126]
    assert constant_tables("Invert", 0.0)[0, 3] == 252
    assert torch.equal(constant_tables("Rotate", 3.0)[0], torch.arange(256).byte())


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("tables_of", [auto_contrast, equalize, mean_luminance])
def test_compiles_to_the_same(images, tables_of):
    images = images.clamp(min=40)
    compiled = torch.compile(tables_of, fullgraph=True)
    assert torch.equal(compiled(images), tables_of(images))

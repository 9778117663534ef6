"""Tests of semaug.augmentation.affine."""

import math

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import _get_inverse_affine_matrix

from semaug.augmentation.affine import fixed_point, inverse_matrix, move, source_pixels
from tests.references.pillow import from_pillow, to_pillow


def moved_by(matrix, images):
    coefficients = torch.tensor([fixed_point(matrix)]).expand(len(images), -1)
    outside = images.new_zeros(1, 1)
    return move(images, source_pixels(coefficients, *images.shape[-2:]), outside)


def test_any_matrix_moves_pixels_as_pillow_does(generator):
    """Matrices that are nothing like a shear or rotation: scales, and reflections."""
    images = torch.randint(0, 256, (1, 3, 17, 23), dtype=torch.uint8, generator=generator)
    for row in (torch.randn(300, 6, generator=generator).double() * 2).tolist():
        matrix = (*row[:2], row[2] * 8, *row[3:5], row[5] * 8)
        wanted = to_pillow(images[0]).transform((23, 17), Image.Transform.AFFINE, matrix)
        assert torch.equal(moved_by(matrix, images)[0], from_pillow(wanted))


@pytest.mark.parametrize("magnitude", torch.linspace(-0.9, 0.9, 37).tolist())
def test_shears_and_shifts_have_the_matrix_of_torchvision(magnitude):
    slope, pixels, origin = math.degrees(math.atan(magnitude)), int(magnitude * 20), [0.0, 0.0]
    wanted = {
        "ShearX": _get_inverse_affine_matrix(origin, 0.0, [0, 0], 1.0, [slope, 0.0]),
        "ShearY": _get_inverse_affine_matrix(origin, 0.0, [0, 0], 1.0, [0.0, slope]),
        "TranslateX": _get_inverse_affine_matrix([8.5, 9], 0.0, [pixels, 0], 1.0, [0.0, 0.0]),
        "TranslateY": _get_inverse_affine_matrix([8.5, 9], 0.0, [0, pixels], 1.0, [0.0, 0.0]),
    }
    for name, matrix in wanted.items():
        scale = 20 if name.startswith("Translate") else 1
        assert inverse_matrix(name, magnitude * scale, 18, 17) == tuple(matrix)


@pytest.mark.parametrize("degrees", [0.0, 0.5, 45.0, 90.0, 180.0, -90.0, 270.0, 300.0, -7.25])
@pytest.mark.parametrize("size", [(16, 16), (15, 16), (9, 9)])
def test_rotates_as_pillow_does(generator, degrees, size):
    """Quarter turns too, for which Pillow goes another way."""
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=generator)
    actual = moved_by(inverse_matrix("Rotate", degrees, *size), images)
    assert torch.equal(actual[0], from_pillow(to_pillow(images[0]).rotate(degrees)))


def test_other_operations_leave_pixels_where_they_are(images):
    assert torch.equal(moved_by(inverse_matrix("Equalize", 3.0, 12, 10), images), images)


def test_what_lies_outside_has_a_color(images):
    """Bytes of each channel, or one of all."""
    black = moved_by(matrix := inverse_matrix("TranslateX", 3.0, 12, 10), images)
    pixels = source_pixels(torch.tensor([fixed_point(matrix)]).expand(len(images), -1), 12, 10)
    for fill in ([[7], [8], [9]], [[128]]):
        color = torch.tensor(fill, dtype=torch.uint8)
        moved = move(images, pixels, color)
        assert torch.equal(moved[..., 3:], black[..., 3:])
        assert torch.equal(moved[..., :3], color.unsqueeze(2).expand(40, 3, 12, 3))


def test_moves_images_of_any_dtype_and_number_of_channels(images):
    matrix = inverse_matrix("Rotate", 20.0, 12, 10)
    moved = moved_by(matrix, images)
    assert torch.equal(moved_by(matrix, images.float()), moved.float())
    assert torch.equal(moved_by(matrix, images[:, :1]), moved[:, :1])


@pytest.mark.parametrize("name", ["ShearX", "Rotate"])
def test_wide_images_are_counted_as_pillow_counts_them(generator, name):
    images = torch.randint(0, 256, (1, 3, 3, 10_000), dtype=torch.uint8, generator=generator)
    matrix = inverse_matrix(name, 0.3, 3, 10_000)
    wanted = to_pillow(images[0]).transform((10_000, 3), Image.Transform.AFFINE, matrix)
    assert torch.equal(moved_by(matrix, images)[0], from_pillow(wanted))

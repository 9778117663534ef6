"""Tests of semaug.augmentation.color: hues."""

import numpy as np
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import functional as TF
from torchvision.transforms.functional import pil_to_tensor

from semaug.augmentation.color import from_hsv, to_hsv, turn_hue


def bytes_with(first):
    """Return all triples of bytes that begin with one, as an image of 256 x 256 pixels."""
    grid = torch.cartesian_prod(torch.tensor([first]), torch.arange(256), torch.arange(256))
    return grid.byte().view(256, 256, 3)


def pillow_converts(pixels, source, target):
    image = Image.frombytes(source, (256, 256), pixels.numpy().tobytes()).convert(target)
    return torch.from_numpy(np.array(image)).movedim(2, 0).unsqueeze(0).float()


def test_all_colors_come_apart_as_in_pillow():
    for red in range(256):
        pixels = bytes_with(red)
        actual = torch.cat(to_hsv(pixels.movedim(2, 0).unsqueeze(0).float()), dim=1)
        assert_close(actual, pillow_converts(pixels, "RGB", "HSV"), rtol=0, atol=0)


def test_all_colors_come_together_as_in_pillow():
    for hue in range(256):
        pixels = bytes_with(hue)
        actual = from_hsv(*pixels.movedim(2, 0).unsqueeze(0).float().split(1, dim=1))
        assert_close(actual, pillow_converts(pixels, "HSV", "RGB"), rtol=0, atol=0)


def test_a_shift_equals_torchvision_on_pillow(images):
    shift = torch.linspace(-127, 127, len(images)).round()
    for image, row, x in zip(images, turn_hue(images, shift), shift.tolist(), strict=True):
        factor = max(-0.5, min((x + 0.5) / 255, 0.5)) if x >= 0 else (x - 0.5) / 255
        expected = pil_to_tensor(TF.adjust_hue(TF.to_pil_image(image), factor))
        assert_close(row, expected, rtol=0, atol=0)

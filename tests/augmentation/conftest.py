"""Fixtures shared by the tests of augmentation."""

import pytest
import torch


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator):
    return torch.randint(0, 256, (40, 3, 12, 10), dtype=torch.uint8, generator=generator)


@pytest.fixture
def many(generator):
    """Random images, smooth ones, and images of few values: 600 in all."""
    noise = torch.randint(0, 256, (200, 3, 12, 10), dtype=torch.uint8, generator=generator)
    coarse = torch.rand(200, 3, 4, 4, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, (12, 10), mode="bilinear").byte()
    return torch.cat([noise, smooth, smooth // 64 * 50])

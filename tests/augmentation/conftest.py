"""Fixtures shared by the tests of augmentation."""

import pytest
import torch


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator):
    return torch.randint(0, 256, (40, 3, 12, 10), dtype=torch.uint8, generator=generator)

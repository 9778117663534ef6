"""Tests of semaug.augmentation.normalize."""

import pytest
import torch
from torch.testing import assert_close

from semaug.augmentation import normalize


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalize_is_the_formula(images, memory_format):
    mean, std = (0.49, 0.48, 0.44), (0.24, 0.25, 0.26)
    actual = normalize(images.to(memory_format=memory_format), mean, std)
    columns = [torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (mean, std)]
    expected = (images.double() / 255 - columns[0]) / columns[1]
    assert actual.dtype == torch.float32
    assert actual.is_contiguous(memory_format=memory_format)
    assert_close(actual.double(), expected, rtol=1e-6, atol=1e-6)


def test_normalize_refuses_what_it_would_get_wrong(images):
    with pytest.raises(TypeError, match=r"normalize: .* dtype torch\.uint8, got torch\.float32"):
        normalize(images.float(), (0.5,) * 3, (0.2,) * 3)
    with pytest.raises(ValueError, match="for each of 3 channels, got 1 and 3"):
        normalize(images, (0.5,), (0.2,) * 3)
    with pytest.raises(ValueError, match=r"every `std` > 0, got \(0\.2, 0\.0, 0\.2\)"):
        normalize(images, (0.5,) * 3, (0.2, 0.0, 0.2))

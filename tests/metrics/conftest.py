"""A batch that every metric can count."""

import pytest
import torch

from tests.metrics.batches import NUM_CLASSES


@pytest.fixture(params=["images", "pixels"])
def batch(request):
    """Outputs that are right more often than not, and labels; class 4 does not occur."""
    rng = torch.Generator().manual_seed(0)
    shape = (40,) if request.param == "images" else (4, 5, 6)
    labels = torch.randint(NUM_CLASSES, shape, generator=rng)
    labels[labels == 4] = 3
    outputs = torch.randn(*shape, NUM_CLASSES, generator=rng)
    outputs += 2 * torch.nn.functional.one_hot(labels, NUM_CLASSES)
    if request.param == "pixels":
        labels[0, :2] = 255
        labels[3, 4, 1:3] = -100
    return outputs.movedim(-1, 1), labels

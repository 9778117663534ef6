"""Tests of semaug.generation.biggan, with networks that are called as BigGANs are."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from semaug.generation.biggan import of_biggan

LABELS = torch.tensor([2, 0])


class Packaged(nn.Module):
    """Called as that of ``pytorch_pretrained_biggan``."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.Linear(3, 4, bias=False)
        self.layers = nn.Sequential(nn.Linear(9, 48), nn.Dropout(0.5), nn.Tanh())

    def embed(self, one_hot):
        return self.embeddings(one_hot)

    def forward(self, z, one_hot, truncation):
        images = self.layers(torch.cat([z, self.embed(one_hot)], dim=1))
        return truncation * images.unflatten(1, (3, 4, 4))


class Original(Packaged):
    """Called as that of the paper's author: classes are embedded before."""

    def shared(self, labels):
        return self.embeddings.weight.T[labels]

    def embed(self, classes):
        return classes

    def forward(self, z, classes):
        return super().forward(z, classes, 1.0)


@pytest.mark.parametrize("side", [4, 2])
def test_both_ways_to_call_it_make_the_same_images(side):
    torch.manual_seed(0)
    packaged, original = Packaged(), Original()
    original.load_state_dict(packaged.state_dict())
    options = {"num_classes": 3, "z_size": 5}
    first = of_biggan(packaged, side, **options)
    z = first.draw(2, torch.Generator().manual_seed(0)).requires_grad_()
    images = first(z, LABELS)
    assert images.shape == (2, *first.image) == (2, 3, side, side)
    assert_close(images, of_biggan(original, side, **options)(z, LABELS))
    assert_close(of_biggan(packaged, side, truncation=0.4, **options)(z, LABELS), 0.4 * images)
    whole = packaged(z, torch.eye(3)[LABELS], 1.0)
    way = {"mode": "bilinear", "antialias": True}
    assert_close(images, F.interpolate(whole, (side, side), **way) if side < 4 else whole)
    (gradient,) = torch.autograd.grad(images[0].square().sum(), z)
    assert gradient[0].all()
    assert not gradient[1].any()

"""Images are given as ``(N, H, W, C)``, as NumPy, TensorFlow and many files have them."""

import pytest
import torch

from semaug.augmentation import Compose, CropFlip, Cutout, Mix, mixup
from semaug.data import ImageSet

MESSAGE = r"`images` of shape \(N, C, H, W\), got \(2, 32, 32, {}\), .*permute\(0, 3, 1, 2\)"
LABELS = torch.tensor([0, 1])
TARGETS, LAM = torch.eye(2), torch.ones(2)


def augment(augmentation):
    return lambda images: augmentation(images, torch.zeros(len(images), augmentation.num_draws))


ENTRANCES = {
    "Compose": augment(Compose(CropFlip(padding=4), Cutout(size=8))),
    "CropFlip": augment(CropFlip(padding=4)),
    "Cutout": augment(Cutout(size=8)),
    "ImageSet": lambda images: ImageSet(images, LABELS, ("cat", "dog")),
    "Mix": lambda images: Mix(mixup_alpha=1.0)(images.float(), LABELS, torch.zeros(2, 4), 2),
    "mixup": lambda images: mixup(images.float(), TARGETS, LAM),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ENTRANCES)
def test_they_are_refused_with_what_to_write(name, channels):
    images = torch.zeros(2, 32, 32, channels, dtype=torch.uint8)
    with pytest.raises(ValueError, match=name + ": expected " + MESSAGE.format(channels)):
        ENTRANCES[name](images)
    ENTRANCES[name](images.permute(0, 3, 1, 2))


@pytest.mark.parametrize("shape", [(2, 512, 1, 1), (2, 64, 3, 3), (2, 3, 8, 3), (2, 32, 32, 4)])
def test_what_may_be_channels_first_is_taken(shape):
    assert len(ImageSet(torch.zeros(shape), LABELS, ("cat", "dog"))) == 2

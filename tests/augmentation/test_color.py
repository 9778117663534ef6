"""Tests of semaug.augmentation.color."""

import itertools

import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms import functional as TF
from torchvision.transforms.functional import pil_to_tensor

from semaug.augmentation import ColorJitter, Grayscale

OPERATIONS = ("brightness", "contrast", "saturation", "hue")
ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


def jitter_by_images(images, draws, augment):
    """Apply what the draws decide with torchvision, to one of Pillow's images at a time."""
    results = []
    for image, row in zip(images, draws, strict=True):
        result = TF.to_pil_image(image)
        for k in row[4:8].argsort().tolist():
            width = getattr(augment, OPERATIONS[k])
            lowest = -width if k == 3 else max(0.0, 1 - width)
            highest = width if k == 3 else 1 + width
            factor = float(lowest + row[k] * (highest - lowest))
            if width > 0 and row[8] < augment.probability:
                result = ADJUST[k](result, factor)
        results.append(pil_to_tensor(result))
    return torch.stack(results)


@pytest.fixture
def many(generator):
    """Random images, smooth ones, grey ones, and images of one color: 1,024 in all."""
    noise = torch.randint(0, 256, (256, 3, 9, 7), dtype=torch.uint8, generator=generator)
    coarse = torch.rand(256, 3, 3, 3, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, (9, 7), mode="bilinear").byte()
    plain = noise[:, :, :1, :1].expand(-1, -1, 9, 7)
    return torch.cat([noise, smooth, plain, noise[:, :1].expand(-1, 3, -1, -1)])


JITTERS = [
    ColorJitter(brightness=0.4),
    ColorJitter(contrast=0.4),
    ColorJitter(saturation=1.5),
    ColorJitter(hue=0.5),
    ColorJitter(0.4, 0.4, 0.4),
    ColorJitter(0.8, 0.8, 0.8, 0.2, probability=0.8),
]


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize("augment", JITTERS, ids=str)
def test_jitter_equals_torchvision_on_pillow_image_by_image(many, generator, augment):
    draws = augment.draw(len(many), generator)
    actual = augment(many, draws)
    assert actual.dtype == torch.uint8
    assert_close(actual, jitter_by_images(many, draws, augment), rtol=0, atol=0)


@pytest.mark.usefixtures("either_path")
def test_images_of_one_channel_have_brightness_and_contrast(many, generator):
    augment = ColorJitter(0.4, 0.6, 0.4, 0.1)
    draws = augment.draw(len(many), generator)
    actual = augment(many[:, :1], draws)
    assert_close(actual, jitter_by_images(many[:, :1], draws, augment), rtol=0, atol=0)
    assert ColorJitter(saturation=0.5, hue=0.1)(many[:, :1], draws).equal(many[:, :1])
    assert Grayscale(1.0)(many[:, :1], draws[:, :1]).equal(many[:, :1])


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_grey_images_equal_torchvision_on_pillow(many, generator, probability):
    augment = Grayscale(probability)
    draws = augment.draw(len(many), generator)
    expected = [
        pil_to_tensor(TF.rgb_to_grayscale(TF.to_pil_image(image), 3)) if x < probability else image
        for image, x in zip(many, draws[:, 0].tolist(), strict=True)
    ]
    assert_close(augment(many, draws), torch.stack(expected), rtol=0, atol=0)


def test_every_order_is_equally_likely(generator):
    """Orders are those of the sorted draws; 24 of them, 1,000 images each."""
    order = ColorJitter(1, 1, 1, 0.5).draw(24_000, generator)[:, 4:8].argsort(dim=1)
    seen = (order * torch.tensor([64, 16, 4, 1])).sum(dim=1).bincount(minlength=256)
    possible = [64 * a + 16 * b + 4 * c + d for a, b, c, d in itertools.permutations(range(4))]
    assert int(seen[possible].sum()) == 24_000
    assert_chi_squared(seen[possible])


def assert_chi_squared(counts):
    """Assert that counts are within five standard deviations of what equal chances give."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_factors_are_uniform_about_one(generator):
    """Brightness of an image of one value tells the factor, up to a grey level."""
    images = torch.full((10_000, 1, 1, 1), 100, dtype=torch.uint8)
    augment = ColorJitter(brightness=0.5)
    changed = augment(images, augment.draw(10_000, generator)).flatten()
    assert (int(changed.min()), int(changed.max())) == (50, 149)
    assert_chi_squared(changed.long().bincount()[50:])


@pytest.mark.parametrize("augment", [ColorJitter(brightness=0.9, probability=0.3), Grayscale(0.3)])
def test_a_share_of_the_images_is_changed(many, generator, augment):
    colored = many[:1].expand(10_000, -1, -1, -1)
    changed = (augment(colored, augment.draw(10_000, generator)) != colored).flatten(1).any(dim=1)
    assert abs(changed.float().mean() - 0.3) < 5 * (0.3 * 0.7 / 10_000) ** 0.5


def test_wrong_images_are_named(images):
    for augment in (ColorJitter(0.4), Grayscale(0.2)):
        name, draws = type(augment).__name__, torch.rand(40, augment.num_draws)
        with pytest.raises(TypeError, match=rf"{name}: .* torch\.uint8, got torch\.float32"):
            augment(images.float(), draws)
        with pytest.raises(ValueError, match=f"{name}: .* 1 or 3 channels, got 2"):
            augment(images[:, :2], draws)
        with pytest.raises(ValueError, match=rf"`draws` of shape \(N=40, {draws.shape[1]}\)"):
            augment(images, draws[:39])


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="`contrast` >= 0, got -1"):
        ColorJitter(contrast=-1)
    with pytest.raises(TypeError, match="`saturation` to be a number, got 'much'"):
        ColorJitter(saturation="much")
    for name in (*OPERATIONS, "probability"):
        for value in ("x", True, None, torch.tensor(0.1)):
            with pytest.raises(TypeError, match=f"ColorJitter: expected `{name}` to be a number"):
                ColorJitter(**{name: value})
    for value in ("a", True, None):
        with pytest.raises(TypeError, match=f"Grayscale: .* to be a number, got {value!r}"):
            Grayscale(value)
    with pytest.raises(ValueError, match=r"ColorJitter: expected `hue` <= 0\.5, got 0\.6"):
        ColorJitter(hue=0.6)
    with pytest.raises(ValueError, match=r"ColorJitter: .* `probability` between 0 and 1, got 2"):
        ColorJitter(0.4, probability=2)
    with pytest.raises(ValueError, match=r"Grayscale: .* between 0 and 1, got -0\.1"):
        Grayscale(-0.1)

"""Tests of semaug.augmentation.operations."""

import pytest
import torch
import torch.nn.functional as F

from semaug.augmentation import operations
from semaug.augmentation.operations import (
    Operation,
    apply_operations,
    computed_once,
    magnitude_of,
)
from tests.references.pillow import magnitude_by_torchvision, operate_by_images

WITH_SIGN = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
WITH_SIGN += ["Brightness", "Color", "Contrast", "Sharpness"]
WITH_LEVEL = [*WITH_SIGN, "Posterize", "Solarize"]
NAMES = [*WITH_LEVEL, "AutoContrast", "Equalize", "Invert", "Identity"]


def all_of(name, num_levels):
    """An operation on all of its levels, in both directions."""
    return tuple(
        Operation(name, level, num_levels, negative)
        for level in range(num_levels if name in WITH_LEVEL else 1)
        for negative in ([False, True] if name in WITH_SIGN else [False])
    )


def pictures(height, width):
    """Noise, faint noise, clouds, a gradient, checkers, one color, and two alike."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.rand(1, 3, *shape, generator=generator)

    octaves = [F.interpolate(noise(2**k, 2**k), (height, width)) / 2**k for k in range(5)]
    rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    gradient = (rows.unsqueeze(1) + columns) / 2
    checkers = (rows.unsqueeze(1) > 0.5) ^ (columns > 0.5)
    kinds = [
        noise(height, width),
        noise(height, width) * 0.25 + 0.3,
        sum(octaves) / 2,
        torch.stack([gradient, gradient.flip(1) * 0.5, 1 - gradient]).unsqueeze(0),
        checkers.float().expand(1, 3, -1, -1),
        noise(1, 1).expand(-1, -1, height, width),
        0.5 + noise(height, width) / 128,
    ]
    return (torch.cat(kinds) * 255.99).byte()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("size", "num_levels"),
    [((32, 32), 31), ((8, 8), 10), ((33, 47), 10), ((64, 64), 10), ((2, 5), 31), ((1, 1), 10)],
)
def test_equals_pillow_on_every_level_in_both_directions(name, size, num_levels, monkeypatch):
    images = pictures(*size)
    choices = all_of(name, num_levels)
    wanted = torch.cat([operate_by_images(images, operation) for operation in choices])
    repeated = images.repeat(len(choices), 1, 1, 1)
    choice = torch.arange(len(choices)).repeat_interleave(len(images))
    assert torch.equal(apply_operations(repeated, choices, choice), wanted)
    monkeypatch.setattr("semaug.covariance.rows.ALWAYS_STATIC", True)
    assert torch.equal(apply_operations(repeated, choices, choice), wanted)


@pytest.fixture
def mixed():
    """All operations on all of ten levels, and 600 images of which each gets any of them."""
    choices = sum((all_of(name, 10) for name in NAMES), start=())
    images = pictures(12, 10).repeat(86, 1, 1, 1)[:600]
    choice = torch.randint(len(choices), (len(images),), generator=torch.Generator().manual_seed(1))
    return images, choices, choice


@pytest.mark.usefixtures("either_path")
def test_images_get_their_own_operations(mixed):
    images, choices, choice = mixed
    wanted = [
        operate_by_images(image.unsqueeze(0), choices[k])
        for image, k in zip(images, choice.tolist(), strict=True)
    ]
    assert torch.equal(apply_operations(*mixed), torch.cat(wanted))


@pytest.mark.usefixtures("either_path")
def test_large_images_do_not_need_a_table_of_places(mixed, monkeypatch):
    images, choices, choice = mixed
    with_table = apply_operations(images, choices, choice)
    monkeypatch.setattr(operations, "MAX_PIXELS", 0)
    choices, choice = choices[::-1], len(choices) - 1 - choice  # not known yet
    assert torch.equal(apply_operations(images, choices, choice), with_table)
    assert operations._tables(choices, 12, 10, images.device, (0,)).pixels is None


@pytest.mark.usefixtures("either_path")
def test_an_image_does_not_depend_on_its_batch(mixed):
    images, choices, choice = mixed
    whole = apply_operations(images, choices, choice)
    parts = [
        apply_operations(images[k : k + 7], choices, choice[k : k + 7]) for k in range(0, 600, 7)
    ]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.usefixtures("either_path")
def test_memory_format_does_not_matter(mixed):
    images, choices, choice = mixed
    channels_last = images.to(memory_format=torch.channels_last)
    assert torch.equal(apply_operations(channels_last, choices, choice), apply_operations(*mixed))


@pytest.mark.usefixtures("either_path")
def test_the_images_given_stay_as_they_are(mixed):
    before = mixed[0].clone()
    apply_operations(*mixed)
    assert torch.equal(mixed[0], before)


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 3, 0, 8)])
def test_nothing_remains_nothing(mixed, shape):
    images = torch.empty(shape, dtype=torch.uint8)
    choice = torch.zeros(shape[0], dtype=torch.int64)
    assert apply_operations(images, mixed[1], choice).shape == shape


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_levels", [2, 10, 11, 31])
def test_magnitudes_are_those_of_torchvision(name, num_levels):
    for operation in all_of(name, num_levels):
        for size in [(32, 32), (33, 47), (224, 160)]:
            assert magnitude_of(operation, *size) == magnitude_by_torchvision(operation, *size)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def squares(calls):
    @computed_once
    def squares(count):
        """Return the first squares."""
        calls.append(count)
        return torch.arange(count) ** 2

    return squares


def test_computes_once_for_each_argument(squares, calls):
    assert squares(3).tolist() == squares(3).tolist() == [0, 1, 4]
    assert squares(4).tolist() == [0, 1, 4, 9]
    assert calls == [3, 4]
    assert squares.__doc__ == "Return the first squares."


def test_a_compiled_function_takes_the_result_for_a_constant(squares, calls):
    def add(numbers):
        return numbers + squares(3)

    compiled = torch.compile(add, fullgraph=True, backend="eager")
    for _ in range(3):
        assert compiled(torch.ones(3)).tolist() == [1, 2, 5]
    assert calls == [3]

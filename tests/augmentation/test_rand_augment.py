"""Tests of semaug.augmentation.rand_augment."""

import pytest
import torch
from torchvision import transforms

from semaug.augmentation import RandAugment, operations
from tests.references.pillow import transform_by_images

SETTINGS = [
    RandAugment(),
    RandAugment(3, 30),
    RandAugment(1, 0),
    RandAugment(2, 5, num_bins=11),
    RandAugment(2, 20, fill=128),
    RandAugment(2, 20, fill=(10, 20, 30)),
]


def rand_augment_by_images(images, draws, augment, monkeypatch):
    """Have torchvision take the decisions of the draws instead of its own."""
    decisions = iter([])

    def randint(high, size):
        return torch.tensor([next(decisions)])

    def transform(row):
        def apply(image):
            nonlocal decisions
            # torchvision asks for a direction only if the operation has one.
            decisions = iter(
                decision
                for name, sign in zip((row[::2] * 14).tolist(), row[1::2].tolist(), strict=True)
                for decision in ([int(name), int(sign < 0.5)] if 1 <= name < 10 else [int(name)])
            )
            return reference(image)

        return apply

    fill = [*augment.fill] if isinstance(augment.fill, tuple) else augment.fill
    reference = transforms.RandAugment(
        augment.num_ops, augment.magnitude, augment.num_bins, fill=fill
    )
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", randint)
        return transform_by_images(images, [transform(row) for row in draws])


@pytest.mark.usefixtures("either_path")
@pytest.mark.parametrize("augment", SETTINGS)
def test_equals_torchvision_image_by_image(many, generator, augment, monkeypatch):
    draws = augment.draw(len(many), generator)
    wanted = rand_augment_by_images(many, draws, augment, monkeypatch)
    assert torch.equal(augment(many, draws), wanted)


def test_the_largest_draw_chooses_the_last_operation(images, monkeypatch):
    largest = torch.full((40, 4), 1 - 2**-24)
    wanted = rand_augment_by_images(images, largest, RandAugment(), monkeypatch)
    assert torch.equal(RandAugment()(images, largest), wanted)
    assert torch.equal(RandAugment()(images, torch.ones(40, 4)), wanted)


@pytest.fixture
def deterministic():
    """Have torch refuse operators that do not repeat themselves, as training does."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("either_path", "deterministic")
def test_uses_operators_that_repeat_themselves(images, generator):
    draws = RandAugment().draw(len(images), generator)
    assert torch.equal(RandAugment()(images, draws), RandAugment()(images, draws))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.usefixtures("deterministic")
def test_uses_operators_that_repeat_themselves_on_a_gpu(many, generator):
    draws = RandAugment().draw(len(many), generator)
    actual = RandAugment()(many.cuda(), draws.cuda())
    assert torch.equal(actual.cpu(), RandAugment()(many, draws))


def test_every_operation_and_direction_is_equally_likely(generator, monkeypatch):
    choices = []

    def record(images, operations, choice, fill):
        choices.append(choice)
        return images

    monkeypatch.setattr(operations, "apply_operations", record)
    augment = RandAugment()
    images = torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(56_000, -1, -1, -1)
    augment(images, augment.draw(56_000, generator))
    first, second = choices
    for count in (first.bincount(), second.bincount(), (first // 2 * 14 + second // 2).bincount()):
        expected = 56_000 / len(count)
        statistic = ((count - expected) ** 2 / expected).sum()
        freedom = len(count) - 1
        assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_settings_decide_on_equality():
    assert RandAugment() == RandAugment(2, 9, 31) != RandAugment(2, 10)
    assert repr(RandAugment()) == "RandAugment(num_ops=2, magnitude=9, num_bins=31, fill=0)"


def test_compiles_without_a_graph_break(images, generator):
    """The same compiled function, for other settings and sizes of images as well."""
    compiled = torch.compile(
        lambda augment, *batch: augment(*batch), fullgraph=True, backend="eager"
    )
    for magnitude, size in [(9, 12), (15, 8)]:
        augment = RandAugment(1, magnitude)
        batch = images[:, :, :size].contiguous(), augment.draw(40, generator)
        assert torch.equal(compiled(augment, *batch), augment(*batch))


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="`num_ops` >= 1, got 0"):
        RandAugment(num_ops=0)
    with pytest.raises(ValueError, match="`num_bins` >= 2, got 1"):
        RandAugment(magnitude=0, num_bins=1)
    with pytest.raises(ValueError, match="`magnitude` from 0 to 30, got 31"):
        RandAugment(magnitude=31)
    with pytest.raises(ValueError, match="`magnitude` >= 0, got -1"):
        RandAugment(magnitude=-1)
    for name in ("num_ops", "magnitude", "num_bins"):
        for value in (9.5, 2.0, True, "2", None):
            with pytest.raises(TypeError, match=f"`{name}` to be an int, got {value!r}"):
                RandAugment(**{name: value})


def test_wrong_images_and_draws_are_named(images, generator):
    augment = RandAugment()
    draws = augment.draw(40, generator)
    with pytest.raises(TypeError, match=r"`images` of dtype torch.uint8, got torch.float32"):
        augment(images.float(), draws)
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\), got \(40, 1, 12, 10\)"):
        augment(images[:, :1], draws)
    with pytest.raises(ValueError, match=r"`draws` of shape \(N=40, 4\), got \(39, 4\)"):
        augment(images, draws[1:])
    with pytest.raises(TypeError, match=r"`draws` of a floating-point dtype, got torch.int64"):
        augment(images, draws.long())

"""What every augmentation of semaug.augmentation promises."""

import pytest
import torch
from torch.testing import assert_close

import semaug.augmentation
from semaug.augmentation import (
    Augmentation,
    AutoAugment,
    ColorJitter,
    Compose,
    CropFlip,
    Cutout,
    Grayscale,
    Mix,
    RandAugment,
    RandomScaleCrop,
    Translate,
    normalize,
)
from semaug.augmentation.policies import POLICIES

AUGMENTATIONS = [
    CropFlip(3),
    CropFlip(3, "reflect"),
    Translate(2),
    Cutout(5),
    Cutout(4, fill=(1, 2, 3)),
    Grayscale(0.5),
    ColorJitter(0.4, 0.4, 0.4, 0.1, probability=0.8),
    *(AutoAugment(policy) for policy in POLICIES),
    RandAugment(2, 9),
    RandAugment(1, 20, fill=(1, 2, 3)),
    RandomScaleCrop((12, 10)),
    RandomScaleCrop((12, 10), (1.0, 3.0), flip=False, fill=(9, 8, 7)),
    RandomScaleCrop((12, 10), (0.7, 2.1), step=0.1, rotation=30),
    RandomScaleCrop((12, 10), rotation=10, max_class_share=0.6),
    Compose(CropFlip(3), RandAugment(1, 5), Grayscale(0.2), Cutout(5)),
]
every_one = pytest.mark.parametrize("augment", AUGMENTATIONS, ids=str)
MOVE_MASKS = [
    augment
    for augment in AUGMENTATIONS
    if not any(name in str(augment) for name in ("AutoAugment", "RandAugment"))
]
EITHER_END = [0.0, 1 - 2**-24]  # what torch.rand may give


def test_every_augmentation_is_here():
    public = [getattr(semaug.augmentation, name) for name in semaug.augmentation.__all__]
    kinds = {x for x in public if isinstance(x, type) and issubclass(x, Augmentation)}
    assert kinds - {Augmentation} == {type(augment) for augment in AUGMENTATIONS}


@every_one
def test_draws_are_uniform_reproducible_and_one_row_for_each_image(augment):
    draws = [augment.draw(50, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert_close(draws[0], draws[1], rtol=0, atol=0)
    assert draws[0].shape == (50, augment.num_draws)
    assert draws[0].dtype == torch.float32
    assert draws[0].min() >= 0
    assert draws[0].max() < 1


@every_one
@pytest.mark.usefixtures("either_path")
def test_an_image_does_not_depend_on_its_batch(images, generator, augment):
    draws = augment.draw(len(images), generator)
    before = images.clone(), draws.clone()
    whole = augment(images, draws)
    assert whole.dtype == torch.uint8
    for size in (1, 20):
        parts = map(augment, images.split(size), draws.split(size))
        assert_close(torch.cat(list(parts)), whole, rtol=0, atol=0)
    order = torch.randperm(len(images), generator=generator)
    assert_close(augment(images[order], draws[order]), whole[order], rtol=0, atol=0)
    assert_close((images, draws), before, rtol=0, atol=0)


@every_one
def test_each_draw_has_a_name(augment):
    assert len(augment.draw_names) == augment.num_draws
    assert all(name == name.lower() for name in augment.draw_names)


@pytest.fixture
def masks(generator):
    return torch.randint(0, 9, (40, 12, 10), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("augment", MOVE_MASKS, ids=str)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_a_mask_does_not_depend_on_its_batch_and_dtype(masks, generator, augment, dtype):
    draws = augment.draw(len(masks), generator)
    before = masks.clone()
    moved = augment.move(masks, draws)
    assert moved.dtype == torch.uint8
    assert moved.shape == masks.shape
    parts = [augment.move(*pair) for pair in zip(masks.split(3), draws.split(3), strict=True)]
    assert_close(torch.cat(parts), moved, rtol=0, atol=0)
    assert_close(augment.move(masks.to(dtype), draws), moved.to(dtype), rtol=0, atol=0)
    assert augment.move(masks[:0], draws[:0]).shape == masks[:0].shape
    assert augment.move(masks.to("meta"), draws.to("meta")).shape == masks.shape
    assert_close(masks, before, rtol=0, atol=0)


@pytest.mark.parametrize(
    "augment", [augment for augment in AUGMENTATIONS if augment not in MOVE_MASKS], ids=str
)
def test_what_moves_pixels_and_no_masks_says_so(masks, augment):
    with pytest.raises(ValueError, match="expected images with one label each, for it moves pix"):
        augment.move(masks, torch.rand(40, augment.num_draws))


@pytest.mark.parametrize("augment", [Cutout(5), Grayscale(0.5), ColorJitter(0.4)], ids=str)
def test_changes_of_color_leave_masks_alone(masks, augment):
    assert augment.move(masks, torch.rand(40, augment.num_draws)) is masks


@every_one
@pytest.mark.usefixtures("either_path")
def test_an_empty_batch_stays_empty(images, augment):
    result = augment(images[:0], torch.rand(0, augment.num_draws))
    assert result.shape == (0, 3, 12, 10)
    assert result.dtype == torch.uint8


@every_one
def test_memory_format_does_not_matter(images, generator, augment):
    draws = augment.draw(len(images), generator)
    channels_last = images.to(memory_format=torch.channels_last)
    assert_close(augment(channels_last, draws), augment(images, draws), rtol=0, atol=0)


@every_one
@pytest.mark.parametrize("value", EITHER_END)
def test_extreme_draws_decide_as_others_do(images, augment, value):
    draws = torch.full((len(images), augment.num_draws), value)
    near = draws + (1e-6 if value == 0 else -1e-6)
    assert_close(augment(images, draws), augment(images, near), rtol=0, atol=5)


@every_one
def test_an_accelerator_need_not_look_at_values(images, augment):
    """Tensors without values stop whatever asks for one."""
    draws = torch.empty(len(images), augment.num_draws, device="meta")
    result = augment(images.to("meta"), draws)
    assert result.shape == images.shape
    assert result.dtype == torch.uint8


@pytest.mark.parametrize(
    "augment",
    [
        pytest.param(augment, marks=[pytest.mark.full] * (place % 4 > 0))
        for place, augment in enumerate(AUGMENTATIONS)
    ],
    ids=str,
)
def test_compiles_without_a_graph_break(images, generator, augment):
    draws = augment.draw(len(images), generator)
    torch.compiler.reset()  # the graphs of the other augmentations count against this one

    def step(images, draws):
        return normalize(augment(images, draws), (0.5,) * 3, (0.2,) * 3)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert_close(compiled(images, draws), step(images, draws))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_one
def test_a_gpu_gives_the_same_images_and_is_never_waited_for(images, generator, augment):
    draws = augment.draw(len(images), generator)
    expected = normalize(augment(images, draws), (0.5,) * 3, (0.2,) * 3)
    assert_close(without_waiting(augment, images.cuda(), draws.cuda()).cpu(), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_mixes_the_same_images_and_is_never_waited_for(images, generator):
    mix = Mix(0.4, 1.0)
    images, labels, draws = images.float(), torch.arange(40), mix.draw(40, generator)
    expected = mix(images, labels, draws, 40)
    images, labels, draws = images.cuda(), labels.cuda(), draws.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        actual = mix(images, labels, draws, 40)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_close(tuple(x.cpu() for x in actual), expected)


def without_waiting(augment, images, draws):
    def step():
        return normalize(augment(images, draws), (0.5,) * 3, (0.2,) * 3)

    step()  # the first call copies constants
    torch.cuda.set_sync_debug_mode("error")
    try:
        return step()
    finally:
        torch.cuda.set_sync_debug_mode("default")

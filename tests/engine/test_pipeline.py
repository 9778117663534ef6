"""Tests of semaug.engine.pipeline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from semaug.augmentation import Cutout, normalize
from semaug.data import load_data
from semaug.data.folder import load_folder
from semaug.engine.pipeline import Pipeline, build_augmentation
from semaug.errors import UserError
from semaug.recipe.recipe import Augment

AIT = "method=ait"

# All at once, each image with its own decisions.
EVERYTHING = [
    "padding=1",
    "flip=true",
    "policy=randaugment",
    "grayscale=0.3",
    "jitter=0.4,0.4,0.4,0.1",
    "cutout=3",
]


@pytest.fixture
def photographs(tmp_path):
    """Two classes of five photographs to train on and three to test on, of several sizes."""
    numbers = np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photographs" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                size = (30 + 3 * index, 40)
                pixels = numbers.integers(256, size=(*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "photographs"


@pytest.fixture
def make_pipeline(make_run):
    """Return a function that makes the pipeline of a tiny run."""
    made = []

    def make(*changes, root=None, workers=0):
        recipe = make_run("digits_resnet8", *changes).recipe
        data = load_data("digits") if root is None else load_folder(root)
        made.append(Pipeline(recipe, data, workers))
        return made[-1]

    yield make
    for pipeline in made:
        pipeline.__exit__()


def whole_epoch(pipeline, seed=0, epoch=0, first_step=0):
    images, labels, targets = zip(*pipeline.train_batches(seed, epoch, first_step), strict=True)
    targets = None if targets[0] is None else torch.cat(targets)
    return torch.cat(images), torch.cat(labels), targets


def test_without_augmentation_images_are_normalized_and_shuffled(make_pipeline):
    pipeline = make_pipeline("padding=0", "flip=false")
    images, labels, targets = whole_epoch(pipeline)
    train = pipeline.data.train
    expected = normalize(train.images, pipeline.data.mean, pipeline.data.std)
    assert targets is None
    assert not torch.equal(labels, train.labels)

    def sort(pixels):
        return torch.stack(sorted(pixels.flatten(1), key=lambda row: row.tolist()))

    assert torch.equal(sort(images), sort(expected))


@pytest.mark.parametrize("changes", [EVERYTHING, ["padding=1", "flip=true"]])
def test_what_is_shown_does_not_depend_on_the_size_of_batches(make_pipeline, changes):
    expected = whole_epoch(make_pipeline(*changes, "batch_size=32"))
    for batch_size in (1, 7, 1000):
        actual = whole_epoch(make_pipeline(*changes, f"batch_size={batch_size}"))
        assert torch.equal(actual[0], expected[0])
        assert torch.equal(actual[1], expected[1])


def test_epochs_and_seeds_show_other_things(make_pipeline):
    pipeline = make_pipeline(*EVERYTHING)
    first = whole_epoch(pipeline)[0]
    assert torch.equal(first, whole_epoch(pipeline)[0])
    assert not torch.equal(first, whole_epoch(pipeline, epoch=1)[0])
    assert not torch.equal(first, whole_epoch(pipeline, seed=1)[0])


@pytest.mark.parametrize("changes", [EVERYTHING, ["mixup=0.2", "cutmix=1"]])
def test_the_rest_of_an_epoch_is_the_end_of_the_whole(make_pipeline, changes):
    pipeline = make_pipeline(*changes)
    whole, rest = whole_epoch(pipeline), whole_epoch(pipeline, first_step=2)
    assert torch.equal(whole[0][64:], rest[0])
    assert torch.equal(whole[1][64:], rest[1])


@pytest.mark.parametrize("changes", [["mixup=0.4"], ["cutmix=1"], ["mixup=0.4", "cutmix=1"]])
def test_mixed_images_come_with_soft_targets(make_pipeline, changes):
    images, labels, targets = whole_epoch(make_pipeline(*changes))
    plain = whole_epoch(make_pipeline())[0]
    assert targets.shape == (1000, 10)
    assert_close(targets.sum(1), torch.ones(1000))
    assert (targets.gather(1, labels.unsqueeze(1)) > 0).all()
    mixed = (images != plain).flatten(1).any(1)
    assert mixed.float().mean() > 0.5
    hard = torch.nn.functional.one_hot(labels, 10).float()
    assert_close(targets[~mixed & (targets.amax(1) == 1)], hard[~mixed & (targets.amax(1) == 1)])


def test_test_images_stay_as_they_are(make_pipeline):
    pipeline = make_pipeline(*EVERYTHING, "mixup=1")
    batches = list(pipeline.test_batches())
    data = pipeline.data
    assert torch.equal(
        torch.cat([batch.images for batch in batches]),
        normalize(data.test.images, data.mean, data.std),
    )
    assert torch.equal(torch.cat([batch.labels for batch in batches]), data.test.labels)
    assert all(batch.targets is None for batch in batches)


def test_memory_format_is_that_of_the_recipe(make_pipeline):
    for value in ("true", "false"):
        pipeline = make_pipeline(f"channels_last={value}", *EVERYTHING)
        batch = next(pipeline.train_batches(0, 0))
        layout = torch.channels_last if value == "true" else torch.contiguous_format
        assert batch.images.is_contiguous(memory_format=layout)


def test_whitening_leaves_pixels_uncorrelated(make_pipeline):
    images = whole_epoch(make_pipeline("padding=0", "flip=false", "whitening=true"))[0]
    covariance = torch.cov(images.flatten(1).T)
    assert covariance.isfinite().all()
    # Pixels that never vary and repeated channels have no variance to bring to 1.
    off_diagonal = covariance - covariance.diagonal().diag()
    normal = whole_epoch(make_pipeline("padding=0", "flip=false"))[0].flatten(1)
    normal = torch.cov(normal.T)
    assert off_diagonal.abs().mean() < 0.2 * (normal - normal.diagonal().diag()).abs().mean()


def test_whitened_images_are_shifted_and_cut_like_others(make_pipeline):
    white = whole_epoch(make_pipeline("padding=0", "flip=false", "whitening=true"))[0]
    changed = ["padding=1", "flip=true", "cutout=3"]
    images = whole_epoch(make_pipeline(*changed, "whitening=true"))[0]
    assert images.dtype == torch.float32
    shares = (images == 0).float().mean(), (white == 0).float().mean()
    assert shares[0] > shares[1] + 0.05  # holes and borders
    test = next(make_pipeline(*changed, "whitening=true").test_batches()).images
    plain = next(make_pipeline("padding=0", "flip=false", "whitening=true").test_batches())
    assert torch.equal(test, plain.images)


@pytest.mark.parametrize("change", ["policy=randaugment", "grayscale=0.1", "jitter=0.1"])
def test_colors_of_whitened_images_are_refused(make_pipeline, change):
    name = change.partition("=")[0]
    with pytest.raises(UserError, match=f"expected no `{name}` with `whitening`: it changes colo"):
        make_pipeline("whitening=true", change)


def test_holes_have_the_color_that_becomes_nearly_zero():
    data = load_data("digits")
    (cutout,) = build_augmentation(Augment(padding=0, flip=False, cutout=3), data).augmentations
    assert isinstance(cutout, Cutout)
    fill = torch.tensor(cutout.fill, dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(fill, data.mean, data.std).abs().max() < 0.5 / 255 / min(data.std)


@pytest.mark.parametrize("workers", [0, 2])
def test_photographs_in_files_become_batches(make_pipeline, photographs, workers):
    changes = ["padding=0", "image_size=16", "batch_size=4", "cutout=4", "flip=true"]
    pipeline = make_pipeline(*changes, root=photographs, workers=workers)
    images, labels, _ = whole_epoch(pipeline)
    assert images.shape == (10, 3, 16, 16)
    assert sorted(labels.tolist()) == 5 * [0] + 5 * [1]
    expected = whole_epoch(make_pipeline(*changes, root=photographs))[0]
    assert torch.equal(images, expected)
    assert torch.equal(whole_epoch(pipeline, first_step=1)[0], expected[4:])
    assert next(iter(pipeline.test_batches())).images.shape == (6, 3, 16, 16)
    assert pipeline.example_images().shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["padding=4"], "lie in files and get a random resized crop, so `padding` has no meaning"),
        (["padding=0", "whitening=true"], "expected no `whitening` of images that lie in files"),
    ],
)
def test_what_has_no_meaning_for_files_is_named(make_pipeline, photographs, changes, message):
    with pytest.raises(UserError, match=message):
        make_pipeline(*changes, root=photographs)


def test_a_size_for_images_that_have_one_is_refused(make_pipeline):
    with pytest.raises(UserError, match="`image_size` has no effect, for images of data=digits"):
        make_pipeline("image_size=32")


def test_an_augmentation_for_larger_images_is_named(make_pipeline):
    message = r"^recipe: augmentation does not fit data=digits: .* 8 x 8 pixels$"
    with pytest.raises(UserError, match=message):
        make_pipeline("padding=8", "padding_mode=reflect")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named(make_pipeline, photographs, workers):
    pipeline = make_pipeline(
        "padding=0", "image_size=16", "batch_size=4", root=photographs, workers=workers
    )
    damaged = photographs / "train" / "dog" / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(UserError, match=r"4\.png"):
        whole_epoch(pipeline)


def test_one_training_image_is_enough_to_try(make_pipeline):
    pipeline = make_pipeline()
    data = replace(pipeline.data, train=pipeline.data.train.subset(torch.tensor([0])))
    assert Pipeline(pipeline.recipe, data).example_images().shape == (1, 3, 8, 8)


# Several views of each image.


def test_first_view_is_the_only_one_of_other_methods(make_pipeline):
    alone = list(make_pipeline(*EVERYTHING, "batch_size=30").train_batches(0, 2))
    several = list(make_pipeline(*EVERYTHING, "batch_size=30", AIT, "views=3").train_batches(0, 2))
    for one, batch in zip(alone, several, strict=True):
        assert batch.images.shape == (3, *one.images.shape)
        assert torch.equal(batch.images[0], one.images)
        assert torch.equal(batch.labels, one.labels)
        assert not torch.equal(batch.images[0], batch.images[1])
        assert not torch.equal(batch.images[1], batch.images[2])


def test_every_image_is_seen_once_an_epoch_in_batches_of_any_size(make_pipeline):
    pipeline = make_pipeline("padding=0", "flip=false", "batch_size=37", AIT)
    batches = list(pipeline.train_batches(0, 0))
    first, second = torch.cat([batch.images for batch in batches], dim=1)
    assert torch.equal(first, second)  # without augmentation, views of an image are equal
    images = pipeline.prepare(pipeline.data.train.images)
    assert sorted(map(str, first.flatten(1).tolist())) == sorted(
        map(str, images.flatten(1).tolist())
    )


def test_views_have_augmentations_of_their_own(make_pipeline):
    changes = ["padding=2", "grayscale=1", "flip=false", AIT, "view_augments=rp,rg"]
    pipeline = make_pipeline(*changes)
    crop, gray = pipeline.augments
    assert repr(crop) == repr(build_augmentation(Augment(padding=2, flip=False), pipeline.data))
    assert "Grayscale" in repr(gray)
    assert "CropFlip" not in repr(gray)


def test_views_come_back_when_a_run_goes_on(make_pipeline):
    changes = [*EVERYTHING, "batch_size=30", AIT]
    whole = list(make_pipeline(*changes).train_batches(1, 3))
    rest = list(make_pipeline(*changes).train_batches(1, 3, first_step=2))
    assert torch.equal(whole[2].images, rest[0].images)
    assert len(whole) == len(rest) + 2


def test_views_lie_in_memory_as_one_batch(make_pipeline):
    pipeline = make_pipeline(AIT, "channels_last=true")
    images = next(pipeline.train_batches(0, 0)).images.flatten(0, 1)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_mixed_views_share_their_partners_and_targets(make_pipeline):
    changes = ["padding=0", "flip=false", "mixup=1"]
    alone = next(make_pipeline(*changes).train_batches(0, 0))
    batch = next(make_pipeline(*changes, AIT).train_batches(0, 0))
    assert_close(batch.targets, alone.targets)
    assert_close(batch.images, torch.stack([alone.images] * 2))


@pytest.mark.parametrize("workers", [0, 1])
def test_files_are_decoded_once_and_cropped_for_each_view(make_pipeline, photographs, workers):
    changes = ["padding=0", "image_size=16", "batch_size=4"]
    alone = list(make_pipeline(*changes, root=photographs).train_batches(0, 0))
    pipeline = make_pipeline(*changes, AIT, root=photographs, workers=workers)
    for one, batch in zip(alone, pipeline.train_batches(0, 0), strict=True):
        assert batch.images.shape == (2, *one.images.shape)
        assert torch.equal(batch.images[0], one.images)
        assert not torch.equal(batch.images[0], batch.images[1])
    assert pipeline.sample_batch(0, 0).images.ndim == 5
    assert pipeline.example_images().ndim == 4

"""Tests of semaug.engine.streams."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug.augmentation import Augment, Cutout, RandomScaleCrop, normalize
from semaug.data import DataSet, ImageSet
from semaug.engine.device import settle
from semaug.engine.streams import Streams
from semaug.errors import UserError
from semaug.methods import StepOutput, Stream, View
from semaug.metrics import Error, MeanIoU
from semaug.recipe.plan import StreamPlan
from tests.tiny import tiny_recipe

AIT = "method=ait"

# All at once, each image with its own decisions.
EVERYTHING = [
    "padding=1",
    "augment.flip=true",
    "policy=randaugment",
    "grayscale=0.3",
    "jitter=0.4,0.4,0.4,0.1",
    "cutout=3",
]
ALL_IMAGES = ["train_per_class=none", "test_images=none"]  # 1000 and 797 instead of 100 and 60
FOUR_LABELS = "labeled_per_class=4"  # of 100 images, which all come without their labels too
FILES = ["data=folder", "train_per_class=none", "test_images=none", "padding=0", "image_size=16"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A method that is nothing but its streams."""

    wanted: dict

    def streams(self, recipe):
        return self.wanted


ONE_VIEW = (View(),)
TWO_VIEWS = (View(), View())


def two_streams(batch_size=30, views=ONE_VIEW):
    return Asked(wanted={"labeled": Stream(), "unlabeled": Stream("unlabeled", batch_size, views)})


@pytest.fixture
def make_streams(tmp_path):
    """Return a function that makes the streams of a tiny run."""
    made = []

    def make(*changes, root=tmp_path, data=None, method=None, workers=0, rank=0, world_size=1):
        recipe = settle(tiny_recipe("digits_resnet8", *changes), torch.device("cpu"))
        if method is not None:
            recipe = replace(recipe, method=method)
        if data is None:
            data, _ = recipe.subset.select(recipe.data.load(root, None))
        made.append(Streams(recipe, data, workers, rank, world_size))
        return made[-1]

    yield make
    for streams in made:
        streams.__exit__()


def epoch_of(streams, name="labeled", seed=0, epoch=0, first_step=0):
    """Return all samples of a stream in an epoch."""
    batches = streams.train_batches(seed, epoch, first_step)
    return [batch.streams[name] for batch, _ in batches]


def joined(samples):
    """Return images, labels and targets of samples as one batch."""
    images, labels, targets, _ = zip(*samples, strict=True)
    return tuple(None if part[0] is None else torch.cat(part) for part in (images, labels, targets))


def whole_epoch(streams, **options):
    return joined(epoch_of(streams, **options))


def positions_of(samples):
    return torch.cat([one.positions for one in samples]).tolist()


def assert_equal_samples(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for own, its in zip(one, other, strict=True):
            assert own is its is None or torch.equal(own, its)


# One stream, one view.


def test_without_augmentation_images_are_normalized_and_shuffled(make_streams):
    streams = make_streams("padding=0")
    images, labels, targets = whole_epoch(streams)
    train = streams.data.train
    expected = normalize(train.images, streams.data.mean, streams.data.std)
    assert targets is None
    assert not torch.equal(labels, train.labels)
    places = torch.tensor(positions_of(epoch_of(streams)))
    assert torch.equal(images, expected[places])
    assert torch.equal(labels, train.labels[places])
    assert places.sort().values.tolist() == list(range(100))


@pytest.mark.parametrize("changes", [EVERYTHING, ["padding=1", "augment.flip=true"]])
def test_what_is_shown_does_not_depend_on_the_size_of_batches(make_streams, changes):
    expected = whole_epoch(make_streams(*changes, "batch_size=32"))
    for batch_size in (1, 7, 1000):
        actual = whole_epoch(make_streams(*changes, f"batch_size={batch_size}"))
        assert torch.equal(actual[0], expected[0])
        assert torch.equal(actual[1], expected[1])


def test_epochs_and_seeds_show_other_things(make_streams):
    streams = make_streams(*EVERYTHING)
    first = whole_epoch(streams)[0]
    assert torch.equal(first, whole_epoch(streams)[0])
    assert not torch.equal(first, whole_epoch(streams, epoch=1)[0])
    assert not torch.equal(first, whole_epoch(streams, seed=1)[0])


def test_batches_tell_which_step_of_the_run_they_are(make_streams):
    streams = make_streams()
    assert [batch.step for batch, _ in streams.train_batches(0, 2, 1)] == [9, 10, 11]


@pytest.mark.parametrize("changes", [EVERYTHING, ["mixup=0.2", "cutmix=1"]])
def test_the_rest_of_an_epoch_is_the_end_of_the_whole(make_streams, changes):
    streams = make_streams(*changes)
    assert_equal_samples(epoch_of(streams)[2:], epoch_of(streams, first_step=2))


@pytest.mark.parametrize("changes", [["mixup=0.4"], ["cutmix=1"], ["mixup=0.4", "cutmix=1"]])
def test_mixed_images_come_with_soft_targets(make_streams, changes):
    images, labels, targets = whole_epoch(make_streams(*changes))
    plain = whole_epoch(make_streams())[0]
    assert targets.shape == (100, 10)
    assert_close(targets.sum(1), torch.ones(100))
    assert (targets.gather(1, labels.unsqueeze(1)) > 0).all()
    mixed = (images != plain).flatten(1).any(1)
    assert mixed.float().mean() > 0.5
    hard = torch.nn.functional.one_hot(labels, 10).float()
    assert_close(targets[~mixed & (targets.amax(1) == 1)], hard[~mixed & (targets.amax(1) == 1)])


def test_test_images_stay_as_they_are(make_streams):
    streams = make_streams(*EVERYTHING, "mixup=1", "evaluation_batch_size=7")
    batches = list(streams.test_batches())
    test = streams.data.test
    images, labels, targets = joined(batches)
    assert torch.equal(images, normalize(test.images, streams.data.mean, streams.data.std))
    assert torch.equal(labels, test.labels)
    assert targets is None
    assert positions_of(batches) == list(range(60))


def test_memory_format_is_that_of_the_recipe(make_streams):
    for value in ("true", "false"):
        (samples, *_) = epoch_of(make_streams(f"channels_last={value}", *EVERYTHING))
        layout = torch.channels_last if value == "true" else torch.contiguous_format
        assert samples.images.is_contiguous(memory_format=layout)


def test_whitening_leaves_pixels_uncorrelated(make_streams):
    images, plain = (
        whole_epoch(make_streams(*ALL_IMAGES, "padding=0", f"whitening={value}"))[0].flatten(1)
        for value in ("true", "false")
    )
    assert images.isfinite().all()
    # Pixels that never vary and repeated channels have no variance to bring to 1.
    off_diagonal = [torch.cov(x.T) - torch.cov(x.T).diagonal().diag() for x in (images, plain)]
    assert off_diagonal[0].abs().mean() < 0.2 * off_diagonal[1].abs().mean()


def test_whitened_images_are_shifted_and_cut_like_others(make_streams):
    white = whole_epoch(make_streams("padding=0", "whitening=true"))[0]
    changed = make_streams("padding=1", "augment.flip=true", "cutout=3", "whitening=true")
    images = whole_epoch(changed)[0]
    assert images.dtype == torch.float32
    shares = (images == 0).float().mean(), (white == 0).float().mean()
    assert shares[0] > shares[1] + 0.05  # holes and borders
    test = next(changed.test_batches()).images
    plain = next(make_streams("padding=0", "whitening=true").test_batches())
    assert torch.equal(test, plain.images)
    whiten = changed.whiten
    assert torch.equal(changed.prepare(whiten(changed.data.test.images)), test)


@pytest.mark.parametrize("change", ["policy=randaugment", "grayscale=0.1", "jitter=0.1"])
def test_colors_of_whitened_images_are_refused(make_streams, change):
    name = change.partition("=")[0]
    with pytest.raises(UserError, match=f"expected no `{name}` with `whitening`: it changes colo"):
        make_streams("whitening=true", change)


def test_holes_have_the_color_that_becomes_nearly_zero(make_streams):
    data = make_streams().data
    (cutout,) = Augment(padding=0, flip=False, cutout=3).build(data).augmentations
    assert isinstance(cutout, Cutout)
    fill = torch.tensor(cutout.fill, dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(fill, data.mean, data.std).abs().max() < 0.5 / 255 / min(data.std)


def test_an_augmentation_for_larger_images_is_named(make_streams):
    message = r"^recipe: augmentation does not fit data=digits: .* 8 x 8 pixels$"
    with pytest.raises(UserError, match=message):
        make_streams("padding=8", "padding_mode=reflect")


def test_one_training_image_is_enough_to_try(make_streams):
    streams = make_streams()
    data = replace(streams.data, train=streams.data.train.subset(torch.tensor([0])))
    assert make_streams(data=data).example_images().shape == (1, 3, 8, 8)


def test_numbers_that_are_no_bytes_are_left_alone(make_streams):
    white = make_streams("whitening=true", "padding=0")
    features = torch.randn(6, 3, 1, 1)
    assert torch.equal(white.prepare(features), features)
    assert make_streams("precision=64").prepare(features).dtype == torch.float64


# Images in files.


@pytest.mark.parametrize("workers", [0, 2])
def test_photographs_in_files_become_batches(make_streams, photographs, workers):
    changes = [*FILES, "batch_size=4", "cutout=4", "augment.flip=true"]
    root = photographs()
    streams = make_streams(*changes, root=root, workers=workers)
    samples = epoch_of(streams)
    images, labels, _ = joined(samples)
    assert images.shape == (10, 3, 16, 16)
    assert sorted(labels.tolist()) == 5 * [0] + 5 * [1]
    assert_equal_samples(samples, epoch_of(make_streams(*changes, root=root)))
    assert_equal_samples(epoch_of(streams, first_step=1), samples[1:])
    assert next(iter(streams.test_batches())).images.shape == (6, 3, 16, 16)
    assert streams.example_images().shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["padding=4"], "lie in files and get a random resized crop, so `padding` has no meaning"),
        (["whitening=true"], "expected no `whitening` of images that lie in files"),
    ],
)
def test_what_has_no_meaning_for_files_is_named(make_streams, photographs, changes, message):
    with pytest.raises(UserError, match=message):
        make_streams(*{*FILES} - {"padding=0"}, *changes, root=photographs())


def test_images_in_memory_are_resized_after_all_other_changes(make_streams):
    plain, large = make_streams(), make_streams("image_size=16")
    shown = [
        (streams.example_images(), next(streams.test_batches()).images, whole_epoch(streams)[0])
        for streams in (plain, large)
    ]
    for small, big in zip(*shown, strict=True):
        assert small.shape[2:] == (8, 8)
        expected = F.interpolate(small, (16, 16), mode="bilinear", antialias=True)
        assert_close(big, expected, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named(make_streams, photographs, workers):
    root = photographs()
    streams = make_streams(*FILES, "batch_size=4", root=root, workers=workers)
    damaged = root / "train" / "dog" / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(UserError, match=r"4\.png"):
        whole_epoch(streams)


# Several views of each image.


def test_first_view_is_the_only_one_of_other_methods(make_streams):
    alone = epoch_of(make_streams(*EVERYTHING, "batch_size=30"), epoch=2)
    several = epoch_of(make_streams(*EVERYTHING, "batch_size=30", AIT, "views=3"), epoch=2)
    for one, samples in zip(alone, several, strict=True):
        assert samples.images.shape == (3, *one.images.shape)
        assert torch.equal(samples.images[0], one.images)
        assert torch.equal(samples.labels, one.labels)
        assert not torch.equal(samples.images[0], samples.images[1])
        assert not torch.equal(samples.images[1], samples.images[2])


def test_every_image_is_seen_once_an_epoch_in_batches_of_any_size(make_streams):
    streams = make_streams("padding=0", "batch_size=37", AIT)
    samples = epoch_of(streams)
    first, second = torch.cat([one.images for one in samples], dim=1)
    assert torch.equal(first, second)  # without augmentation, views of an image are equal
    assert torch.equal(first, streams.prepare(streams.data.train.images)[positions_of(samples)])
    assert sorted(positions_of(samples)) == list(range(100))


def test_views_have_augmentations_of_their_own(make_streams):
    streams = make_streams(
        "padding=2", "grayscale=1", "augment.flip=false", AIT, "view_augments=rp,rg"
    )
    crop, gray = streams.first.augments
    assert repr(crop) == repr(Augment(padding=2, flip=False).build(streams.data))
    assert "Grayscale" in repr(gray)
    assert "CropFlip" not in repr(gray)


def test_views_come_back_when_a_run_goes_on(make_streams):
    changes = [*EVERYTHING, "batch_size=30", AIT]
    whole = epoch_of(make_streams(*changes), seed=1, epoch=3)
    rest = epoch_of(make_streams(*changes), seed=1, epoch=3, first_step=2)
    assert_equal_samples(whole[2:], rest)


def test_views_lie_in_memory_as_one_batch(make_streams):
    images = epoch_of(make_streams(AIT))[0].images.flatten(0, 1)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_mixed_views_share_their_partners_and_targets(make_streams):
    changes = ["padding=0", "mixup=1"]
    alone = epoch_of(make_streams(*changes))[0]
    samples = epoch_of(make_streams(*changes, AIT))[0]
    assert_close(samples.targets, alone.targets)
    assert_close(samples.images, torch.stack([alone.images] * 2))


@pytest.mark.parametrize("workers", [0, 1])
def test_files_are_decoded_once_and_cropped_for_each_view(make_streams, photographs, workers):
    changes = [*FILES, "batch_size=4"]
    root = photographs()
    alone = epoch_of(make_streams(*changes, root=root))
    streams = make_streams(*changes, AIT, root=root, workers=workers)
    for one, samples in zip(alone, epoch_of(streams), strict=True):
        assert samples.images.shape == (2, *one.images.shape)
        assert torch.equal(samples.images[0], one.images)
        assert not torch.equal(samples.images[0], samples.images[1])
    assert streams.sample_batch(0, 0).labeled.images.ndim == 5
    assert streams.example_images().ndim == 4


def test_views_may_share_what_is_drawn(make_streams):
    """Of a flip that both share, one view shows what the other shows, but for its shift."""
    flips = Augment(padding=0, flip=True)
    views = (View(augment=flips), View(augment=flips), View(augment=flips, shares=("flip",)))
    images = epoch_of(make_streams(method=Asked(wanted={"labeled": Stream(views=views)})))[0].images
    own, other, shared = images
    assert torch.equal(own, shared)
    assert not torch.equal(own, other)

    crops = Augment(padding=2, flip=True)
    views = (View(augment=crops), View(augment=crops, shares=("flip",)))
    streams = make_streams(method=Asked(wanted={"labeled": Stream(views=views)}))
    _, draws, _ = streams.first._draw_all(0, streams.first.parts(0, 0, streams.plan))
    assert [torch.equal(draws[0][:, k], draws[1][:, k]) for k in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("augment", "name", "message"),
    [
        (Augment(padding=1), "rotate", "'rotate', which both views must have; .* crop, crop, flip"),
        (Augment(padding=0, flip=False), "flip", "'flip', which both views .* the first has none"),
    ],
)
def test_draws_that_both_views_have_not_are_named(make_streams, augment, name, message):
    views = (View(augment=augment), View(shares=(name,)))
    with pytest.raises(UserError, match=f"recipe: a view shares the draws of {message}"):
        make_streams(method=Asked(wanted={"labeled": Stream(views=views)}))


def test_views_of_several_sizes_are_refused(make_streams):
    @dataclass(frozen=True)
    class Smaller:
        def build(self, data):
            return RandomScaleCrop(size=4)

    views = (View(), View(augment=Smaller()))
    with pytest.raises(UserError, match="augmentation does not fit data=digits: Sizes of tensors"):
        make_streams(method=Asked(wanted={"labeled": Stream(views=views)}))


# Two streams.


def test_the_first_stream_counts_and_the_others_cycle_in_full_batches(make_streams):
    streams = make_streams(FOUR_LABELS, "epochs=5", method=two_streams(30))
    assert streams.plan.streams == {"labeled": StreamPlan(40, 32), "unlabeled": StreamPlan(100, 30)}
    assert (streams.plan.steps_per_epoch, streams.plan.total_steps) == (2, 10)
    labeled = [len(one.labels) for epoch in range(3) for one in epoch_of(streams, epoch=epoch)]
    assert labeled == 3 * [32, 8]
    shown = [one for epoch in range(5) for one in epoch_of(streams, "unlabeled", epoch=epoch)]
    assert [len(one.images) for one in shown] == 10 * [30]
    places = positions_of(shown)
    for own in range(3):  # epochs of its own, of which none is cut short
        assert sorted(places[100 * own : 100 * own + 100]) == list(range(100))
    assert places[:100] != places[100:200]


def test_the_unlabeled_stream_may_be_the_one_that_counts(make_streams):
    wanted = {"unlabeled": Stream("unlabeled"), "labeled": Stream(batch_size=7)}
    streams = make_streams(FOUR_LABELS, method=Asked(wanted=wanted))
    assert [len(one.images) for one in epoch_of(streams, "unlabeled")] == [32, 32, 32, 4]
    assert [len(one.images) for one in epoch_of(streams)] == 4 * [7]
    assert streams.example_images().shape == (2, 3, 8, 8)
    samples = streams.sample_batch(0, 0)
    assert samples.unlabeled.labels is None
    assert samples.labeled.labels is not None
    assert [len(one.images) for one in samples.streams.values()] == [64, 40]


@pytest.mark.parametrize("batch_size", [7, 100, 250])
def test_what_a_stream_shows_depends_on_seed_epoch_and_name_alone(make_streams, batch_size):
    """Not on the other streams, nor on the size of a batch, which may be larger than the set."""
    changes = [*EVERYTHING, FOUR_LABELS]
    alone = make_streams(*changes)
    both = make_streams(*changes, method=two_streams(batch_size))
    for epoch in range(2):
        assert_equal_samples(epoch_of(alone, epoch=epoch), epoch_of(both, epoch=epoch))
    count = 2 * 2 * batch_size
    at_once = make_streams(*changes, "batch_size=40", method=two_streams(count))
    shown = [one for epoch in range(2) for one in epoch_of(both, "unlabeled", epoch=epoch)]
    first, second = (joined(samples)[0] for samples in (shown, epoch_of(at_once, "unlabeled")))
    assert len(first) == count
    assert torch.equal(first, second)
    other = make_streams(
        *changes, method=Asked(wanted={"labeled": Stream(), "more": Stream("unlabeled", 7)})
    )
    names = [epoch_of(both, "unlabeled")[0], epoch_of(other, "more")[0]]
    assert positions_of(names[:1])[:7] != positions_of(names[1:])


def test_a_run_of_steps_cycles_through_its_first_stream_too(make_streams):
    """Rounds between two tests begin and end in the middle of epochs."""
    changes = [*EVERYTHING, FOUR_LABELS, "epochs=none"]
    rounds = make_streams(*changes, "steps=10", "evaluate_every_steps=3", method=two_streams(30))
    assert [rounds.plan.steps_in(epoch) for epoch in range(4)] == [3, 3, 3, 1]
    whole = make_streams(*changes, "steps=10", "evaluate_every_steps=10", method=two_streams(30))
    for name, size, num_images in (("labeled", 32, 40), ("unlabeled", 30, 100)):
        parts = [one for epoch in range(4) for one in epoch_of(rounds, name, epoch=epoch)]
        assert_equal_samples(parts, epoch_of(whole, name))
        assert [len(one.images) for one in parts] == 10 * [size]
        places = positions_of(parts)
        for begin in range(0, len(places) - num_images, num_images):
            assert sorted(places[begin : begin + num_images]) == list(range(num_images))
    steps = [batch.step for epoch in range(4) for batch, _ in rounds.train_batches(0, epoch)]
    assert steps == list(range(10))


@pytest.mark.parametrize(
    "length", [["epochs=3"], ["epochs=none", "steps=9", "evaluate_every_steps=3"]]
)
def test_two_streams_go_on_in_the_middle_of_an_epoch(make_streams, length):
    changes = [*EVERYTHING, FOUR_LABELS, "batch_size=12", *length]
    method = two_streams(30, views=TWO_VIEWS)
    for name in ("labeled", "unlabeled"):
        whole = epoch_of(make_streams(*changes, method=method), name, seed=1, epoch=2)
        rest = epoch_of(make_streams(*changes, method=method), name, seed=1, epoch=2, first_step=2)
        assert_equal_samples(whole[2:], rest)


@pytest.mark.parametrize("world_size", [2, 3])
def test_pieces_of_processes_are_the_joint_batch(make_streams, world_size):
    changes = [*EVERYTHING, FOUR_LABELS, AIT, "batch_size=11"]
    method = two_streams(8, views=TWO_VIEWS)
    joint = list(make_streams(*changes, method=method).train_batches(0, 1))
    ranks = [
        make_streams(*changes, method=method, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for step, pieces in enumerate(zip(*(own.train_batches(0, 1) for own in ranks), strict=True)):
        whole, truths = joint[step]
        shares = [own.shares(batch, step) for own, (batch, _) in zip(ranks, pieces, strict=True)]
        for name, samples in whole.streams.items():
            own = [batch.streams[name] for batch, _ in pieces]
            several = samples.images.ndim - 4
            assert torch.equal(torch.cat([one.images for one in own], dim=several), samples.images)
            assert torch.equal(torch.cat([own[name] for _, own in pieces]), truths[name])
            sizes = [one.images.shape[several] for one in own]
            assert [share[name] for share in shares] == [n / sum(sizes) for n in sizes]
            assert max(sizes) - min(sizes) <= 1


def test_what_is_unlabeled_carries_no_label_and_its_truth_travels_apart(make_streams):
    streams = make_streams(FOUR_LABELS, method=two_streams())
    for batch, truths in streams.train_batches(0, 0):
        assert batch.unlabeled.labels is None
        assert batch.unlabeled.targets is None
        images = streams.data.unlabeled
        assert torch.equal(truths["unlabeled"], images.labels[batch.unlabeled.positions])
        assert torch.equal(truths["labeled"], batch.labeled.labels)


def test_mixing_leaves_the_unlabeled_alone(make_streams):
    changes = [FOUR_LABELS, "padding=1"]
    plain = make_streams(*changes, method=two_streams())
    mixed = make_streams(*changes, "mixup=1", "cutmix=1", method=two_streams())
    assert_equal_samples(epoch_of(plain, "unlabeled"), epoch_of(mixed, "unlabeled"))
    assert epoch_of(mixed)[0].targets.shape == (32, 10)


def test_a_set_without_unlabeled_images_is_named(make_streams):
    message = "wants images without labels, and data=digits has none; .* with labeled_per_class=N"
    with pytest.raises(UserError, match=message):
        make_streams(method=two_streams())


def test_whitening_is_that_of_all_images_that_are_trained_on(make_streams):
    streams = make_streams(FOUR_LABELS, "padding=0", "whitening=true", method=two_streams())
    whiten = streams.whiten
    for name, images in (("labeled", streams.data.train), ("unlabeled", streams.data.unlabeled)):
        (samples, *_) = epoch_of(streams, name)
        expected = streams.prepare(whiten(images.images))[samples.positions]
        assert_close(samples.images, expected)


# Masks.


@pytest.fixture
def masks():
    """Return images whose pixels are 40 times their class, or 200 where there is none."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (12, 8, 8), generator=generator, dtype=torch.uint8)
    labels[labels == 4] = 255
    pixels = torch.where(labels == 255, 200, 40 * labels).unsqueeze(1).repeat(1, 3, 1, 1)
    images = ImageSet(pixels.to(torch.uint8), labels, ("a", "b", "c", "d"))
    return DataSet("masks", images, images, mean=(0.0,) * 3, std=(1.0,) * 3)


def masks_shown_by(images):
    """Return what the pixels of images say; black ones come from outside, or are of class 0."""
    values = (255 * images[:, 0]).round().long()
    return torch.where(values == 200, -100, values // 40)


WHOLE = ["train_per_class=none", "test_images=none", "batch_size=5"]


def test_masks_move_along_and_pixels_of_no_class_are_ignored(make_streams, masks):
    streams = make_streams(*WHOLE, "padding=2", "augment.flip=true", data=masks)
    for batch, truths in streams.train_batches(0, 0):
        labels = batch.labeled.labels
        shown = masks_shown_by(batch.labeled.images)
        assert labels.dtype == torch.int64
        border = (labels == -100) & (shown == 0)
        assert torch.equal(labels[~border], shown[~border])
        assert border.any()
        assert torch.equal(truths["labeled"], labels)
    (test,) = streams.test_batches()
    assert torch.equal(test.labels, masks_shown_by(test.images))
    assert set(test.labels.unique().tolist()) == {-100, 0, 1, 2, 3}


def test_masks_decide_where_images_are_cropped(make_streams, masks):
    crop = ["augment=scale_crop", "augment.size=3", "augment.scale=1,1"]
    mixed = []
    for limit in ("1", "0.4"):
        streams = make_streams(*WHOLE, *crop, f"max_class_share={limit}", data=masks)
        samples = [one for epoch in range(5) for one in epoch_of(streams, epoch=epoch)]
        assert all(torch.equal(one.labels, masks_shown_by(one.images)) for one in samples)
        labels = torch.cat([one.labels for one in samples])
        counts = F.one_hot(labels.where(labels >= 0, 4), 5).sum((1, 2))[:, :4]
        most = counts.amax(1) / counts.sum(1)
        mixed.append((most < 0.4).float().mean())
    assert mixed[0] < 0.5 < 0.9 < mixed[1]


def test_masks_of_several_views_are_those_of_the_first(make_streams, masks):
    streams = make_streams(*WHOLE, "padding=0", "augment.flip=true", AIT, data=masks)
    for samples in epoch_of(streams):
        assert torch.equal(samples.labels, masks_shown_by(samples.images[0]))
        assert not torch.equal(samples.labels, masks_shown_by(samples.images[1]))


def test_masks_cannot_be_mixed(make_streams, masks):
    with pytest.raises(UserError, match="no `cutmix` of images with masks, as in data=masks"):
        make_streams(*WHOLE, "mixup=1", data=masks)


# What is counted of training images.


def test_training_images_are_counted_as_they_were_shown(make_streams, masks):
    streams = make_streams(*WHOLE, "padding=2", "augment.flip=true", data=masks)
    batch, truths = next(streams.train_batches(0, 0))
    labels = batch.labeled.labels
    right = torch.nn.functional.one_hot(labels.clamp(min=0), 4).movedim(3, 1).float()
    for metric in (MeanIoU(4), Error(4)):
        streams.count({"labeled": metric}, StepOutput({}, right), batch, truths)
        assert metric.compute() == (100.0 if metric.better == "higher" else 0.0)
    small = right[:, :, ::2, ::2]
    error = Error(4)
    streams.count({"labeled": error}, StepOutput({}, small), batch, truths)
    assert error.count.sum() == (labels >= 0).sum()
    assert 0 < error.compute() < 100


def test_mixed_images_count_as_their_larger_part(make_streams):
    streams = make_streams("mixup=1")
    batch, truths = next(streams.train_batches(0, 0))
    error = Error(10)
    streams.count({"labeled": error}, StepOutput({}, batch.labeled.targets), batch, truths)
    assert error.compute() == 0
    assert not torch.equal(batch.labeled.targets.argmax(1), truths["labeled"])
    streams.count({"labeled": error}, StepOutput({}, None), batch, truths)  # nothing to count
    assert error.count.sum() == 32


def test_each_stream_that_has_outputs_is_counted(make_streams):
    streams = make_streams(FOUR_LABELS, method=two_streams())
    batch, truths = next(streams.train_batches(0, 0))
    outputs = {"unlabeled": F.one_hot(truths["unlabeled"], 10).float()}
    errors = {"labeled": Error(10), "unlabeled": Error(10)}
    streams.count(errors, StepOutput({}, outputs), batch, truths)
    assert (errors["labeled"].count.sum(), errors["unlabeled"].count.sum()) == (0, 30)
    assert errors["unlabeled"].compute() == 0
    assert batch.unlabeled.labels is None


def test_the_log_sees_a_few_images_spread_over_the_set(make_streams):
    streams = make_streams("mixup=1", "padding=0")
    samples = streams.sample_batch(0, 3).labeled
    assert positions_of([samples]) == [k * 100 // 64 for k in range(64)]
    assert samples.targets is None
    assert torch.equal(
        samples.images, streams.prepare(streams.data.train.images)[samples.positions]
    )
    order = torch.tensor([5, 3, 70])
    (shown,) = make_streams().shown(0, 3, order)
    assert positions_of([shown]) == [5, 3, 70]


def test_pictures_of_test_images_are_bytes_that_people_see(make_streams):
    plain = make_streams()
    places = torch.tensor([3, 0])
    assert torch.equal(torch.stack(plain.test_pictures(places)), plain.data.test.images[places])
    numbers = torch.tensor([-2.0, 0.0, 2.0]).view(3, 1, 1, 1)
    for channels, expected in ((1, [255, 0]), (2, None)):
        images = ImageSet(numbers.repeat(1, channels, 8, 8), torch.tensor([0, 1, 0]), ("a", "b"))
        data = DataSet("numbers", images, images, None, None)
        pictures = make_streams("padding=0", data=data).test_pictures(torch.tensor([2, 0]))
        assert pictures is expected or [int(x[0, 0, 0]) for x in pictures] == expected

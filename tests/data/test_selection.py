"""Tests of semaug.data.selection."""

from dataclasses import replace

import pytest
import torch

from semaug.data import DataSet, ImageSet
from semaug.data.image_set import FilePaths, FileSet
from semaug.data.selection import select
from semaug.data.splits import (
    corrupt_labels,
    first_per_class,
    fraction,
    hold_out,
    labeled_subset,
    long_tailed,
)

CLASSES = tuple("abcd")
EVERYTHING = {
    "train_per_class": 60,
    "hold_out": 40,
    "imbalance": 5,
    "train_percent": 50,
    "labeled_per_class": 3,
    "corrupt_percent": 30,
}


def make_part(kind, num_images):
    """A set of images, each of which carries its place: in its pixel or in its name."""
    order = torch.randperm(num_images, generator=torch.Generator().manual_seed(0))
    labels = order % 4
    if kind == "images":
        images = torch.arange(num_images).byte().view(-1, 1, 1, 1)
        return ImageSet(images, labels, CLASSES)
    return FileSet(FilePaths.of("root", [str(n) for n in range(num_images)]), labels, CLASSES)


def places_of(part):
    if isinstance(part, ImageSet):
        return part.images.flatten().tolist()
    return [int(path.name) for path in part.paths]


@pytest.fixture(params=["images", "files"])
def data(request):
    train, test = make_part(request.param, 256), make_part(request.param, 8)
    return DataSet("toy", train, test, (0.5,) * 3, (0.2,) * 3)


def test_nothing_asked_for_changes_nothing(data):
    chosen, selection = select(data)
    assert chosen.train is data.train
    assert chosen.test is data.test
    assert selection.indices.tolist() == list(range(len(data.train)))
    assert selection.labels.tolist() == data.train.labels.tolist()
    assert len(selection.held_out) == 0
    assert selection.test_on == "test"


def test_the_choices_follow_in_the_documented_order(data):
    chosen, selection = select(data, **EVERYTHING, seed=3)
    official = data.train.labels
    indices = first_per_class(official, 60)
    kept, held_out = hold_out(official[indices], 40, 3)
    held_out, indices = indices[held_out], indices[kept]
    indices = indices[long_tailed(official[indices], 5, 3)]
    unlabeled = indices = indices[fraction(official[indices], 50, 3)]
    indices = indices[labeled_subset(official[indices], 12, 3)[0]]
    labels = corrupt_labels(official[indices], 4, 30, 3)
    assert selection.indices.tolist() == places_of(chosen.train) == indices.tolist()
    assert selection.labels.tolist() == chosen.train.labels.tolist() == labels.tolist()
    assert selection.official_labels.tolist() == official[indices].tolist()
    assert selection.held_out.tolist() == places_of(chosen.test) == held_out.tolist()
    assert chosen.test.labels.tolist() == official[held_out].tolist()
    assert selection.unlabeled.tolist() == places_of(chosen.unlabeled) == unlabeled.tolist()
    assert chosen.unlabeled.labels.tolist() == official[unlabeled].tolist()
    assert selection.options == {**EVERYTHING, "seed": 3}
    assert (selection.data, selection.classes) == ("toy", CLASSES)
    assert selection.num_official == len(data.train)
    assert (chosen.name, chosen.mean, chosen.std) == (data.name, data.mean, data.std)


def test_all_images_may_become_unlabeled_beside_a_few_labeled_ones(data):
    chosen, selection = select(data, labeled_per_class=2)
    assert chosen.unlabeled is data.train
    assert selection.unlabeled.tolist() == list(range(256))
    assert chosen.train.labels.bincount().tolist() == [2, 2, 2, 2]
    assert len(selection.held_out) == 0


def test_unlabeled_images_may_leave_out_the_labeled_ones(data):
    everything, _ = select(data, labeled_per_class=2, seed=1)
    chosen, selection = select(data, labeled_per_class=2, unlabeled_includes_labeled=False, seed=1)
    assert places_of(chosen.train) == places_of(everything.train)
    assert len(chosen.unlabeled) == 256 - 8
    assert not {*selection.unlabeled.tolist()} & {*selection.indices.tolist()}
    assert selection.options["unlabeled_includes_labeled"] is False


def test_a_part_of_the_labeled_images_may_be_held_out_and_leaves_the_unlabeled_ones(data):
    whole = select(data, labeled_per_class=4, seed=1)[1]
    chosen, selection = select(data, labeled_per_class=4, hold_out=4, hold_out_labeled=True, seed=1)
    labeled, held_out = ({*x.tolist()} for x in (selection.indices, selection.held_out))
    assert labeled | held_out == {*whole.indices.tolist()}
    assert chosen.test.labels.bincount().tolist() == [1, 1, 1, 1]
    assert chosen.train.labels.bincount().tolist() == [3, 3, 3, 3]
    assert {*selection.unlabeled.tolist()} == {*range(256)} - held_out
    assert places_of(chosen.test) == selection.held_out.tolist()


@pytest.mark.parametrize(
    "option", [{"unlabeled_includes_labeled": False}, {"hold_out_labeled": True}]
)
def test_what_is_said_of_labeled_images_needs_some(data, option):
    (name,) = option
    with pytest.raises(ValueError, match=f"`{name}` has no effect without `labeled_per_cl"):
        select(data, **option)


def test_without_that_choice_unlabeled_images_stay_those_of_the_set(data):
    own = data.test
    chosen, selection = select(replace(data, unlabeled=own), train_per_class=2)
    assert chosen.unlabeled is own
    assert len(selection.unlabeled) == 0
    assert select(data)[0].unlabeled is None
    with pytest.raises(ValueError, match="no `labeled_per_class` for 'toy', which has unlabeled"):
        select(replace(data, unlabeled=own), labeled_per_class=1)


@pytest.fixture
def dense():
    """Ten images with masks, each of which carries its place."""
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    part = ImageSet(images, images[:, 0] % 4, CLASSES)
    return DataSet("dense", part, part, (0.5,) * 3, (0.2,) * 3)


def test_images_with_masks_are_drawn_from_all(dense):
    chosen, selection = select(dense, hold_out=4, train_percent=50)
    assert (len(chosen.train), len(chosen.test)) == (3, 4)
    assert chosen.train.labels.tolist() == dense.train.labels[selection.indices].tolist()
    assert not set(places_of(chosen.train)) & set(places_of(chosen.test))
    assert len(selection.labels) == len(selection.official_labels) == 0
    assert select(dense)[0].train is dense.train
    other = select(dense, hold_out=4, train_percent=50, seed=1)[1]
    assert other.indices.tolist() != selection.indices.tolist()


@pytest.mark.parametrize(
    "name", ["train_per_class", "imbalance", "labeled_per_class", "corrupt_percent"]
)
def test_choices_by_class_are_refused_where_there_are_masks(dense, name):
    message = f"select: expected no `{name}` for 'dense', whose labels are masks: .*, got 2"
    with pytest.raises(ValueError, match=message):
        select(dense, **{name: 2})


def test_held_out_images_are_not_trained_on(data):
    chosen, _ = select(data, hold_out=50)
    together = places_of(chosen.train) + places_of(chosen.test)
    assert sorted(together) == list(range(len(data.train)))


def test_the_official_test_images_can_stay_those_tested_on(data):
    chosen, selection = select(data, hold_out=50, test_on="test")
    assert chosen.test is data.test
    assert len(chosen.train) == len(data.train) - 50
    assert (selection.test_on, len(selection.held_out)) == ("test", 50)


def test_corruption_leaves_the_given_set_as_it_was(data):
    before = data.train.labels.clone()
    chosen, _ = select(data, corrupt_percent=80)
    assert data.train.labels.tolist() == before.tolist()
    assert chosen.train.labels.tolist() != before.tolist()
    assert chosen.test is data.test


def test_seeds_decide(data):
    first, again, other = (select(data, **EVERYTHING, seed=seed)[1] for seed in (0, 0, 1))
    assert first.indices.tolist() == again.indices.tolist()
    assert first.labels.tolist() == again.labels.tolist()
    assert first.indices.tolist() != other.indices.tolist()


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (
            {"train_per_class": 1000},
            ValueError,
            r"select: expected `train_per_class` <= \d+, .* of class 'a', got 1000",
        ),
        ({"train_per_class": 0}, ValueError, "select: expected `train_per_class` >= 1, got 0"),
        (
            {"labeled_per_class": 9, "train_per_class": 8},
            ValueError,
            "select: expected `labeled_per_class` <= 8, .* of class 'a', got 9",
        ),
        ({"labeled_per_class": 0}, ValueError, "expected `labeled_per_class` >= 1, got 0"),
        ({"train_per_class": 0.5}, TypeError, "`train_per_class` to be an int, got 0.5"),
        ({"hold_out": 10_000}, ValueError, "select: expected `hold_out` < "),
        ({"imbalance": 0.1}, ValueError, "long_tailed: expected `imbalance` >= 1"),
        ({"train_percent": 0}, ValueError, "fraction: expected `percent` > 0"),
        ({"corrupt_percent": 101}, ValueError, "corrupt_labels: expected `percent` <= 100"),
        ({"corrupt_percent": 10, "seed": -1}, ValueError, "expected `seed` >= 0, got -1"),
        ({"folds": 5, "fold": 5}, ValueError, "select: expected `fold` from 0 to 4, got 5"),
        ({"folds": 5, "hold_out": 9}, ValueError, "expected `hold_out` or `folds`, got 9 and 5"),
        (
            {"test_on": "train"},
            ValueError,
            "`test_on` to be one of 'test', 'hold_out', 'none'; got 'train'",
        ),
        (
            {"test_on": "hold_out"},
            ValueError,
            "expected `hold_out` with `test_on` 'hold_out', got None",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused(data, asked, error, message):
    with pytest.raises(error, match=message):
        select(data, **asked)


def test_a_class_without_images_is_named_where_it_lacks_them(data):
    train = data.train.subset(data.train.labels != 3)
    lacking = DataSet("toy", train, data.test, data.mean, data.std)
    with pytest.raises(ValueError, match=r"`train_per_class` <= 0, .* of class 'd', got 1"):
        select(lacking, train_per_class=1)

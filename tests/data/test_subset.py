"""Tests of semaug.data.subset."""

from dataclasses import fields

import pytest
import torch

from semaug.data import DataSet, ImageSet, Subset, select
from semaug.errors import UserError
from semaug.registry import subsets

CLASSES = ("a", "b", "c")
EVERYTHING = {
    "train_per_class": 40,
    "hold_out": 12,
    "imbalance": 2.0,
    "train_percent": 50.0,
    "labeled_per_class": 4,
    "corrupt_percent": 25.0,
}


def make_data(num_train=180, num_test=30):
    """Images that carry their place, sorted by class in the test part."""
    images = torch.arange(num_train).byte().view(-1, 1, 1, 1)
    train = ImageSet(images, torch.arange(num_train) % 3, CLASSES)
    labels = torch.arange(3).repeat_interleave(num_test // 3)
    test = ImageSet(images[: len(labels)], labels, CLASSES)
    return DataSet("toy", train, test, (0.5,), (0.2,))


FOR_LABELED = ("unlabeled_includes_labeled", "hold_out_labeled")
OTHERS = ("folds", "near_duplicates", "subset_seed", "test_images", *FOR_LABELED)


@pytest.fixture
def data():
    return make_data()


def test_every_image_is_tested_in_one_fold_and_trained_on_in_the_others(data):
    tested = []
    for seed in range(7, 12):
        chosen, selection = Subset(folds=5).select(data, seed=seed)
        assert selection.options["fold"] == seed % 5
        assert selection.test_on == "hold_out"
        assert sorted(places_of(chosen.train) + places_of(chosen.test)) == list(range(180))
        assert chosen.test.labels.bincount().tolist() == [12, 12, 12]
        tested += places_of(chosen.test)
    assert sorted(tested) == list(range(180))


def test_folds_need_no_test_part_and_no_other_hold_out():
    data = make_data(num_test=0)
    assert len(Subset(folds=5).select(data, seed=4)[0].test) == 36
    assert len(Subset(folds=5, train_per_class=1).select(data, quick=True, seed=4)[0].test) == 1
    with pytest.raises(UserError, match="expected `folds` or `hold_out`"):
        Subset(folds=5, hold_out=12)
    with pytest.raises(UserError, match="expected `folds` >= 2 or none, got 1"):
        Subset(folds=1)


def test_images_may_follow_the_seed_of_the_run(data):
    fixed, follows = Subset(labeled_per_class=4), Subset(labeled_per_class=4, subset_seed="run")
    places = [places_of(follows.select(data, seed=seed)[0].train) for seed in (0, 1)]
    assert places[0] != places[1]
    assert places[0] == places_of(fixed.select(data, seed=1)[0].train)
    assert (fixed.follows_seed, follows.follows_seed) == (False, True)
    assert Subset(folds=2).follows_seed


@pytest.fixture
def dense(data):
    """The same images with masks."""
    masks = data.train.labels.byte().view(-1, 1, 1)
    train, test = data.train.with_labels(masks), data.test.with_labels(masks[: len(data.test)])
    return DataSet("dense", train, test, (0.5,), (0.2,))


def places_of(part):
    return part.images.flatten().tolist()


def test_fields_reach_the_selection(data):
    chosen, selection = Subset(**EVERYTHING, subset_seed=3).select(data)
    expected, expected_selection = select(data, **EVERYTHING, seed=3)
    assert selection.options == {**EVERYTHING, "seed": 3} == expected_selection.options
    for name in ("train", "test", "unlabeled"):
        assert places_of(getattr(chosen, name)) == places_of(getattr(expected, name))
    assert chosen.train.labels.tolist() == expected.train.labels.tolist()


def test_nothing_asked_for_changes_nothing(data):
    chosen, _ = Subset().select(data)
    assert (chosen.train, chosen.test, chosen.unlabeled) == (data.train, data.test, None)


def test_test_images_are_spread_evenly(data):
    chosen, _ = Subset(test_images=6).select(data)
    assert places_of(chosen.test) == [0, 5, 10, 15, 20, 25]
    assert chosen.test.labels.bincount().tolist() == [2, 2, 2]
    chosen, _ = Subset(test_images=5, hold_out=12).select(data)
    assert len(chosen.test) == 5


def test_more_test_images_than_there_are_are_refused(data):
    with pytest.raises(UserError, match="recipe: expected `test_images` <= 30, got 31"):
        Subset(test_images=31).select(data)
    with pytest.raises(UserError, match="recipe: expected `test_images` <= 12, got 13"):
        Subset(test_images=13, hold_out=12).select(data)


def test_a_set_without_test_images_needs_some_held_out(data):
    data = make_data(num_test=0)
    with pytest.raises(UserError, match=r"data=toy has no images to test on; .* hold_out=N"):
        Subset().select(data)
    assert len(Subset(hold_out=12).select(data)[0].test) == 12


@pytest.mark.parametrize("quick", [False, True])
def test_a_run_may_have_no_test_images(data, quick):
    chosen, selection = Subset(test_images=0, train_per_class=50).select(data, quick=quick)
    assert (len(chosen.train), len(chosen.test), selection.test_on) == (150, 0, "none")
    assert not Subset(test_images=0).chooses_training_images()
    for parted in ({"hold_out": 12}, {"folds": 3}):
        with pytest.raises(UserError, match="`test_images` >= 1 or none where images are held out"):
            Subset(**parted, test_images=0)


def test_a_class_that_is_held_out_whole_is_named():
    with pytest.raises(UserError, match="all of class 'a' are held out to test on"):
        Subset(hold_out=5).select(make_data(num_train=6, num_test=6))


def test_too_few_images_are_told_as_of_the_recipe(data):
    with pytest.raises(UserError, match=r"^recipe: expected `train_per_class` <= 60"):
        Subset(train_per_class=61).select(data)


def test_numbers_are_limits_if_it_is_to_be_quick():
    options = {**EVERYTHING, "train_per_class": 1000, "hold_out": 1000, "labeled_per_class": 50}
    chosen, selection = Subset(**options, test_images=100).select(make_data(), quick=True)
    assert selection.options["train_per_class"] == 60
    assert selection.options["hold_out"] == len(chosen.test) == 90
    # Of 60 images of the last class, 30 are held out, 15 thinned out, and half of the rest goes.
    assert selection.options["labeled_per_class"] == 8
    assert chosen.train.labels.shape == (24,)
    chosen, _ = Subset(test_images=100).select(make_data(), quick=True)
    assert (len(chosen.train), len(chosen.test)) == (180, 30)


def test_numbers_of_labeled_images_are_limits_too_if_it_is_to_be_quick():
    options = {"labeled_per_class": 400, "hold_out": 1000, "hold_out_labeled": True}
    chosen, selection = Subset(**options).select(make_data(), quick=True)
    assert selection.options["labeled_per_class"] == 60
    assert (len(chosen.train), len(chosen.test), len(chosen.unlabeled)) == (90, 90, 90)


@pytest.mark.parametrize(
    "option", [{"unlabeled_includes_labeled": False}, {"hold_out_labeled": True}]
)
def test_what_is_said_of_labeled_images_needs_some(option):
    (name,) = option
    with pytest.raises(UserError, match=f"recipe: `{name}` has no effect without `labeled_per"):
        Subset(**option)


def test_quick_takes_a_tiny_set_as_it_is():
    data = make_data(num_train=3, num_test=3)
    chosen, _ = Subset(train_per_class=10, hold_out=5).select(data, quick=True)
    assert (len(chosen.train), len(chosen.test)) == (2, 1)
    chosen, _ = Subset(train_per_class=10, labeled_per_class=5).select(data, quick=True)
    assert len(chosen.train) == len(chosen.unlabeled) == 3
    chosen, _ = Subset(train_per_class=10, test_images=500).select(data, quick=True)
    assert len(chosen.test) == 3


@pytest.mark.parametrize("num_test", [0, 6, 30])
def test_quick_tests_on_a_fold(num_test):
    data = make_data(num_test=num_test)
    tested = []
    for seed in range(3):
        subset = Subset(folds=3, train_per_class=4, test_images=500)
        chosen, _ = subset.select(data, quick=True, seed=seed)
        assert (len(chosen.train), len(chosen.test)) == (8, 4)
        tested += places_of(chosen.test)
    assert sorted(tested) == list(range(12))
    few, _ = Subset(folds=3, train_per_class=4, test_images=2).select(data, quick=True)
    assert len(few.test) == 2


def test_quick_tests_on_a_fold_of_all_images_with_masks(dense):
    subset = Subset(folds=3, train_per_class=10, test_images=500)
    chosen, _ = subset.select(dense, quick=True)
    assert (len(chosen.train), len(chosen.test)) == (20, 60)


def test_images_with_masks_are_as_few_in_all_if_it_is_to_be_quick(dense):
    chosen, _ = Subset(train_per_class=10, test_images=7).select(dense, quick=True)
    assert (len(chosen.train), len(chosen.test)) == (30, 7)
    chosen, _ = Subset(train_per_class=10, hold_out=100).select(dense, quick=True)
    assert (len(chosen.train), len(chosen.test)) == (28, 15)  # a sixth of what is left
    chosen, _ = Subset(train_per_class=1000).select(dense, quick=True)
    assert len(chosen.train) == 180
    with pytest.raises(UserError, match="expected no `train_per_class` for 'dense', whose labels"):
        Subset(train_per_class=10).select(dense)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train_per_class", 0),
        ("hold_out", 0),
        ("imbalance", 0.5),
        ("imbalance", float("inf")),
        ("train_percent", 0.0),
        ("train_percent", 100.5),
        ("labeled_per_class", 0),
        ("corrupt_percent", -1.0),
        ("corrupt_percent", 101.0),
        ("subset_seed", -1),
        ("test_images", -1),
    ],
)
def test_numbers_out_of_range_are_named(name, value):
    with pytest.raises(UserError, match=rf"recipe: expected `{name}` .*, got {value}"):
        Subset(**{name: value})


def test_no_corruption_is_corruption_of_none():
    assert Subset(corrupt_percent=0.0) == Subset()


def test_only_training_images_make_a_subset():
    assert not Subset(subset_seed=3, test_images=5).chooses_training_images()
    for name, value in EVERYTHING.items():
        assert Subset(**{name: value}).chooses_training_images()


def test_it_is_the_standard_one():
    assert subsets.make("standard", hold_out=5) == Subset(hold_out=5)
    assert {field.name for field in fields(Subset)} == {*EVERYTHING, *OTHERS}

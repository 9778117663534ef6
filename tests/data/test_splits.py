"""Tests of semaug.data.splits."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from semaug.data.splits import (
    corrupt_labels,
    first_per_class,
    folds,
    fraction,
    hold_out,
    labeled_subset,
    long_tailed,
)

# The functions that return places, each asked for little and for more.
CHOICES = {
    "first_per_class": (lambda labels, seed, n: first_per_class(labels, n), (3, 40)),
    "hold_out": (lambda labels, seed, n: hold_out(labels, n, seed)[1], (30, 411)),
    "labeled_subset": (lambda labels, seed, n: labeled_subset(labels, n, seed)[0], (20, 300)),
    "fraction": (lambda labels, seed, n: fraction(labels, n, seed), (10, 30)),
    "long_tailed": (lambda labels, seed, n: long_tailed(labels, n, seed), (50, 10)),
}
SEEDED = [name for name in CHOICES if name != "first_per_class"]


@pytest.fixture
def labels():
    """1,000 labels of ten classes in random order, 100 of each."""
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    return torch.arange(10).repeat(100)[order]


@pytest.fixture
def uneven():
    """4,321 labels of ten classes of random sizes."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(10, generator=generator) + 0.1
    return torch.multinomial(weights, 4321, replacement=True, generator=generator)


@pytest.mark.parametrize("name", CHOICES)
def test_places_ascend_and_do_not_repeat(name, labels):
    choose, amounts = CHOICES[name]
    for amount in amounts:
        places = choose(labels, 0, amount)
        assert places.dtype == torch.int64
        assert all(first < second for first, second in pairwise(places.tolist()))


@pytest.mark.parametrize("name", CHOICES)
def test_a_smaller_choice_lies_in_a_larger_one(name, labels, uneven):
    choose, (less, more) = CHOICES[name]
    for given_labels in (labels,) if name == "long_tailed" else (labels, uneven):
        small, large = (set(choose(given_labels, 0, n).tolist()) for n in (less, more))
        assert small < large


@pytest.mark.parametrize("name", SEEDED)
def test_seeds_decide(name, labels):
    choose, (amount, _) = CHOICES[name]
    first, again, other = (choose(labels, seed, amount).tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", SEEDED)
def test_every_image_of_a_class_is_as_likely(name):
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    choose, amount = {
        "hold_out": (CHOICES["hold_out"][0], 4),
        "labeled_subset": (CHOICES["labeled_subset"][0], 4),
        "fraction": (CHOICES["fraction"][0], 50),
        "long_tailed": (CHOICES["long_tailed"][0], 2),
    }[name]
    seeds = range(1500)
    times = sum(torch.bincount(choose(labels, seed, amount), minlength=8) for seed in seeds)
    expected = (
        torch.tensor([1.0] * 4 + [0.5] * 4) if name == "long_tailed" else torch.full((8,), 0.5)
    )
    # Five standard deviations of a share of 1,500 draws.
    assert_close(times / len(seeds), expected, atol=5 * (0.25 / len(seeds)) ** 0.5, rtol=0)


def test_functions_with_one_seed_draw_independently(labels):
    chosen = [
        set(hold_out(labels, 500, 0)[1].tolist()),
        set(labeled_subset(labels, 500, 0)[0].tolist()),
        set(fraction(labels, 50, 0).tolist()),
        set((corrupt_labels(labels, 1000, 50, 0) != labels).nonzero().squeeze(1).tolist()),
    ]
    for i, first in enumerate(chosen):
        for second in chosen[:i]:
            assert 200 < len(first & second) < 300  # 250 if independent, 500 if alike


def test_the_first_of_each_class_are_kept(labels):
    kept = first_per_class(labels, 7)
    for label in range(10):
        of_class = (labels == label).nonzero().squeeze(1)
        assert kept[labels[kept] == label].tolist() == of_class[:7].tolist()


def test_held_out_images_are_parted_from_the_rest_in_equal_shares(labels):
    kept, held_out = hold_out(labels, 200, 3)
    assert torch.cat([kept, held_out]).sort().values.tolist() == list(range(1000))
    assert torch.bincount(labels[held_out]).tolist() == [20] * 10


def test_a_number_that_is_no_multiple_is_held_out_exactly(labels):
    for num_images in (1, 9, 99, 101, 999):
        counts = torch.bincount(labels[hold_out(labels, num_images, 0)[1]], minlength=10)
        assert counts.sum() == num_images
        assert counts.max() - counts.min() <= 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=8), st.data())
def test_shares_of_uneven_classes_are_proportional(sizes, data):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    num_images = data.draw(st.integers(1, len(labels) - 1))
    counts = torch.bincount(labels[hold_out(labels, num_images, 0)[1]], minlength=len(sizes))
    assert counts.sum() == num_images
    # Webster's method minimizes this error among all ways to divide; any other is no better.
    sizes = torch.tensor(sizes, dtype=torch.float64)
    quota = num_images * sizes / sizes.sum()
    error = ((counts - quota) ** 2 / sizes).sum()
    for giver in counts.nonzero().squeeze(1).tolist():
        for taker in range(len(sizes)):
            moved = counts.clone()
            moved[giver] -= 1
            moved[taker] += 1
            assert error <= ((moved - quota) ** 2 / sizes).sum() + 1e-9


@pytest.mark.parametrize("num_folds", [2, 5, 7])
def test_folds_are_alike_in_size_and_in_every_class(uneven, num_folds):
    parts = folds(uneven, num_folds, seed=0)
    counts = torch.stack(
        [uneven[parts == part].bincount(minlength=10) for part in range(num_folds)]
    )
    assert (counts.amax(0) - counts.amin(0)).max() <= 1
    assert counts.sum(1).max() - counts.sum(1).min() <= 1
    assert not torch.equal(parts, folds(uneven, num_folds, seed=1))
    assert torch.equal(parts, folds(uneven, num_folds, seed=0))


@pytest.mark.parametrize("num_folds", [2, 5])
def test_groups_stay_in_one_fold_and_folds_in_balance(uneven, num_folds):
    groups = torch.arange(len(uneven))
    groups[3:9], groups[20:22] = 3, 20
    parts = folds(uneven, num_folds, 0, groups)
    assert len(parts[3:9].unique()) == len(parts[20:22].unique()) == 1
    counts = torch.stack(
        [uneven[parts == part].bincount(minlength=10) for part in range(num_folds)]
    )
    alone = torch.ones(len(uneven), dtype=torch.bool)
    alone[3:9] = alone[20:22] = False
    whole = counts[:, [c not in uneven[~alone] for c in range(10)]]
    assert (whole.max(0).values - whole.min(0).values).max() <= 1
    assert counts.sum(1).max() - counts.sum(1).min() <= 6
    assert torch.equal(parts, folds(uneven, num_folds, 0, groups + 7))
    assert not torch.equal(parts, folds(uneven, num_folds, 1, groups))


def test_images_alone_are_dealt_out_in_equal_shares(uneven):
    parts = folds(uneven, 3, 0, torch.arange(len(uneven)))
    counts = torch.stack([uneven[parts == part].bincount(minlength=10) for part in range(3)])
    assert (counts.max(0).values - counts.min(0).values).max() <= 1
    assert counts.sum(1).max() - counts.sum(1).min() <= 1


def test_groups_are_held_out_whole_or_not_at_all():
    labels = torch.arange(60) % 3
    groups = torch.where(torch.arange(60) < 24, torch.arange(60) // 4, torch.arange(60))
    kept, held_out = hold_out(labels, 20, seed=0, groups=groups)
    assert (len(kept), len(held_out)) == (40, 20)
    assert not set(groups[kept].tolist()) & set(groups[held_out].tolist())
    assert (groups[held_out] < 6).sum() >= 4  # at least one of the groups of four
    alone = hold_out(labels, 20, seed=0, groups=torch.arange(60))
    assert torch.equal(alone[1], hold_out(labels, 20, seed=0)[1])
    with pytest.raises(ValueError, match="add up to 0, and not to 3"):
        hold_out(labels, 3, seed=0, groups=torch.arange(60) // 4)


def test_fewer_groups_than_folds_are_refused():
    labels = torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match="folds: expected `num_folds` <= 2, the number of groups"):
        folds(labels, 3, 0, labels)
    with pytest.raises(ValueError, match="folds: expected"):
        folds(labels, 2, 0, labels[:3])


def test_folds_leave_one_out_if_there_are_as_many_as_images():
    assert folds(torch.tensor([0, 0, 1, 1]), 4, seed=3).sort().values.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="folds: expected `num_folds` <= 4, the number of images"):
        folds(torch.tensor([0, 0, 1, 1]), 5, seed=3)
    with pytest.raises(ValueError, match="folds: expected `num_folds` >= 2, got 1"):
        folds(torch.tensor([0, 0, 1, 1]), 1, seed=3)


def test_labeled_images_are_equally_many_of_each_class(uneven):
    labeled, unlabeled = labeled_subset(uneven, 250, 0)
    assert torch.bincount(uneven[labeled]).tolist() == [25] * 10
    assert torch.cat([labeled, unlabeled]).sort().values.tolist() == list(range(len(uneven)))


@pytest.mark.parametrize("percent", [0.01, 1, 10, 12.5, 50, 99.9, 100])
def test_each_class_keeps_its_share_to_the_nearest_image(uneven, percent):
    before = torch.bincount(uneven)
    after = torch.bincount(uneven[fraction(uneven, percent, 0)])
    assert ((after - before * percent / 100).abs() <= 0.5).logical_or(after == 1).all()
    assert after.min() >= 1


def test_half_an_image_is_kept():
    assert len(fraction(torch.zeros(45, dtype=torch.int64), 10, 0)) == 5


def test_a_long_tail_has_the_sizes_of_the_paper():
    # Cui et al. keep 50,000 / C images of the first class; the totals are those of their sets.
    for num_classes, total in ((10, 12_406), (100, 10_847)):
        labels = torch.arange(num_classes).repeat(50_000 // num_classes)
        counts = torch.bincount(labels[long_tailed(labels, 100, 0)])
        assert (counts[0], counts[-1]) == (50_000 // num_classes, 500 // num_classes)
        assert counts.sum() == total
        assert counts.tolist() == sorted(counts.tolist(), reverse=True)


def test_a_long_tail_of_uneven_classes_is_as_large_as_they_allow(uneven):
    before = torch.bincount(uneven)
    after = torch.bincount(uneven[long_tailed(uneven, 10, 0)])
    assert (after <= before).all()
    exact = after[0] * 10.0 ** (-torch.arange(10) / 9)
    assert ((after - exact).abs() <= 1).all()
    larger = (after[0] + 2) * 10.0 ** (-torch.arange(10) / 9)
    assert (larger > before).any()


def test_no_imbalance_and_one_class_keep_everything(labels):
    assert len(long_tailed(labels, 1, 0)) == 1000
    assert len(long_tailed(labels * 0, 100, 0)) == 1000


@pytest.mark.parametrize("percent", [0, 0.06, 20, 33.33, 80, 100])
def test_the_asked_share_of_labels_is_drawn_anew(labels, percent):
    before = labels.clone()
    # With very many classes hardly any drawn label is the true one.
    after = corrupt_labels(labels, 10**9, percent, 0)
    assert (after != labels).sum() == round(10 * percent)
    assert_close(labels, before)


def test_drawn_labels_are_uniform_and_sometimes_true():
    labels = torch.full((100_000,), 3)
    counts = torch.bincount(corrupt_labels(labels, 5, 50, 0), minlength=5)
    assert_close(counts[[0, 1, 2, 4]] / 1e5, torch.full((4,), 0.1), atol=0.005, rtol=0)
    assert_close(counts[3] / 1e5, torch.tensor(0.6), atol=0.008, rtol=0)


def test_more_corruption_keeps_the_labels_drawn_before(labels):
    some, more = (corrupt_labels(labels, 10**9, percent, 0) for percent in (20, 50))
    corrupted = some != labels
    assert_close(more[corrupted], some[corrupted])


def test_the_values_of_a_seed_never_change():
    # Published splits are a promise: a change here makes old results impossible to repeat.
    labels = torch.arange(4).repeat(5)
    assert hold_out(labels, 4, 0)[1].tolist() == [2, 7, 12, 13]
    assert labeled_subset(labels, 4, 0)[0].tolist() == [0, 1, 3, 10]
    assert fraction(labels, 20, 0).tolist() == [0, 14, 17, 19]
    assert corrupt_labels(labels, 4, 50, 0).tolist() == [
        0,
        1,
        0,
        2,
        0,
        3,
        1,
        1,
        0,
        1,
        1,
        0,
        0,
        1,
        2,
        3,
        0,
        3,
        2,
        3,
    ]


CALLS = {
    "first_per_class": lambda labels: first_per_class(labels, 1),
    "hold_out": lambda labels: hold_out(labels, 1, 0),
    "labeled_subset": lambda labels: labeled_subset(labels, 10, 0),
    "fraction": lambda labels: fraction(labels, 10, 0),
    "long_tailed": lambda labels: long_tailed(labels, 10, 0),
    "corrupt_labels": lambda labels: corrupt_labels(labels, 10, 10, 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_labels_are_checked(name, labels):
    with pytest.raises(TypeError, match=rf"{name}: expected `labels` of dtype torch\.int64"):
        CALLS[name](labels.int())
    with pytest.raises(ValueError, match=rf"{name}: expected `labels` of shape \(N,\)"):
        CALLS[name](labels.view(10, 100))
    with pytest.raises(ValueError, match=rf"{name}: expected at least one label, got none"):
        CALLS[name](labels[:0])
    with pytest.raises(ValueError, match=rf"{name}: expected `labels` >= 0, got -1"):
        CALLS[name](labels - 1)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "first_per_class"])
def test_seeds_are_checked(name, labels):
    def call(seed):
        if name == "corrupt_labels":
            return corrupt_labels(labels, 10, 10, seed)
        return CHOICES[name][0](labels, seed, 10)

    with pytest.raises(TypeError, match=rf"{name}: expected `seed` to be an int, got 0\.5"):
        call(0.5)
    with pytest.raises(TypeError, match=rf"{name}: expected `seed` to be an int, got True"):
        call(True)
    with pytest.raises(ValueError, match=rf"{name}: expected `seed` >= 0, got -1"):
        call(-1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: first_per_class(x, 0), "first_per_class: expected `num_per_class` >= 1, got 0"),
        (
            lambda x: first_per_class(x, 101),
            "`num_per_class` <= 100, the number of images of class 0, got 101",
        ),
        (lambda x: hold_out(x, 0, 0), "hold_out: expected `num_images` >= 1, got 0"),
        (lambda x: hold_out(x, 1000, 0), "`num_images` < 1000, the number of images, got 1000"),
        (lambda x: labeled_subset(x, 0, 0), "labeled_subset: expected `num_labeled` >= 1, got 0"),
        (
            lambda x: labeled_subset(x, 25, 0),
            "to be a multiple of 10, the number of classes, got 25",
        ),
        (
            lambda x: labeled_subset(x, 1010, 0),
            r"`num_labeled / C` <= 100, the number of images of class 0, got 101",
        ),
        (lambda x: fraction(x, 0, 0), "fraction: expected `percent` > 0, got 0"),
        (lambda x: fraction(x, -1, 0), "fraction: expected `percent` >= 0, got -1"),
        (lambda x: fraction(x, 101, 0), "fraction: expected `percent` <= 100, got 101"),
        (lambda x: long_tailed(x, 0.5, 0), r"long_tailed: expected `imbalance` >= 1, got 0\.5"),
        (
            lambda x: long_tailed(x, 1000, 0),
            "an image left in every class, got none in class 7 with `imbalance` 1000",
        ),
        (
            lambda x: corrupt_labels(x, 0, 10, 0),
            "corrupt_labels: expected `num_classes` >= 1, got 0",
        ),
        (
            lambda x: corrupt_labels(x, 9, 10, 0),
            "corrupt_labels: expected `labels` < 9, got a label 9",
        ),
        (lambda x: corrupt_labels(x, 10, -1, 0), "corrupt_labels: expected `percent` >= 0, got -1"),
        (lambda x: corrupt_labels(x, 10, 100.5, 0), r"expected `percent` <= 100, got 100\.5"),
    ],
)
def test_amounts_out_of_range_are_refused(labels, call, message):
    with pytest.raises(ValueError, match=message):
        call(labels)

"""Choosing part of a set by its labels, and corrupting labels: pure functions of a seed.

Each draws one random order of the whole set, the same for a seed whatever is asked for, and
takes the front of every class. So a smaller choice is part of a larger one with the same seed:
10 % lie in the 30 %, and labels corrupted at 20 % are corrupted, alike, at 50 %. (Long tails of
uneven classes alone are not nested.) The functions draw independently of each other, on the CPU,
and return places in the order of the set.

Classes are 0 to the highest label.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from semaug._torch.checks import (
    check_at_least,
    check_int,
    check_labels,
    check_positive_int,
    check_shapes,
)

# N images of C classes.


def first_per_class(labels: Tensor, num_per_class: int) -> Tensor:
    """Keep the first images of each class, in the order in which they stand.

    Args:
        labels: ``(N,)`` int64.
        num_per_class: How many of each class.

    Returns:
        Places of the kept images: ``(C * num_per_class,)`` int64, ascending.

    Raises:
        TypeError: If ``labels`` are not int64 or ``num_per_class`` is not an int.
        ValueError: If ``num_per_class`` is below 1 or a class has fewer images.

    >>> first_per_class(torch.tensor([1, 0, 1, 1, 0]), 2)
    tensor([0, 1, 2, 4])
    """
    labels, sizes = _check_classes("first_per_class", labels)
    check_positive_int("first_per_class", num_per_class=num_per_class)
    check_enough("first_per_class", "num_per_class", num_per_class, sizes)
    return _places(_ranks(labels, torch.arange(len(labels))) < num_per_class)


def hold_out(
    labels: Tensor, num_images: int, seed: int, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Part images for validation from those to train on, in equal shares of every class.

    A class gives its proportional share: 5,000 images of CIFAR-10 are 500 a class. Shares are
    rounded by the method of Webster and Sainte-Laguë, so that they add up to ``num_images``
    and none shrinks when ``num_images`` grows.

    Args:
        labels: ``(N,)`` int64.
        num_images: How many to hold out.
        seed: What is held out depends on it, on the labels and on the groups alone.
        groups: ``(N,)`` int64, the same number for images that stay together, such as near
            duplicates; None is each image for itself.

    Returns:
        Places of the kept images, ``(N - num_images,)`` int64, and of the held-out ones,
        ``(num_images,)``, both ascending.

    Raises:
        TypeError: If ``labels`` are not int64, or ``num_images`` or ``seed`` is not an int.
        ValueError: If ``num_images`` is not in 1..N - 1, whole groups do not add up to it, or
            ``seed`` is negative.
    """
    labels, sizes = _check_classes("hold_out", labels)
    check_positive_int("hold_out", num_images=num_images)
    if num_images >= len(labels):
        raise ValueError(
            f"hold_out: expected `num_images` < {len(labels)}, the number of images, "
            f"got {num_images}"
        )
    ranks = _random_ranks("hold_out", labels, seed)
    # With the images of each class spread evenly over 0..1, in random order, the first
    # `num_images` of all are the rounded shares.
    position = (ranks + 0.5).double() / sizes[labels]
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    order = position.argsort(stable=True)
    held_out[order[:num_images] if groups is None else _whole_groups(order, groups, num_images)] = 1
    return _places(~held_out), _places(held_out)


def _whole_groups(order: Tensor, groups: Tensor, num_images: int) -> list[int]:
    """Take whole groups by the order of their first images, but for those that are too large."""
    check_shapes("hold_out", order=(order, "N"), groups=(groups, "N"))
    found: list[int] = []
    for images in _members(order, groups):
        if len(found) + len(images) <= num_images:
            found += images
    if len(found) < num_images:
        raise ValueError(
            f"hold_out: expected another `num_images`: groups of images that stay together add up "
            f"to {len(found)}, and not to {num_images}"
        )
    return found


def _members(order: Tensor, groups: Tensor) -> list[list[int]]:
    """Return the images of each group; groups and images in the given order of images."""
    members: dict[int, list[int]] = {}
    names = groups.tolist()
    for image in order.tolist():
        members.setdefault(names[image], []).append(image)
    return list(members.values())


def folds(labels: Tensor, num_folds: int, seed: int, groups: Tensor | None = None) -> Tensor:
    """Part all images into folds for cross-validation, in equal shares of every class.

    Sizes of folds differ by one at most, and so do their numbers of images of a class, as far as
    groups of images that stay together allow.

    Args:
        labels: ``(N,)`` int64.
        num_folds: How many.
        seed: The folds depend on it, on the labels and on the groups alone.
        groups: ``(N,)`` int64, the same number for images that stay in one fold, such as near
            duplicates; None is each image for itself.

    Returns:
        Fold of each image, ``(N,)`` int64 in 0..num_folds - 1.

    Raises:
        TypeError: If ``labels`` are not int64, or ``num_folds`` or ``seed`` is not an int.
        ValueError: If ``num_folds`` is not in 2..N, there are fewer groups, or ``seed`` is
            negative.
    """
    labels, sizes = _check_classes("folds", labels)
    check_int("folds", "num_folds", num_folds, 2)
    if num_folds > len(labels):
        raise ValueError(
            f"folds: expected `num_folds` <= {len(labels)}, the number of images, got {num_folds}"
        )
    first = sizes.cumsum(0) - sizes  # classes one after another, dealt out like cards
    places = first[labels] + _random_ranks("folds", labels, seed)
    if groups is None:
        return places % num_folds
    return _folds_of_groups(labels, num_folds, places, groups)


def _folds_of_groups(labels: Tensor, num_folds: int, places: Tensor, groups: Tensor) -> Tensor:
    """Give whole groups to folds: where images of their classes are fewest, then images of any.

    The largest groups come first, those of one size by the ``places`` of their images.
    """
    check_shapes("folds", labels=(labels, "N"), groups=(groups, "N"))
    members = _members(places.argsort(), groups)
    if len(members) < num_folds:
        raise ValueError(
            f"folds: expected `num_folds` <= {len(members)}, the number of groups of images that "
            f"stay together, got {num_folds}"
        )
    held = [Counter[int]() for _ in range(num_folds)]  # images of each class
    found, classes = torch.empty_like(labels), labels.tolist()
    for images in sorted(members, key=len, reverse=True):
        own = [classes[image] for image in images]
        loads = [(sum(one[c] for c in own), one.total()) for one in held]
        fold = loads.index(min(loads))
        held[fold].update(own)
        found[images] = fold
    return found


def labeled_subset(labels: Tensor, num_labeled: int, seed: int) -> tuple[Tensor, Tensor]:
    """Choose the images that keep their label in semi-supervised learning, equally many a class.

    Args:
        labels: ``(N,)`` int64.
        num_labeled: How many in all, a multiple of the number of classes.
        seed: What is chosen depends on it and on the labels alone.

    Returns:
        Places of the labeled images, ``(num_labeled,)`` int64, and of all others,
        ``(N - num_labeled,)``, both ascending. Many methods use the labeled images a second
        time among those without label; concatenate for that.

    Raises:
        TypeError: If ``labels`` are not int64, or ``num_labeled`` or ``seed`` is not an int.
        ValueError: If ``num_labeled`` is below 1 or no multiple of the number of classes, a
            class has too few images, or ``seed`` is negative.
    """
    labels, sizes = _check_classes("labeled_subset", labels)
    check_positive_int("labeled_subset", num_labeled=num_labeled)
    num_per_class, rest = divmod(num_labeled, len(sizes))
    if rest:
        raise ValueError(
            f"labeled_subset: expected `num_labeled` to be a multiple of {len(sizes)}, the number "
            f"of classes, got {num_labeled}"
        )
    check_enough("labeled_subset", "num_labeled / C", num_per_class, sizes)
    labeled = _random_ranks("labeled_subset", labels, seed) < num_per_class
    return _places(labeled), _places(~labeled)


def fraction(labels: Tensor, percent: float, seed: int) -> Tensor:
    """Keep a share of the images of each class.

    Each class keeps ``percent`` % of its own images, rounded to the nearest number, a half up,
    and at least one. For AIT, Table 4, with 10, 30 and 50 % of ImageNet; of these the paper says
    "randomly sampled", and nothing of classes.

    Args:
        labels: ``(N,)`` int64.
        percent: Above 0, at most 100.
        seed: What is kept depends on it and on the labels alone.

    Returns:
        Places of the kept images: ``(n,)`` int64, ascending.

    Raises:
        TypeError: If ``labels`` are not int64, ``percent`` no number or ``seed`` no int.
        ValueError: If ``percent`` or ``seed`` is out of range.
    """
    labels, sizes = _check_classes("fraction", labels)
    _check_percent("fraction", percent)
    if percent == 0:
        raise ValueError("fraction: expected `percent` > 0, got 0")
    num_kept = (sizes * percent / 100 + 0.5).floor().clamp(min=1)
    return _places(_random_ranks("fraction", labels, seed) < num_kept[labels])


def long_tailed(labels: Tensor, imbalance: float, seed: int) -> Tensor:
    """Thin out the classes exponentially: the first keeps most images, the last fewest.

    Class c keeps ``floor(n_max * imbalance ** (-c / (C - 1)))`` images. ``n_max`` is the size
    of the classes where all are of one size, and the largest number for which every class has
    enough images elsewhere.

    Source: Cui et al., CVPR 2019, section 5.1, https://arxiv.org/abs/1901.05555

    Args:
        labels: ``(N,)`` int64.
        imbalance: Size of the largest class over that of the smallest, at least 1.
        seed: What is kept depends on it and on the labels alone.

    Returns:
        Places of the kept images: ``(n,)`` int64, ascending.

    Raises:
        TypeError: If ``labels`` are not int64, ``imbalance`` no number or ``seed`` no int.
        ValueError: If ``imbalance`` is below 1 or leaves a class empty, or ``seed`` is negative.
    """
    labels, sizes = _check_classes("long_tailed", labels)
    check_at_least("long_tailed", "imbalance", imbalance, 1)
    share = torch.arange(len(sizes), dtype=torch.float64) / max(len(sizes) - 1, 1)
    divisor = torch.tensor(float(imbalance), dtype=torch.float64) ** share
    largest = (sizes * divisor).floor().min()
    num_kept = (largest / divisor).floor()
    if num_kept.min() < 1:
        raise ValueError(
            f"long_tailed: expected an image left in every class, got none in class "
            f"{int(num_kept.argmin())} with `imbalance` {imbalance}"
        )
    return _places(_random_ranks("long_tailed", labels, seed) < num_kept[labels])


def corrupt_labels(labels: Tensor, num_classes: int, percent: float, seed: int) -> Tensor:
    """Replace the labels of some images by labels drawn at random.

    ``round(percent / 100 * N)`` images, chosen among all, get a label drawn uniformly from all
    classes, the true one included: on average 1 - 1/C of them are wrong then. AIT, section
    4.3.2, does so with 20, 50 and 80 % of CIFAR-100.

    Source: Zhang et al., ICLR 2017, section 2.1, https://arxiv.org/abs/1611.03530

    Args:
        labels: ``(N,)`` int64; left as they are.
        num_classes: C.
        percent: From 0 to 100.
        seed: What is drawn depends on it and on N and C alone.

    Returns:
        The new labels: ``(N,)`` int64.

    Raises:
        TypeError: If ``labels`` are not int64, ``percent`` no number, or ``num_classes`` or
            ``seed`` no int.
        ValueError: If a label is no class, or ``num_classes``, ``percent`` or ``seed`` is out of
            range.
    """
    _, sizes = _check_classes("corrupt_labels", labels)
    check_positive_int("corrupt_labels", num_classes=num_classes)
    if len(sizes) > num_classes:
        raise ValueError(
            f"corrupt_labels: expected `labels` < {num_classes}, got a label {len(sizes) - 1}"
        )
    _check_percent("corrupt_labels", percent)
    generator = _make_generator("corrupt_labels", seed)
    chosen = torch.randperm(len(labels), generator=generator)
    chosen = chosen[: num_drawn_labels(len(labels), percent)]
    drawn = torch.randint(num_classes, (len(labels),), generator=generator)
    corrupted = labels.clone()
    corrupted[chosen] = drawn[chosen].to(labels.device)
    return corrupted


def num_drawn_labels(num_images: int, percent: float) -> int:
    """Return how many labels :func:`corrupt_labels` draws anew.

    >>> num_drawn_labels(50_000, 20)
    10000
    """
    return round(percent * num_images / 100)


def _random_ranks(function: str, labels: Tensor, seed: int) -> Tensor:
    order = torch.randperm(len(labels), generator=_make_generator(function, seed))
    return _ranks(labels, order)


def _ranks(labels: Tensor, order: Tensor) -> Tensor:
    """Return, for each image, how many of its class stand before it in ``order``: (N,)."""
    by_class = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels)
    start = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.arange(len(labels)) - start[labels[by_class]]
    return ranks


def _places(mask: Tensor) -> Tensor:
    return mask.nonzero().squeeze(1)


def _make_generator(function: str, seed: int) -> torch.Generator:
    """Seed a generator for one function alone: their draws must not be alike."""
    check_int(function, "seed", seed, 0)
    digest = hashlib.sha256(f"{function} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _check_classes(function: str, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Check labels and return them, and how many there are of each class (C,), on the CPU."""
    check_shapes(function, labels=(labels, "N"))
    check_labels(function, labels)
    if len(labels) == 0:
        raise ValueError(f"{function}: expected at least one label, got none")
    if labels.min() < 0:
        raise ValueError(f"{function}: expected `labels` >= 0, got {int(labels.min())}")
    return labels.cpu(), torch.bincount(labels.cpu())


def check_enough(
    function: str, name: str, wanted: int, sizes: Tensor, classes: Sequence[str] | None = None
) -> None:
    """Check that each class has as many images as are wanted.

    Args:
        function: Who asks, for messages.
        name: Of the number, likewise.
        wanted: Images of each class.
        sizes: ``(C,)``, images that there are.
        classes: Names; None names classes by their numbers.

    Raises:
        ValueError: If one has fewer.
    """
    fewest = int(sizes.argmin())
    if wanted > sizes[fewest]:
        label = fewest if classes is None else classes[fewest]
        raise ValueError(
            f"{function}: expected `{name}` <= {sizes[fewest]}, the number of images of class "
            f"{label!r}, got {wanted}"
        )


def _check_percent(function: str, percent: float) -> None:
    check_at_least(function, "percent", percent, 0)
    if percent > 100:
        raise ValueError(f"{function}: expected `percent` <= 100, got {percent}")

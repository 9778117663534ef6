"""Tests of semaug.insight.reverse, and of what keeps its searches."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from semaug.errors import UserError
from semaug.generation.generator import Generator
from semaug.insight import ReverseMapping, Search
from semaug.insight import reverse as module
from semaug.insight.files import Kept
from tests.references.reverse import reverse_mapping_objective

IMAGE = (1, 2, 3)
FAST = Search(iterations=400, reconstruction_lr=0.2, augmentation_lr=0.2, restarts=2, starts=30)


@pytest.fixture
def linear(normal):
    """Return a linear generator of 4 numbers and two classes, and linear features."""
    first, classes, second = normal(4, 6), normal(2, 6), normal(6, 5)

    def make(z, labels):
        return (z @ first + classes[labels]).unflatten(1, IMAGE)

    generator = Generator(make, 4, 2, IMAGE, value_range=(-2.0, 4.0), dtype=torch.float64)
    return generator, lambda images: images.flatten(1) @ second


@pytest.fixture
def wanted(linear, normal):
    """Return z, labels, and features and images that the generator makes of these."""
    mapping, z, labels = ReverseMapping(*linear), normal(3, 4), torch.tensor([1, 0, 1])
    images = mapping.make(z, labels)
    return z, labels, linear[1](images), images


def test_the_objective_is_that_of_the_equations(linear, wanted, normal):
    mapping = ReverseMapping(*linear, Search(pixel_weight=0.3))
    z, (_, labels, features, images) = normal(3, 4), wanted
    actual = mapping.objective(z, labels, features, images), mapping.objective(z, labels, features)
    for place in range(3):

        def generate(one, label=labels[place : place + 1]):
            return (linear[0](one, label) + 2) / 3 - 1  # from -2..4 to -1..1

        common = generate, linear[1], z[place], features[place]
        assert_close(actual[0][place], reverse_mapping_objective(*common, images[place], 0.3))
        assert_close(actual[1][place], reverse_mapping_objective(*common))


def test_scale_and_shift_of_z_do_not_matter(linear, wanted):
    mapping, (z, labels, *_) = ReverseMapping(*linear), wanted
    assert_close(mapping.make(3 * z + 5, labels), mapping.make(z, labels))


def test_descent_is_that_of_sgd(linear, wanted, normal):
    """With momentum and decay, and a tenth of the rate after each quarter."""
    search = replace(FAST, iterations=8, augmentation_lr=0.5, weight_decay=0.1)
    mapping = ReverseMapping(*linear, search)
    begin, (_, labels, targets, _) = normal(3, 4), wanted
    z = begin.clone().requires_grad_()
    optimizer = torch.optim.SGD([z], 0.5, momentum=0.9, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
    for _ in range(8):
        optimizer.zero_grad()
        mapping.objective(z, labels, targets).sum().backward()
        optimizer.step()
        schedule.step()
    assert_close(mapping.augment(begin, targets, labels), z.detach())


def test_what_a_generator_made_is_found(linear, wanted, normal):
    """Both networks are linear, so there is one solution, in step II for other features too."""
    mapping, (z, labels, features, images) = ReverseMapping(*linear, FAST), wanted
    codes = mapping.reconstruct(images, features, labels)
    assert mapping.objective(codes, labels, features, images).max() < 1e-4
    others = linear[1](mapping.make(z + 0.5 * normal(3, 4), labels))
    before = mapping.objective(codes, labels, others)
    found = mapping.augment(codes, others, labels)
    assert (mapping.objective(found, labels, others) < 1e-3).all()
    assert before.max() > 0.1


def test_the_seed_decides_and_batches_do_not(linear, wanted, monkeypatch):
    search, made = replace(FAST, iterations=3), []
    _, labels, features, images = wanted

    def found(seed):
        mapping = ReverseMapping(*linear, search, seed=seed, advance=made.append)
        return mapping.reconstruct(images, features, labels)

    first = found(0)
    assert torch.equal(first, found(0))
    assert not torch.allclose(first, found(1))
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 12)  # two images
    made.clear()
    assert_close(found(0), first)
    assert sum(made) == pytest.approx(3)


def test_more_restarts_find_no_worse(linear, wanted):
    _, labels, features, images = wanted
    losses = []
    for restarts in (1, 3):
        search = replace(FAST, iterations=2, restarts=restarts, starts=4)
        mapping = ReverseMapping(*linear, search)
        codes = mapping.reconstruct(images, features, labels)
        losses.append(mapping.objective(codes, labels, features, images))
    assert (losses[1] <= losses[0]).all()
    assert (losses[1] < losses[0]).any()


class Stop(Exception):
    pass


def test_a_stopped_search_goes_on_as_if_it_had_not_stopped(linear, wanted, tmp_path):
    generator, see = linear
    search, (z, labels, features, _) = replace(FAST, iterations=20), wanted
    left = 15

    def stopping(images):
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        return see(images)

    path, made = tmp_path / "new" / "search.pt", []
    with pytest.raises(Stop):
        ReverseMapping(generator, stopping, search, kept=Kept(path)).augment(z, features, labels)
    options = {"kept": Kept(path), "advance": made.append}
    found = ReverseMapping(generator, see, search, **options).augment(z, features, labels)
    assert torch.equal(found, ReverseMapping(*linear, search).augment(z, features, labels))
    assert made == [14] + 6 * [1]  # one look is at where it begins
    for other in (replace(search, momentum=0.5), search):  # which has been forgotten by then
        made.clear()
        options["kept"] = Kept(path)
        ReverseMapping(generator, see, other, **options).augment(z, features, labels)
        assert made[0] == 0
    made.clear()
    options["kept"] = Kept(path)
    again = ReverseMapping(generator, see, search, **options).augment(z, features, labels)
    assert torch.equal(again, found)
    assert made == [20]


def test_it_is_written_now_and_then(tmp_path):
    path = tmp_path / "search.pt"
    kept = Kept(path, seconds=1e9)
    kept.put("a", 1)
    assert not path.exists()
    assert kept.get("a") == 1
    Kept(path, seconds=0).put("b", 2)
    assert Kept(path).get("b") == 2
    assert Kept(path).get("a") is None
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"search\.pt: damaged; delete it, and the search begins"):
        Kept(path)


def test_codes_stay_in_their_range_and_classes_may_be_unknown(normal):
    def make(z, labels):
        assert not labels.any()
        return z[:, :, None, None]

    generator = Generator(make, 5, 1, (5, 1, 1), num_codes=2, dtype=torch.float64)
    mapping, z = ReverseMapping(generator, lambda images: images.flatten(1)), 3 * normal(4, 5)
    made = mapping.make(z, torch.arange(4)).flatten(1)
    assert_close(made[:, 3:], z[:, 3:].clamp(-1, 1))
    assert_close(made[:, :3].std(dim=1), torch.ones(4).double())
    labels = torch.tensor([3, 4])
    drawn = [mapping.random(labels, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (2, 5, 1, 1)


def test_mistakes_are_named(linear, wanted):
    _, labels, features, images = wanted
    few = Generator(lambda z, labels: z, 3, 2, IMAGE, num_codes=2)
    with pytest.raises(UserError, match=r"at least 2 numbers from N\(0, 1\), .* got 1"):
        ReverseMapping(few, linear[1])
    wild = ReverseMapping(*linear, replace(FAST, iterations=4, reconstruction_lr=1e308))
    with pytest.raises(UserError, match="the search diverged; choose lower learning rates"):
        wild.reconstruct(images, features, labels)
    with pytest.raises(ValueError, match="Search: expected `iterations` >= 1, got 0"):
        Search(iterations=0)
    with pytest.raises(TypeError, match="Search: expected `restarts`"):
        Search(restarts=1.5)
    with pytest.raises(ValueError, match="Search: expected `pixel_weight` >= 0, got -1"):
        Search(pixel_weight=-1)

"""Tests of semaug.data.shards and semaug.data.tar_members, on shards of tiny JPEGs."""

import io
import os
import pickle
import tarfile
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from semaug.data import Loader, load_data, shards
from semaug.data.check import check
from semaug.data.folder import load_folder
from semaug.data.near_duplicates import find_near_duplicates
from semaug.data.shards import ImageNetShards, Shards
from semaug.data.tar_members import _open_tar
from semaug.data.views import RandomResizedCrop
from semaug.frozen.store import digest_images
from tests.data.image_files import write_image

CLASSES = ("cat", "dog")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what was listed in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "semaug"


def write_tar(path, members):
    """Write members, name to content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def samples(folder, places):
    """Return members of a shard: images of a folder of classes, with these as numbers."""
    members = {}
    for label, number in places:
        content = (folder / CLASSES[label] / f"{number}.jpg").read_bytes()
        members[f"{CLASSES[label]}_{number}.jpg"] = content
        members[f"{CLASSES[label]}_{number}.cls"] = str(label).encode()
        members[f"{CLASSES[label]}_{number}.json"] = b"{}"
    return members


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return one root of folders and one of shards, of the same images in the same order."""
    folders, root = tmp_path_factory.mktemp("folders"), tmp_path_factory.mktemp("shards")
    for part, count in (("train", 4), ("val", 2)):
        for seed, name in enumerate(CLASSES):
            for i in range(count):
                path = folders / part / name / f"{i}.jpg"
                write_image(path, 20 + i, 24, seed=seed * 10 + i + 100 * (part == "val"))
    every = [(label, i) for label in (0, 1) for i in range(4)]
    write_tar(root / "toy-train-000.tar", samples(folders / "train", every[:3]))
    write_tar(root / "toy-train-001.tar", samples(folders / "train", every[3:]))
    write_tar(root / "val" / "0.tar", samples(folders / "val", [(0, 0), (0, 1), (1, 0), (1, 1)]))
    (root / "classes.txt").write_text("cat\ndog\n")
    return folders, root


@pytest.fixture
def root(tmp_path):
    """Return an empty data root."""
    return tmp_path / "data"


def test_batches_equal_those_of_the_same_images_in_folders(both):
    expected, data = load_folder(both[0]), load_data("shards", both[1])
    assert (data.classes, len(data.train), len(data.test)) == (CLASSES, 8, 4)
    assert "shards: 2 to train on, 1 to test on" in data.notes
    assert torch.equal(data.train.labels, expected.train.labels)
    view = RandomResizedCrop(8)
    order, draws = torch.randperm(8), view.draw(8, torch.Generator().manual_seed(0))
    batches = []
    for images, workers in ((expected.train, 0), (data.train, 0), (data.train, 2)):
        ranks = []
        for rank in range(2):  # which begin in the middle of an epoch
            options = {"batch_size": 3, "view": view, "rank": rank, "world_size": 2}
            with Loader(images, workers=workers, **options) as loader:
                epoch = loader.epoch(order, view_draws=draws[order], first_step=1)
                ranks += [(x.pixels, x.labels, x.positions) for x in epoch]
        batches.append(ranks)
    assert_close(batches[1], batches[0], atol=0, rtol=0)
    assert_close(batches[2], batches[0], atol=0, rtol=0)


def test_members_have_names_and_can_be_chosen_and_sent(both):
    images = load_data("shards", both[1]).train.subset(torch.tensor([5, 0]))
    paths = pickle.loads(pickle.dumps(images.paths))
    assert [path.name for path in paths] == ["dog_1.jpg", "cat_0.jpg"]
    assert str(paths[1]) == str(both[1] / "toy-train-000.tar" / "cat_0.jpg")
    content = (both[0] / "train/dog/1.jpg").read_bytes()
    assert paths[0].read().tobytes() == content
    assert len(set(digest_images(images))) == 2


def test_a_shard_is_listed_once_and_anew_once_it_has_changed(both, cache, monkeypatch):
    listed = []
    list_samples = shards._list_samples
    monkeypatch.setattr(
        shards, "_list_samples", lambda shard: (listed.append(shard), list_samples(shard))[1]
    )
    first = load_data("shards", both[1])
    assert (len(listed), len(list(cache.glob("tar_index-*.json")))) == (3, 3)
    again = load_data("shards", both[1])
    assert len(listed) == 3
    assert torch.equal(again.train.paths.spots, first.train.paths.spots)
    next(cache.glob("tar_index-*.json")).write_text("{")  # damaged
    load_data("shards", both[1])
    assert len(listed) == 4
    os.utime(both[1] / "val/0.tar", ns=(1, 1))
    load_data("shards", both[1])
    assert listed[-1] == both[1] / "val/0.tar"


def test_check_measures_shards_and_names_what_cannot_be_decoded(both, root, cache):
    report, expected = check("shards", both[1]), check("folder", both[0])
    assert (report.parts, report.problems) == (expected.parts, ())
    members = samples(both[0] / "train", [(0, 0), (1, 0)])
    write_tar(root / "train.tar", {**members, "cat_0.jpg": b"no image"})
    problems = check("shards", root).problems
    assert [str(problem.path) for problem in problems] == [str(root / "train.tar" / "cat_0.jpg")]
    assert "train.tar/cat_0.jpg' (8 bytes): no image of a known format" in problems[0].message


def test_near_duplicates_are_found_in_shards(both):
    found, expected = (
        find_near_duplicates([data.train, data.train])
        for data in (load_data("shards", both[1]), load_folder(both[0]))
    )
    assert len(found.pairs) >= 8
    assert torch.equal(found.pairs, expected.pairs)


def test_classes_are_names_or_numbers(root, both):
    image = (both[0] / "train/cat/0.jpg").read_bytes()
    write_tar(
        root / "train.tar", {"x/a.png": image, "x/a.cls": b"owl\n", "b.jpg": image, "b.cls": b"ape"}
    )
    data = load_data("shards", root)
    assert (data.classes, data.train.labels.tolist()) == (("ape", "owl"), [1, 0])
    assert (len(data.test), data.notes) == (0, ("shards: 1 to train on, none to test on",))
    (root / "classes.txt").write_text("owl\nape\n")
    assert load_data("shards", root).train.labels.tolist() == [0, 1]
    (root / "classes.txt").unlink()
    write_tar(root / "train.tar", {"a.jpg": image, "a.cls": b"1", "b.jpg": image, "b.cls": b"0"})
    data = load_data("shards", root)
    assert (data.classes, data.train.labels.tolist()) == (("0", "1"), [1, 0])


def test_unknown_and_empty_classes_are_refused(root, both):
    image = (both[0] / "train/cat/0.jpg").read_bytes()
    two = {"a.jpg": image, "a.cls": b"0", "b.jpg": image, "b.cls": b"1"}
    write_tar(root / "train.tar", two)
    write_tar(root / "val.tar", two | {"b.cls": b"2"})
    with pytest.raises(ValueError, match=r"one of 2 classes.* of 'b.jpg' in .*val.tar', got '2'"):
        load_data("shards", root)
    write_tar(root / "train.tar", two | {"b.cls": b"7"})
    with pytest.raises(ValueError, match=r"classes from 0 on .* 2 different numbers up to 7; name"):
        load_data("shards", root)
    (root / "classes.txt").write_text("x\ny\nz")
    write_tar(root / "train.tar", two)
    with pytest.raises(ValueError, match=r"images of every class .* got none of 'z'"):
        load_data("shards", root)


def test_a_sample_that_is_not_one_image_with_a_class_is_refused(root):
    for members, found in (
        ({"a/1.jpg": b""}, "1 images and 0 classes of 'a/1'"),
        ({"1.cls": b"0"}, "0 images and 1 classes of '1'"),
        ({"1.jpg": b"", "1.png": b"", "1.cls": b"0"}, "2 images and 1 classes of '1'"),
    ):
        write_tar(root / "train.tar", members)
        with pytest.raises(ValueError, match=rf"in '.*train.tar', got {found}"):
            load_data("shards", root)


def test_a_damaged_shard_is_named(root, both):
    write_tar(root / "train.tar", samples(both[0] / "train", [(0, 0), (1, 0)]))
    whole = (root / "train.tar").read_bytes()
    header = shards._list_samples(root / "train.tar")[1][1] - 512
    damaged = bytearray(whole)
    damaged[header : header + 100] = b"\xff" * 100
    for content in (b"", b"gz", whole[:700], whole[:header], whole[: header + 99], bytes(damaged)):
        (root / "train.tar").write_bytes(content)
        with pytest.raises(ValueError, match=r"train.tar' to be a tar file .*damaged or cut short"):
            load_data("shards", root)
    problem = check("shards", root).problems[0]
    assert "train.tar' to be a tar file without compression" in problem.message


def test_a_shard_that_changes_while_it_is_used_is_named(root, both):
    write_tar(root / "train.tar", samples(both[0] / "train", [(0, 0), (1, 0)]))
    member = load_data("shards", root).train.paths[1]
    with pytest.raises(ValueError, match=r"train.tar' as it was when its members were listed"):
        replace(member, offset=10**6).read()
    _open_tar.cache_clear()
    os.utime(root / "train.tar", ns=(1, 1))
    with pytest.raises(ValueError, match=r"train.tar' as it was when its members were listed"):
        member.read()


def test_imagenet_has_its_classes_and_its_numbers_of_images(root, both, monkeypatch):
    image = (both[0] / "train/cat/0.jpg").read_bytes()
    members = {"a.jpg": image, "a.cls": b"999", "b.jpg": image, "b.cls": b"n01440764"}
    for name in ("imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"):
        write_tar(root / "imagenet" / name, members)
    with pytest.raises(ValueError, match=r"1,281,167 images of 1,000 classes .* got 2 .*'shards'"):
        load_data("imagenet_shards", root)
    monkeypatch.setattr(shards, "NUM_IMAGES", {"train": 2, "val": 2})
    data = ImageNetShards().load(root)
    assert data.train.labels.tolist() == data.test.labels.tolist() == [999, 0]
    assert (data.classes[0], len(data.classes)) == ("n01440764", 1000)


def test_other_shards_can_be_named(both):
    data = Shards(train="val", test="*-000").load(both[1])
    assert (len(data.train), len(data.test)) == (4, 3)

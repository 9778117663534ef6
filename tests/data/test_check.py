"""Tests of semaug.data.check."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from semaug.data import DataSet, ImageSet, tiny_imagenet
from semaug.data.check import check
from semaug.data.source import Download, OfficialFiles
from tests.data.toy_source import register


def md5(content):
    return hashlib.md5(content).hexdigest()


FILES = OfficialFiles(
    name="toy",
    folder="toy-files",
    md5={"one": md5(b"first"), "two": md5(b"second")},
    downloads=(Download("http://host/toy.tar.gz", md5(b"archive"), ("one", "two")),),
)


def random_images(count, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, height, width)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Register a set of two official files, which lie there; return what they are read as."""
    (tmp_path / "toy-files").mkdir()
    (tmp_path / "toy-files" / "one").write_bytes(b"first")
    (tmp_path / "toy-files" / "two").write_bytes(b"second")
    train = ImageSet(random_images(3000, 5, 4), torch.arange(3000) % 7 % 3, ("a", "b", "c"))
    test = ImageSet(random_images(9, 5, 4, seed=1), torch.arange(9) % 3, ("a", "b", "c"))
    data = DataSet("toy", train, test, (0.5,) * 3, (0.2,) * 3)
    register(monkeypatch, "toy", data, files=FILES)
    return data


@pytest.fixture
def folder(tmp_path):
    """Photographs in lossless files, of several sizes."""
    sizes = {"train/cat/1.png": (4, 6), "train/cat/2.png": (8, 3), "train/dog/1.png": (5, 5)}
    sizes |= {"val/cat/1.png": (2, 2), "val/dog/1.png": (2, 7)}
    pixels = {}
    for n, (name, (height, width)) in enumerate(sizes.items()):
        pixels[name] = random_images(1, height, width, seed=n)[0]
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[name].permute(1, 2, 0).numpy()).save(tmp_path / name)
    return tmp_path, pixels


def test_a_good_set_is_measured(toy, tmp_path):
    report = check("toy", tmp_path)
    assert report.problems == ()
    assert (report.name, report.root, report.num_classes) == ("toy", tmp_path, 3)
    for name, part in (("train", toy.train), ("test", toy.test)):
        found = report.parts[name]
        counts = torch.bincount(part.labels)
        assert found.num_images == len(part)
        assert (found.smallest_class, found.largest_class) == (counts.min(), counts.max())
        assert (found.height, found.width) == ((5, 5), (4, 4))
        pixels = part.images.double() / 255
        assert_close(torch.tensor(found.mean), pixels.mean((0, 2, 3)).float())
        assert_close(torch.tensor(found.std), pixels.std((0, 2, 3), correction=0).float())


def test_files_are_decoded_and_measured(folder):
    root, pixels = folder
    report = check("folder", root)
    assert report.problems == ()
    assert (report.num_classes, list(report.parts)) == (2, ["train", "test"])
    train, test = report.parts["train"], report.parts["test"]
    assert (train.num_images, train.smallest_class, train.largest_class) == (3, 1, 2)
    assert (train.height, train.width) == ((4, 8), (3, 6))
    assert (test.num_images, test.height, test.width) == (2, (2, 2), (2, 7))
    for part, found in (("train", train), ("val", test)):
        values = [one.flatten(1) for name, one in pixels.items() if name.startswith(part)]
        values = torch.cat(values, dim=1).double() / 255
        np.testing.assert_allclose(found.mean, values.mean(1), rtol=1e-12)
        np.testing.assert_allclose(found.std, values.std(1, correction=0), rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 3, None])
def test_every_damaged_file_is_named_whatever_the_threads(folder, threads):
    root, _ = folder
    (root / "train/cat/1.png").write_bytes(b"no image")
    path = root / "val/dog/1.png"
    path.write_bytes(path.read_bytes()[:40])
    report = check("folder", root, threads=threads)
    assert [problem.path for problem in report.problems] == [root / "train/cat/1.png", path]
    assert all(str(problem.path) in problem.message for problem in report.problems)
    assert report.problems[0].message.startswith("cannot read")
    assert report.parts["train"].num_images == 3
    assert (report.parts["train"].height, report.parts["test"].width) == ((5, 8), (2, 2))


def test_notes_name_classes_and_what_is_passed_over(folder):
    root, _ = folder
    (root / "train/cat/note.txt").touch()
    used = "training images in train/, test images in val/"
    classes, said, passed = check("folder", root).notes
    assert (classes, said) == ("2 classes: cat (2), dog (1)", used)
    assert passed.startswith(f"passed over in {str(root / 'train')!r}: .txt (1); ")


def test_options_are_those_of_the_set(folder):
    root, _ = folder
    (root / "val").rename(root / "exam")
    assert list(check("folder", root).parts) == ["train"]
    assert check("folder", root, test="exam").parts["test"].num_images == 2
    with pytest.raises(ValueError, match="unknown option 'tset'; did you mean 'test'"):
        check("folder", root, tset="exam")


def test_a_part_without_images_is_left_out(folder):
    root, _ = folder
    report = check("folder", root / "train")
    assert list(report.parts) == ["train"]
    assert report.problems == ()


def test_an_empty_part_in_memory_is_left_out(toy, tmp_path, monkeypatch):
    data = replace(toy, test=toy.test.subset(torch.arange(0)))
    register(monkeypatch, "toy", data, files=FILES)
    assert list(check("toy", tmp_path).parts) == ["train"]


def test_classes_of_masks_are_counted_in_the_images_that_show_them(tmp_path, monkeypatch):
    masks = torch.tensor([[[0, 0], [0, 255]], [[0, 1], [1, 1]], [[1, 255], [0, 0]]]).byte()
    part = ImageSet(torch.zeros(3, 3, 2, 2, dtype=torch.uint8), masks, ("road", "sky"))
    data = DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3)
    register(monkeypatch, "toy", data)
    found = check("toy", tmp_path).parts["train"]
    assert (found.num_images, found.smallest_class, found.largest_class) == (3, 2, 3)


def test_numbers_that_are_no_bytes_are_not_measured(tmp_path, monkeypatch):
    part = ImageSet(torch.zeros(2, 64, 1, 1), torch.tensor([0, 0]), ("a",))
    register(monkeypatch, "toy", DataSet("toy", part, part, None, None))
    with pytest.raises(ValueError, match=r"check: expected images of bytes .* of 'toy'"):
        check("toy", tmp_path)


def test_a_part_of_damaged_files_alone_is_left_out(folder):
    root, _ = folder
    for path in root.glob("val/*/*.png"):
        path.write_bytes(b"")
    report = check("folder", root)
    assert list(report.parts) == ["train"]
    assert len(report.problems) == 2


def test_progress_ends_at_the_number_of_images(toy, folder):
    root, _ = folder
    for name, total in (("toy", 3009), ("folder", 5)):
        calls = []
        check(name, root, progress=lambda *call, calls=calls: calls.append(call))
        assert calls[-1] == (total, total)
        measured = calls[: calls.index((total, total)) + 1]  # then near duplicates are looked for
        assert measured == sorted(measured)
        assert {whole for _, whole in calls} == {total}


def test_every_file_that_is_not_the_official_one_is_named(toy, tmp_path):
    (tmp_path / "toy-files" / "one").write_bytes(b"fir")
    (tmp_path / "toy-files" / "two").unlink()
    report = check("toy", tmp_path)
    assert [problem.path.name for problem in report.problems] == ["one", "two"]
    damaged, missing = (problem.message for problem in report.problems)
    assert damaged.startswith("expected '")
    assert "damaged or cut short; fetch it with: semaug data fetch toy" in damaged
    assert "got no file" in missing
    assert (report.parts, report.num_classes) == ({}, 0)


def test_an_archive_that_is_not_unpacked_is_told(toy, tmp_path):
    for path in (tmp_path / "toy-files").iterdir():
        path.unlink()
    (tmp_path / "toy.tar.gz").write_bytes(b"archive")
    for problem in check("toy", tmp_path).problems:
        assert "unpack it with: semaug data fetch toy" in problem.message


def test_a_set_that_cannot_be_read_is_one_problem(tmp_path):
    (problem,) = check("folder", tmp_path / "nowhere").problems
    assert problem.path == tmp_path / "nowhere"
    assert problem.message.startswith("expected a folder of images, got no")


def test_a_set_that_is_decoded_in_reading_names_all_damaged_images(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "_NUM_IMAGES", {"train": 4, "val": 2})
    monkeypatch.setattr(tiny_imagenet, "_NUM_CLASSES", 2)
    folder = tmp_path / "tiny-imagenet-200"
    for name in ("train/n1/a", "train/n1/b", "train/n2/a", "train/n2/b", "val/n1/c", "val/n2/c"):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_images(1, 64, 64)[0].permute(1, 2, 0).numpy()).save(path)
    report = check("tiny_imagenet", tmp_path)
    assert report.problems == ()
    assert (report.parts["train"].num_images, report.parts["test"].num_images) == (4, 2)

    damaged = [folder / "train/n1/b.png", folder / "val/n2/c.png"]
    for path in damaged:
        path.write_bytes(b"no image")
    report = check("tiny_imagenet", tmp_path)
    assert [problem.path for problem in report.problems] == damaged
    for problem in report.problems:
        assert (
            "no image of a known format; fetch it with: semaug data fetch tiny" in problem.message
        )
    assert report.parts == {}


def test_digits_need_no_files(tmp_path):
    report = check("digits", tmp_path)
    assert report.problems == ()
    assert (report.parts["train"].num_images, report.parts["test"].num_images) == (1000, 797)


def test_an_unknown_name_fails_with_the_nearest_one():
    with pytest.raises(ValueError, match="unknown data set 'digit'; did you mean 'digits'"):
        check("digit")


def test_the_root_is_that_of_load_data(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMAUG_DATA", str(tmp_path))
    assert check("toy").root == tmp_path

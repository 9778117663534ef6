"""Tests of semaug.frozen.store."""

import os

import pytest
import torch

from semaug.data import FileSet, ImageSet
from semaug.data.image_set import FilePaths
from semaug.errors import UserError
from semaug.frozen import FeatureStore, digest_images

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))


def test_what_one_process_adds_another_finds(tmp_path):
    ours, theirs = FeatureStore(tmp_path / "new"), FeatureStore(tmp_path / "new")
    assert ours.missing([A, B, A]) == [0, 1]
    ours.add([A], torch.tensor([[1.0, 2.0]]))
    assert theirs.missing([C, A, C, B]) == [0, 3]
    theirs.add([C, B], torch.tensor([[3.0, 4.0], [5.0, 6.0]]))
    assert ours.missing([A, B, C]) == []
    assert ours.read([B, A, B]).tolist() == [[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]
    with pytest.raises(KeyError):
        ours.read([b"d" * 16])


def test_nothing_is_there_until_all_of_it_is(tmp_path):
    store = FeatureStore(tmp_path)
    store.add([A], torch.ones(1, 2))
    (digests,) = tmp_path.glob("*.digests.npy")
    digests.unlink()
    assert FeatureStore(tmp_path).missing([A]) == [0]


@pytest.mark.parametrize("kind", ["digests", "features"])
def test_damaged_files_are_named(tmp_path, kind):
    FeatureStore(tmp_path).add([A], torch.ones(1, 2))
    (path,) = tmp_path.glob(f"*.{kind}.npy")
    path.write_bytes(b"")
    with pytest.raises(UserError, match=f"{path.name}: expected kept features, got a damaged file"):
        FeatureStore(tmp_path).read([A])


def test_images_are_known_by_their_pixels_and_files_by_size_and_time(tmp_path):
    pixels = torch.randint(256, (3, 3, 4, 4), dtype=torch.uint8)
    pixels[2] = pixels[0]
    labels = torch.tensor([0, 1, 1])
    first, second, third = digest_images(ImageSet(pixels, labels, ("a", "b")))
    assert first == third != second
    for name in ("x", "y"):
        (tmp_path / name).write_bytes(b"one")
        os.utime(tmp_path / name, ns=(0, 0))
    files = FileSet(FilePaths.of(tmp_path, ["x", "y"]), labels[:2], ("a", "b"))
    before = digest_images(files)
    assert before[0] != before[1]
    (tmp_path / "y").write_bytes(b"two!")
    os.utime(tmp_path / "x", ns=(0, 1))
    after = digest_images(files)
    assert len({*before, *after}) == 4

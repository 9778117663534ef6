"""Tests of semaug.transfer.corruptions."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from semaug.data import load_data
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.transfer.corruptions import find_corruptions, fingerprint
from tests.transfer.conftest import CPU, files_of


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


@pytest.fixture
def trained(run):
    """Return a network of digits, tested on 25 images at once."""
    return load_trained(run, CPU)


def load(found, name, severity):
    """Return all images and labels of a severity."""
    images, labels = zip(*found.batches(name, severity), strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.fixture
def arrays(tmp_path, data):
    """Write the first four test images with five severities of two corruptions."""
    labels = np.tile(data.test.labels[:4].numpy(), 5)
    images = data.test.images[:4].permute(0, 2, 3, 1).numpy()
    np.save(tmp_path / "labels.npy", labels)
    for place, name in enumerate(("fog", "snow")):
        blocks = [np.clip(images // (1 + severity + place), 0, 255) for severity in range(5)]
        np.save(tmp_path / f"{name}.npy", np.concatenate(blocks).astype(np.uint8))
    return tmp_path


def test_severities_are_blocks_of_each_file(arrays, data, trained):
    found = find_corruptions(arrays, trained)
    assert found.names == ("fog", "snow")
    assert (found.num_severities, found.num_images) == (5, 4)
    for severity in range(5):
        for place, name in enumerate(found.names):
            images, labels = load(found, name, severity)
            assert torch.equal(images, data.test.images[:4] // (1 + severity + place))
            assert torch.equal(labels, data.test.labels[:4])


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        ("fog", np.zeros((20, 8, 8, 3)), r"expected uint8 of shape \(20, 8, 8, 3\) in .*fog\.npy"),
        ("fog", np.zeros((20, 8, 8, 1), np.uint8), r"got uint8 of shape \(20, 8, 8, 1\)"),
        (
            "snow",
            np.zeros((4, 8, 8, 3), np.uint8),
            r"snow\.npy', got uint8 of shape \(4, 8, 8, 3\)",
        ),
        ("fog", np.zeros((20, 9, 9, 3), np.uint8), r"got uint8 of shape \(20, 9, 9, 3\)"),
        ("fog", np.array([{}]), "cannot read .* as an array: .*Python objects"),
        ("labels", np.zeros(20), "expected integers of shape .* got float64"),
        ("labels", np.zeros((20, 1), int), r"labels\.npy', got int64 of shape \(20, 1\)"),
        ("labels", np.zeros(19, int), "got 19 labels, which are no multiple"),
        ("labels", np.zeros(0, int), "labels of 5 severities .* got 0 labels"),
        ("labels", np.full(20, 10), r"expected labels in 0\.\.9 .* got values in 10\.\.10"),
        ("labels", np.arange(20) - 1, r"got values in -1\.\.18"),
        ("labels", np.arange(20) % 10, "got severities with different ones"),
    ],
)
def test_wrong_arrays_are_named(arrays, trained, file, array, message):
    np.save(arrays / f"{file}.npy", array)
    with pytest.raises(UserError, match=f"transfer: .*{message}"):
        find_corruptions(arrays, trained)


def test_damaged_and_missing_arrays_are_named(arrays, trained):
    (arrays / "fog.npy").write_bytes((arrays / "fog.npy").read_bytes()[:300])
    with pytest.raises(UserError, match=r"transfer: cannot read .*fog\.npy' as an array"):
        find_corruptions(arrays, trained)
    (arrays / "fog.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"transfer: cannot read .*fog\.npy' as an array"):
        find_corruptions(arrays, trained)
    (arrays / "labels.npy").unlink()
    with pytest.raises(UserError, match=r"got no labels\.npy beside fog\.npy, snow\.npy"):
        find_corruptions(arrays, trained)
    with pytest.raises(UserError, match=r"expected a folder of corrupted images, got '.*nowhere'"):
        find_corruptions(arrays / "nowhere", trained)


def test_labels_alone_are_no_corruption(arrays, trained):
    for name in ("fog", "snow"):
        (arrays / f"{name}.npy").unlink()
    with pytest.raises(UserError, match=r"got no NAME\.npy with images beside labels\.npy"):
        find_corruptions(arrays, trained)


@pytest.fixture
def folders(tmp_path, data):
    """Write two test images of each class as PNGs into a folder for the class."""
    for label, name in enumerate(data.train.classes):
        (tmp_path / "blurred" / name).mkdir(parents=True)
        for place in (data.test.labels == label).nonzero()[:2, 0].tolist():
            image = Image.fromarray(data.test.images[place].permute(1, 2, 0).numpy())
            image.save(tmp_path / "blurred" / name / f"{place:04}.png")
    return tmp_path / "blurred"


def test_a_folder_of_classes_is_one_corruption(folders, data, trained):
    found = find_corruptions(folders, trained)
    assert (found.names, found.num_severities) == (("blurred",), 1)
    images, labels = load(found, "blurred", 0)
    assert labels.tolist() == sorted([*range(10)] * 2)
    for label in range(10):
        places = (data.test.labels == label).nonzero()[:2, 0]
        assert torch.equal(images[labels == label], data.test.images[places])


def test_wrong_folders_are_named(folders, trained):
    (folders / "3" / "0000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"transfer: .*cannot read .*0000\.png"):
        load(find_corruptions(folders, trained), "blurred", 0)
    Image.new("RGB", (9, 8)).save(folders / "3" / "0000.png")
    with pytest.raises(UserError, match="expected images of 8 x 8 pixels, got 8 x 9 for"):
        load(find_corruptions(folders, trained), "blurred", 0)
    (folders / "3").rename(folders / "three")
    with pytest.raises(UserError, match=r"transfer: .*three"):
        find_corruptions(folders, trained)
    with pytest.raises(UserError, match=r"transfer: .*expected one folder for each class"):
        find_corruptions(folders / "4", trained)


def test_the_fingerprint_tells_changes(arrays):
    first = fingerprint(arrays)
    assert fingerprint(arrays) == first
    (arrays / "fog.npy").rename(arrays / "haze.npy")
    assert fingerprint(arrays) != first


def test_batches_are_those_of_the_run(tmp_path, data, trained):
    np.save(tmp_path / "labels.npy", np.tile(data.test.labels[:30].numpy(), 5))
    images = data.test.images[:30].permute(0, 2, 3, 1).numpy()
    np.save(tmp_path / "haze.npy", np.concatenate([images // (k + 1) for k in range(5)]))
    batches = list(find_corruptions(tmp_path, trained).batches("haze", 2))
    assert [len(labels) for _, labels in batches] == [25, 5]
    whole = torch.cat([images for images, _ in batches])
    assert torch.equal(whole, data.test.images[:30] // 3)


def test_images_of_a_run_on_files_have_any_size(in_files, photographs, tmp_path):
    trained = load_trained(in_files, files_of(photographs))
    found = find_corruptions(photographs / "val", trained)
    assert (found.names, found.num_images) == (("val",), 10)
    images, labels = load(found, "val", 0)
    whole = torch.cat([batch.pixels for batch in trained.test_pixels()])
    assert torch.equal(images, whole)
    assert labels.tolist() == [0] * 5 + [1] * 5
    # Arrays have the size that the network sees.
    np.save(tmp_path / "labels.npy", np.zeros(5, np.uint8))
    np.save(tmp_path / "fog.npy", np.zeros((5, 20, 20, 3), np.uint8))
    with pytest.raises(UserError, match=r"expected uint8 of shape \(5, 16, 16, 3\) in .*fog"):
        find_corruptions(tmp_path, trained)
    with pytest.raises(UserError, match=r"transfer: .*expected the 2 classes .*got no 'black cat'"):
        find_corruptions(_rename(photographs, tmp_path), trained)


def _rename(photographs, tmp_path):
    copy = shutil.copytree(photographs / "val", tmp_path / "renamed")
    (copy / "black cat").rename(copy / "black")
    return copy

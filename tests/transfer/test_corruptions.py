"""Tests of semaug.transfer.corruptions."""

import numpy as np
import pytest
import torch
from PIL import Image

from semaug.data import load_data
from semaug.training.errors import UserError
from semaug.transfer.corruptions import find_corruptions, fingerprint


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


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


def test_severities_are_blocks_of_each_file(arrays, data):
    found = find_corruptions(arrays, data)
    assert found.names == ("fog", "snow")
    assert found.num_severities == 5
    for severity in range(5):
        for place, name in enumerate(found.names):
            images, labels = found.load(name, severity)
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
def test_wrong_arrays_are_named(arrays, data, file, array, message):
    np.save(arrays / f"{file}.npy", array)
    with pytest.raises(UserError, match=f"transfer: .*{message}"):
        find_corruptions(arrays, data)


def test_damaged_and_missing_arrays_are_named(arrays, data):
    (arrays / "fog.npy").write_bytes((arrays / "fog.npy").read_bytes()[:300])
    with pytest.raises(UserError, match=r"transfer: cannot read .*fog\.npy' as an array"):
        find_corruptions(arrays, data)
    (arrays / "fog.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"transfer: cannot read .*fog\.npy' as an array"):
        find_corruptions(arrays, data)
    (arrays / "labels.npy").unlink()
    with pytest.raises(UserError, match=r"got no labels\.npy beside fog\.npy, snow\.npy"):
        find_corruptions(arrays, data)
    with pytest.raises(UserError, match=r"expected a folder of corrupted images, got '.*nowhere'"):
        find_corruptions(arrays / "nowhere", data)


def test_labels_alone_are_no_corruption(arrays, data):
    for name in ("fog", "snow"):
        (arrays / f"{name}.npy").unlink()
    with pytest.raises(UserError, match=r"got no NAME\.npy with images beside labels\.npy"):
        find_corruptions(arrays, data)


@pytest.fixture
def folders(tmp_path, data):
    """Write two test images of each class as PNGs into a folder for the class."""
    for label, name in enumerate(data.train.classes):
        (tmp_path / "blurred" / name).mkdir(parents=True)
        for place in (data.test.labels == label).nonzero()[:2, 0].tolist():
            image = Image.fromarray(data.test.images[place].permute(1, 2, 0).numpy())
            image.save(tmp_path / "blurred" / name / f"{place:04}.png")
    return tmp_path / "blurred"


def test_a_folder_of_classes_is_one_corruption(folders, data):
    found = find_corruptions(folders, data)
    assert (found.names, found.num_severities) == (("blurred",), 1)
    images, labels = found.load("blurred", 0)
    assert labels.tolist() == sorted([*range(10)] * 2)
    for label in range(10):
        places = (data.test.labels == label).nonzero()[:2, 0]
        assert torch.equal(images[labels == label], data.test.images[places])


def test_wrong_folders_are_named(folders, data):
    (folders / "3" / "0000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"transfer: .*cannot read .*0000\.png"):
        find_corruptions(folders, data).load("blurred", 0)
    Image.new("RGB", (9, 8)).save(folders / "3" / "0000.png")
    with pytest.raises(UserError, match="expected images of 8 x 8 pixels, got 8 x 9 for"):
        find_corruptions(folders, data).load("blurred", 0)
    (folders / "3").rename(folders / "three")
    with pytest.raises(UserError, match=r"transfer: .*three"):
        find_corruptions(folders, data)
    with pytest.raises(UserError, match=r"transfer: .*expected one folder for each class"):
        find_corruptions(folders / "4", data)


def test_the_fingerprint_tells_changes(arrays):
    first = fingerprint(arrays)
    assert fingerprint(arrays) == first
    (arrays / "fog.npy").rename(arrays / "haze.npy")
    assert fingerprint(arrays) != first

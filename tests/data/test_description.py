"""Tests of semaug.data.description."""

import hashlib
import io
import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from semaug.data import DataSet, ImageSet
from semaug.data.description import (
    describe_classes,
    describe_selection,
    pack_selection,
    unpack_selection,
)
from semaug.data.selection import select

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def data():
    labels = torch.arange(300) % 3
    part = ImageSet(torch.zeros(300, 3, 1, 1, dtype=torch.uint8), labels, CLASSES)
    return DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3)


@pytest.fixture
def selection(data):
    return select(data, hold_out=30, train_percent=50, corrupt_percent=40, seed=7)[1]


def test_the_summary_is_plain_data_with_the_numbers_that_matter(selection):
    summary = describe_selection(selection)
    assert json.loads(json.dumps(summary)) == summary
    assert summary["data"] == "toy"
    assert summary["options"] == {
        "train_per_class": None,
        "hold_out": 30,
        "imbalance": None,
        "train_percent": 50,
        "labeled_per_class": None,
        "corrupt_percent": 40,
        "seed": 7,
    }
    assert summary["test_on"] == "hold_out"
    assert (summary["official_images"], summary["train_images"]) == (300, 135)
    assert summary["held_out_images"] == 30
    assert list(summary["images_per_class"]) == list(CLASSES)
    assert sum(summary["images_per_class"].values()) == 135
    assert summary["images_per_class"]["owl"] == (selection.labels == 2).sum()
    assert summary["drawn_labels"] == 54
    wrong = (selection.labels != selection.official_labels).sum()
    assert summary["wrong_labels"] == wrong
    assert 20 < wrong < 54  # two thirds of the drawn ones


def test_without_corruption_no_label_was_drawn(data):
    summary = describe_selection(select(data)[1])
    assert (summary["drawn_labels"], summary["wrong_labels"]) == (None, 0)
    assert summary["images_per_class"] == {"cat": 100, "dog": 100, "owl": 100}


def test_the_sums_are_those_of_eight_bytes_a_number(selection):
    sums = describe_selection(selection)["sha256"]
    for name in ("indices", "labels", "held_out", "unlabeled"):
        numbers = getattr(selection, name).tolist()
        packed = struct.pack(f"<{len(numbers)}q", *numbers)
        assert sums[name] == hashlib.sha256(packed).hexdigest()


def test_what_is_unpacked_is_what_was_packed(data, selection):
    for packed in (selection, select(data)[1], select(data, labeled_per_class=5)[1]):
        found = unpack_selection(pack_selection(packed))
        assert describe_selection(found) == describe_selection(packed)
        assert found.unlabeled.tolist() == packed.unlabeled.tolist()
        assert found.official_labels.tolist() == packed.official_labels.tolist()
        assert found.labels.dtype == torch.int64
        assert (found.classes, found.num_official) == (CLASSES, 300)


def test_images_without_labels_are_counted(data):
    summary = describe_selection(select(data, hold_out=30, labeled_per_class=5)[1])
    assert (summary["train_images"], summary["unlabeled_images"]) == (15, 270)
    assert summary["options"]["labeled_per_class"] == 5
    assert summary["images_per_class"] == {"cat": 5, "dog": 5, "owl": 5}


def test_masks_have_no_images_per_class(data):
    masks = torch.zeros(300, 1, 1, dtype=torch.uint8)
    selection = select(replace(data, train=data.train.with_labels(masks)), hold_out=30)[1]
    summary = describe_selection(selection)
    assert (summary["train_images"], summary["held_out_images"]) == (270, 30)
    assert summary["images_per_class"] == {"cat": 0, "dog": 0, "owl": 0}
    assert describe_selection(unpack_selection(pack_selection(selection))) == summary


def test_equal_selections_are_equal_bytes(data):
    first, second = (pack_selection(select(data, hold_out=30)[1]) for _ in range(2))
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as file:  # no clock in it
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_numbers_lie_in_the_smallest_type(data):
    labels = torch.zeros(70_000, dtype=torch.int64)
    part = ImageSet(torch.zeros(70_000, 1, 1, 1, dtype=torch.uint8), labels, ("one",))
    content = pack_selection(select(replace(data, train=part))[1])
    with np.load(io.BytesIO(content)) as arrays:
        assert arrays["indices"].dtype == np.uint32
        assert arrays["labels"].dtype == np.uint8
        np.testing.assert_array_equal(arrays["indices"], np.arange(70_000))
    assert len(content) < 120_000


def other_files():
    """Bytes that are no packed selection, one of each kind."""
    array, without, strange = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(3))
    np.savez(without, about=np.array("{}"))
    names = ("indices", "official_labels", "labels", "held_out", "unlabeled")
    numbers = {name: np.arange(2) for name in names}
    np.savez(strange, about=np.array('{"classes": []}'), **numbers)
    kinds = {
        "empty": b"",
        "text": b"no selection",
        "array": array,
        "keys": without,
        "more": strange,
    }
    return {name: x if isinstance(x, bytes) else x.getvalue() for name, x in kinds.items()}


@pytest.mark.parametrize("kind", other_files())
def test_other_files_are_refused(kind):
    with pytest.raises(ValueError, match="unpack_selection: expected a packed selection, got"):
        unpack_selection(other_files()[kind])


def test_damage_anywhere_is_noticed(selection):
    content = pack_selection(selection)
    for length in range(0, len(content), 7):
        with pytest.raises(ValueError, match="expected a packed selection"):
            unpack_selection(content[:length])
    changed = 0
    for place in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        try:
            found = unpack_selection(bytes(damaged))
        except ValueError:
            changed += 1
        else:  # a byte that only describes the archive
            assert describe_selection(found) == describe_selection(selection)
    assert changed > 50


def test_ten_classes_are_named(data):
    labels = torch.tensor([0] * 1200 + [11])
    images = ImageSet(torch.zeros(1201, 3, 1, 1), labels, tuple("abcdefghijkl"))
    assert describe_classes(data.train) == ("3 classes: cat (100), dog (100), owl (100)")
    assert describe_classes(images).startswith("12 classes: a (1,200), b (0), ")
    assert describe_classes(images).endswith(", j (0) and 2 more")


def test_of_masks_the_classes_are_named_alone():
    masks = torch.zeros(2, 1, 1, dtype=torch.uint8)
    images = ImageSet(torch.zeros(2, 3, 1, 1, dtype=torch.uint8), masks, CLASSES)
    assert describe_classes(images) == "3 classes: cat, dog, owl"

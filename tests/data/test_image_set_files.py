"""Tests of semaug.data.image_set: sets in files."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from semaug.data.image_set import FilePaths, FileSet

CLASSES = ("cat", "dog")
NAMES = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/ü 3.jpg", "dog/4.jpg"]


@pytest.fixture
def files():
    return FileSet(FilePaths.of("photos", NAMES), torch.tensor([0, 0, 1, 1, 1]), CLASSES)


def test_paths_are_those_that_were_given(files):
    assert list(files.paths) == [Path("photos", name) for name in NAMES]
    assert files.paths[-1] == Path("photos/dog/4.jpg")


def test_a_path_that_does_not_exist_is_no_path(files):
    with pytest.raises(IndexError):
        files.paths[5]


def test_names_that_are_no_text_survive():
    name = os.fsdecode(b"caf\xe9.jpg")
    assert os.fsencode(FilePaths.of("photos", [name])[0]) == b"photos/caf\xe9.jpg"


def test_a_subset_has_the_order_of_its_indices(files):
    part = files.subset(torch.tensor([4, 0]))
    assert [path.name for path in part.paths] == ["4.jpg", "1.jpg"]
    assert part.labels.tolist() == [1, 0]
    assert len(part) == 2


def test_a_subset_of_a_subset_by_mask_keeps_the_order(files):
    part = files.subset(torch.tensor([4, 0, 3]))
    assert [path.name for path in part.subset(part.labels == 1).paths] == ["4.jpg", "ü 3.jpg"]


def test_a_subset_shares_the_names(files):
    part = files.subset(torch.arange(2))
    assert part.paths.names.data_ptr() == files.paths.names.data_ptr()


def test_an_empty_set_is_allowed(files):
    assert len(files.subset(torch.arange(0))) == 0
    assert list(FilePaths.of("photos", [])) == []


def test_other_labels_leave_the_files_as_they_are(files):
    other = files.with_labels(torch.tensor([1, 1, 0, 0, 0]))
    assert other.labels.tolist() == [1, 1, 0, 0, 0]
    assert files.labels.tolist() == [0, 0, 1, 1, 1]
    assert list(other.paths) == list(files.paths)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_moving_moves_labels_alone(files):
    moved = files.to("cuda").subset(torch.tensor([4, 0], device="cuda"))
    assert moved.labels.is_cuda
    assert not moved.paths.spans.is_cuda
    assert moved.with_labels(torch.tensor([0, 0])).labels.is_cuda


def test_moving_changes_no_value(files):
    moved = files.to("cpu")
    assert moved.labels.tolist() == files.labels.tolist()
    assert moved.paths[0] == files.paths[0]


def test_pickled_paths_are_the_same(files):
    assert list(pickle.loads(pickle.dumps(files.paths))) == list(files.paths)


def test_many_paths_are_small():
    names = [f"n{i % 1000:08}/n{i % 1000:08}_{i}.JPEG" for i in range(10_000)]
    paths = FilePaths.of("imagenet/train", names)
    size = paths.names.nbytes + paths.spans.nbytes
    assert size == sum(map(len, names)) + 16 * len(names)
    assert len(pickle.dumps(paths)) < size + 2000


def test_a_missing_label_is_refused(files):
    with pytest.raises(ValueError, match=r"FileSet: expected one label for each of 5 .* got 4"):
        files.with_labels(files.labels[1:])


def test_labels_that_are_no_class_are_refused(files):
    with pytest.raises(ValueError, match=r"`labels` in 0\.\.1, got values in 0\.\.2"):
        files.with_labels(files.labels * 2)
    with pytest.raises(ValueError, match=r"got values in -1\.\.0"):
        files.with_labels(files.labels - 1)


def test_labels_of_another_dtype_or_shape_are_refused(files):
    with pytest.raises(TypeError, match=r"FileSet: expected `labels` of dtype torch\.int64"):
        files.with_labels(files.labels.int())
    with pytest.raises(ValueError, match=r"FileSet: expected `labels` of shape \(N,\)"):
        files.with_labels(files.labels.unsqueeze(0))

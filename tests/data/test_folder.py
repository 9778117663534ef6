"""Tests of semaug.data.folder, against torchvision."""

import os
import sys
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from semaug.data.folder import IMAGE_EXTENSIONS, find_images, load_folder
from tests.data.image_files import write_folders

PETS = {
    "train/dog": ["1.jpg", "10.jpg", "2.JPEG", "b.png", "B.png"],
    "train/cat": ["7.webp", "a.txt", "notes"],
    "val/cat": ["x.bmp"],
    "val/dog": ["y.tif", "x.ppm"],
}


@pytest.fixture
def root(tmp_path):
    write_folders(tmp_path, PETS)
    return tmp_path


def names_of(files):
    return [path.name for path in files.paths]


def test_files_labels_and_order_are_those_of_torchvision(root):
    deep = {
        "train/dog/more": ["c.jpg", "a.jpg"],
        "train/dog/More/x": ["d.jpg"],
        "train/Emu": ["1.pgm"],
    }
    write_folders(root, deep)
    found = find_images(root / "train")
    expected = ImageFolder(root / "train")
    assert list(found.classes) == expected.classes
    assert [str(path) for path in found.paths] == [path for path, _ in expected.samples]
    assert found.labels.tolist() == expected.targets
    assert found.labels.dtype == torch.int64


def test_extensions_are_those_of_torchvision():
    assert IMAGE_EXTENSIONS == IMG_EXTENSIONS


def test_both_parts_have_the_same_classes(root):
    data = load_folder(root)
    assert data.train.classes == data.test.classes == ("cat", "dog")
    assert names_of(data.train) == ["7.webp", "1.jpg", "10.jpg", "2.JPEG", "B.png", "b.png"]
    assert names_of(data.test) == ["x.bmp", "x.ppm", "y.tif"]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert data.num_classes == 2


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_the_folder_to_test_on_has_one_of_three_names(root, name):
    (root / "val").rename(root / name)
    assert len(load_folder(root).test) == 3


def test_several_folders_to_test_on_need_a_choice(root):
    write_folders(root, {"test/cat": ["t.jpg"], "test/dog": ["t.jpg"]})
    with pytest.raises(ValueError, match=r"got val and test; choose with .*test='val'"):
        load_folder(root)
    assert names_of(load_folder(root, test="test").test) == ["t.jpg", "t.jpg"]


def test_a_chosen_folder_must_exist(root):
    with pytest.raises(FileNotFoundError, match="got no such folder"):
        load_folder(root, test="exam")


def test_without_a_part_to_test_on_it_is_empty(root):
    data = load_folder(root / "train")
    assert len(data.train) == 6
    assert len(data.test) == 0
    assert data.test.classes == data.train.classes


def test_training_images_alone_are_enough(tmp_path):
    write_folders(tmp_path, {"train/cat": ["1.jpg"], "train/dog": ["1.jpg"]})
    data = load_folder(tmp_path)
    assert (len(data.train), len(data.test)) == (2, 0)


def test_hidden_files_and_folders_are_passed_over(root):
    hidden = {"train/.ipynb_checkpoints": ["1.jpg"], "train/dog/.cache": ["1.jpg"]}
    write_folders(root, {**hidden, "train/cat": ["._7.webp", ".thumb.jpg"], ".git": []})
    data = load_folder(root)
    assert data.train.classes == ("cat", "dog")
    assert len(data.train) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_links_are_followed(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_folders(elsewhere, {"emu": ["1.jpg"]})
    (root / "train/emu").symlink_to(elsewhere / "emu")
    assert find_images(root / "train").classes == ("cat", "dog", "emu")


def test_empty_classes_are_named(root):
    write_folders(root, {"train/emu": ["readme.txt"], "train/fox": []})
    with pytest.raises(
        ValueError, match=r"images \(\.jpg, .*got none of 'emu', 'fox'; add some, or rem"
    ):
        load_folder(root)


def test_a_class_that_is_empty_in_the_other_part_is_not_to_be_removed(root):
    (root / "val/cat/x.bmp").unlink()
    with pytest.raises(
        ValueError, match=r"of every class in '.*val', got none of 'cat'; add some$"
    ):
        load_folder(root)


def test_folders_that_are_no_classes_are_passed_over(root):
    write_folders(root, {"train/spare": []})
    assert find_images(root / "train", passed_over=("spare",)).classes == ("cat", "dog")


def test_classes_that_differ_are_named(root):
    (root / "val/cat").rename(root / "val/cats")
    with pytest.raises(ValueError, match=r"2 classes .*val', got no 'cat' and also 'cats'"):
        load_folder(root)


def test_many_differing_classes_are_counted(root):
    write_folders(root, {f"val/extra {i}": ["1.jpg"] for i in range(7)})
    with pytest.raises(ValueError, match=r"got also 'extra 0', .*'extra 4' and 2 more"):
        load_folder(root)


def test_images_without_folders_are_counted(root):
    write_folders(root, {"val2": ["1.jpg", "2.jpg"]})
    with pytest.raises(
        FileNotFoundError, match=r"one folder for each class .* got 2 images direct"
    ):
        find_images(root / "val2")


def test_an_empty_folder_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"one folder for each class .*, got none"):
        load_folder(tmp_path)


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got no folder .*nowhere'; name .*--data-root"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"images in .*nowhere', got no such folder"):
        find_images(tmp_path / "nowhere")


def test_a_part_to_test_on_alone_is_reported(root):
    (root / "train").rename(root / "other")
    with pytest.raises(FileNotFoundError, match="got no such folder beside val"):
        load_folder(root)


def test_a_folder_that_cannot_be_listed_is_reported(root, monkeypatch):
    real = os.scandir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="dog"):
        load_folder(root)

"""Tests of semaug.data.folder."""

import os
from pathlib import Path

import pytest

from semaug.data.folder import Folder, load_folder
from tests.data.image_files import write_folders

PETS = {
    "train/dog": ["1.jpg", "2.JPEG", "b.png"],
    "train/cat": ["7.webp", "a.txt"],
    "val/cat": ["x.bmp"],
    "val/dog": ["y.tif", "x.ppm"],
}
PAIR = {"cat": ["1.jpg"], "dog": ["1.jpg"]}


@pytest.fixture
def root(tmp_path):
    write_folders(tmp_path, PETS)
    return tmp_path


def names_of(files):
    return [path.name for path in files.paths]


def write_pairs(root, *folders):
    """Write two classes, each with an image, into each folder."""
    for folder in folders:
        write_folders(root / folder, PAIR)


def test_both_parts_have_the_same_classes(root):
    data = load_folder(root)
    assert data.train.classes == data.test.classes == ("cat", "dog")
    assert names_of(data.train) == ["7.webp", "1.jpg", "2.JPEG", "b.png"]
    assert names_of(data.test) == ["x.bmp", "x.ppm", "y.tif"]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert data.num_classes == 2


def test_notes_say_what_is_used_and_what_is_passed_over(root):
    write_folders(root, {"docs": ["a.md"], ".": ["list.csv"]})
    used, above, train = load_folder(root).notes
    assert used == "training images in train/, test images in val/"
    assert f"passed over in {str(root)!r}: .csv (1), docs/" in above
    assert f"passed over in {str(root / 'train')!r}: .txt (1)" in train


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Val"),
        ("TRAIN", "TEST"),
        ("training", "testing"),
        ("trn", "tst"),
        ("train", "valid"),
        ("train", "Validation"),
        ("training_set", "test_set"),
        ("train-images", "val images"),
        ("TrainData", "TestData"),
        ("trainset", "testset"),
        ("train2017", "val2017"),
        ("seg_train", "seg_test"),
        ("train", "dev"),
    ],
)
def test_parts_are_known_in_any_case_and_usual_spelling(tmp_path, train, test):
    write_pairs(tmp_path, train, test)
    data = load_folder(tmp_path)
    assert data.train.classes == ("cat", "dog")
    assert (len(data.train), len(data.test)) == (2, 2)
    assert data.notes == (f"training images in {train}/, test images in {test}/",)


def test_classes_may_be_called_like_a_part(tmp_path):
    write_folders(tmp_path, {name: ["1.jpg"] for name in ("bus", "train", "test kit", "eval")})
    # A test without classes is what "eval" would be beside a train/ with classes.
    (tmp_path / "eval").rename(tmp_path / "tram")
    assert load_folder(tmp_path).train.classes == ("bus", "test kit", "train", "tram")


def test_test_images_without_classes_are_passed_over(root):
    write_folders(root, {"test": ["1.jpg"]})
    data = load_folder(root)
    assert len(data.test) == 3
    assert "test/" in data.notes[1]


@pytest.mark.parametrize(
    "layout",
    [
        {"train": ["1.jpg"], "test": ["2.jpg"]},
        {"train": ["1.jpg"], "test": ["2.jpg"], "more": ["3.jpg"]},
        {"train2017": ["1.jpg"]},
    ],
)
def test_parts_without_classes_are_refused(tmp_path, layout):
    write_folders(tmp_path, layout)
    with pytest.raises(FileNotFoundError, match=r"one folder for each class .*t.*got 1 image d"):
        load_folder(tmp_path)


def test_several_folders_to_test_on_need_a_choice(root):
    write_folders(root, {"test/cat": ["t.jpg"], "test/dog": ["t.jpg"]})
    with pytest.raises(ValueError, match=r"got 'test', 'val'; choose with data\.test=test or dat"):
        load_folder(root)
    assert names_of(Folder(test="test").load(root).test) == ["t.jpg", "t.jpg"]


def test_several_folders_to_train_on_are_refused(tmp_path):
    write_pairs(tmp_path, "Train", "training")
    with pytest.raises(ValueError, match=r"one folder of training images .*'Train', 'training'; r"):
        load_folder(tmp_path)


def test_a_chosen_folder_must_exist(root):
    with pytest.raises(FileNotFoundError, match="got no such folder"):
        load_folder(root, test="exam")
    with pytest.raises(ValueError, match=r"expected train/ beside 'val' in .*got no folder for"):
        load_folder(root / "train", test="val")


@pytest.mark.parametrize("name", ["train", "./train", "again"])
def test_the_training_images_are_no_test(root, name):
    (root / "again").symlink_to(root / "train")
    with pytest.raises(ValueError, match=rf"other than the training images in .*, got '{name}'; w"):
        load_folder(root, test=name)


def test_without_a_part_to_test_on_it_is_empty(root):
    data = load_folder(root / "train")
    assert len(data.train) == 4
    assert len(data.test) == 0
    assert data.test.classes == data.train.classes


def test_test_images_beside_the_root_are_noted(root):
    *_, note = load_folder(root / "train").notes
    assert note == (
        f"beside {str(root / 'train')!r} lies 'val'; if that is meant, name it with --data-root "
        f"{root}"
    )
    (root / "train").rename(root / "pets")
    assert not any("' lies '" in note for note in load_folder(root / "pets").notes)
    (root / "pets").rename(root / "train")
    (root / "val").rename(root / "other")
    assert not any("' lies '" in note for note in load_folder(root / "train").notes)


def test_training_images_alone_are_enough(tmp_path):
    write_pairs(tmp_path, "train")
    data = load_folder(tmp_path)
    assert (len(data.train), len(data.test)) == (2, 0)
    used = "training images in train/, none to test on, which data.test=FOLDER names"
    assert data.notes == (used,)


def test_a_part_to_test_on_alone_is_reported(root):
    (root / "train").rename(root / "other")
    with pytest.raises(FileNotFoundError, match=r"a folder train/ of classes .*none beside 'val'"):
        load_folder(root)


def test_a_class_that_is_empty_in_the_other_part_is_not_to_be_removed(root):
    (root / "val/cat/x.bmp").unlink()
    with pytest.raises(
        ValueError, match=r"of every class in '.*val', got none of 'cat'; add some$"
    ):
        load_folder(root)


def test_classes_that_differ_are_named(root):
    (root / "val/cat").rename(root / "val/cats")
    with pytest.raises(ValueError, match=r"2 classes .*val', got no 'cat' and also 'cats'"):
        load_folder(root)


@pytest.mark.parametrize("place", ["photos", "a/photos"])
def test_a_data_set_one_level_deeper_is_named(tmp_path, place):
    write_pairs(tmp_path, f"{place}/Train", f"{place}/Val")
    meant = tmp_path / place
    with pytest.raises(ValueError, match=rf"if that is meant, name it with --data-root {meant}"):
        load_folder(tmp_path)
    assert load_folder(meant).train.classes == ("cat", "dog")


@pytest.mark.parametrize("place", ["photos", "a/photos"])
def test_classes_one_level_deeper_are_named(tmp_path, place):
    write_pairs(tmp_path, place)
    meant = tmp_path / place
    with pytest.raises(
        ValueError, match=rf"two classes or more .*, got one, '.*' inside; .* --data-root {meant}$"
    ):
        load_folder(tmp_path)
    assert load_folder(meant).train.classes == ("cat", "dog")


def test_classes_one_level_deeper_in_a_part_are_named(tmp_path):
    write_pairs(tmp_path, "train/train", "test/test")
    with pytest.raises(ValueError, match=r"got one, 'train', .*; move what is in '.*train/tr"):
        load_folder(tmp_path)


def test_parts_within_classes_are_refused(tmp_path):
    write_folders(tmp_path, {f"{c}/{p}": ["1.jpg"] for c in PAIR for p in ("train", "val")})
    with pytest.raises(ValueError, match=r"got 'cat', 'dog', with 'train', 'val' .* train/CLASS"):
        load_folder(tmp_path)


def test_folders_that_all_hold_the_same_folders_are_refused_until_they_lie_in_train(tmp_path):
    write_pairs(tmp_path, "amazon", "dslr")
    with pytest.raises(
        ValueError, match=r"got 'amazon', 'dslr', which all have 'cat', 'dog' .* a folder train/$"
    ):
        load_folder(tmp_path)
    write_pairs(tmp_path, "all/train/amazon", "all/train/dslr")
    assert load_folder(tmp_path / "all").train.classes == ("amazon", "dslr")


@pytest.mark.parametrize(
    "layout",
    [{"cat": ["1.jpg"]}, {"cat/1": ["1.jpg"]}, {"cat/1": [], "cat/2": [], "cat": ["1.jpg"]}],
)
def test_a_single_class_is_refused(tmp_path, layout):
    write_folders(tmp_path, layout)
    with pytest.raises(ValueError, match=r"got one, 'cat'; a classifier needs another one$"):
        load_folder(tmp_path)


@pytest.mark.parametrize("spelling", [".", "./", "../{0}", "../{0}/", "{0}/../../{0}", "~/", "~"])
def test_any_spelling_of_the_root_leads_to_the_files(root, monkeypatch, spelling):
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(root))
    (root / root.name).mkdir()
    paths = load_folder(Path(spelling.format(root.name))).train.paths
    assert [path.resolve() for path in paths] == [
        root / "train" / x
        for x in (
            "cat/7.webp",
            "dog/1.jpg",
            "dog/2.JPEG",
            "dog/b.png",
        )
    ]


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no folder .*nowhere'; name .* or the classes, with"
    ):
        load_folder(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_listed_is_reported(root, monkeypatch):
    real = os.scandir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="dog"):
        load_folder(root)

"""Tests of semaug.data.tiny_imagenet, on three classes in the layouts of the real one."""

import re
import shutil

import pytest
import torch
from torch.testing import assert_close

from semaug.data import source, tiny_imagenet
from semaug.data.decode import decode_file
from semaug.data.tiny_imagenet import TinyImageNet
from tests.data.image_files import write_image

IDS = ("n01443537", "n01629819", "n02666196")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The official layout, with four training and two validation images of each class."""
    monkeypatch.setattr(tiny_imagenet, "_NUM_CLASSES", 3)
    monkeypatch.setattr(tiny_imagenet, "_NUM_IMAGES", {"train": 12, "val": 6})
    folder = tmp_path / "tiny-imagenet-200"
    for label, name in enumerate(IDS):
        for i in range(4):
            write_image(
                folder / f"train/{name}/images/{name}_{i}.JPEG", 64, 64, seed=10 * label + i
            )
        (folder / f"train/{name}/{name}_boxes.txt").touch()
    lines = []
    for i, label in enumerate([2, 0, 1, 1, 2, 0]):
        write_image(folder / f"val/images/val_{i}.JPEG", 64, 64, seed=100 + i)
        lines.append(f"val_{i}.JPEG\t{IDS[label]}\t0\t32\t44\t62\n")
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    (folder / "words.txt").write_text(f"{IDS[1]}\tsalamander\n{IDS[0]}\tgoldfish, Carassius\n")
    return tmp_path


def sort_into_folders(root):
    val = root / "tiny-imagenet-200/val"
    for line in (val / "val_annotations.txt").read_text().splitlines():
        name, label = line.split("\t")[:2]
        (val / label).mkdir(exist_ok=True)
        (val / "images" / name).rename(val / label / name)
    (val / "images").rmdir()


def test_images_labels_and_names_are_those_of_the_files(root):
    data = TinyImageNet().load(root, workers=0)
    folder = root / "tiny-imagenet-200"
    assert data.train.classes == (f"{IDS[0]} goldfish, Carassius", f"{IDS[1]} salamander", IDS[2])
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert data.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.train.images.shape == (12, 3, 64, 64)
    expected = decode_file(folder / f"train/{IDS[1]}/images/{IDS[1]}_2.JPEG")
    assert_close(data.train.images[6], expected, atol=0, rtol=0)
    expected = torch.stack(
        [decode_file(folder / f"val/images/val_{i}.JPEG") for i in (1, 5, 2, 3, 0, 4)]
    )
    assert_close(data.test.images, expected, atol=0, rtol=0)


def test_validation_images_sorted_into_folders_are_the_same(root):
    expected = TinyImageNet().load(root, workers=0).test
    sort_into_folders(root)
    actual = TinyImageNet().load(root, workers=0).test
    assert_close(actual.images, expected.images, atol=0, rtol=0)
    assert_close(actual.labels, expected.labels)


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on one core
def test_processes_read_the_same(root, monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "_BATCH_SIZE", 5)
    alone = TinyImageNet().load(root, workers=0)
    assert_close(TinyImageNet().load(root, workers=2).train.images, alone.train.images)
    assert_close(TinyImageNet().load(root).train.images, alone.train.images)


def test_ids_are_names_enough(root):
    (root / "tiny-imagenet-200/words.txt").unlink()
    assert TinyImageNet().load(root, workers=0).train.classes == IDS


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 2), (64, 8)])
def test_there_is_a_process_for_each_core(monkeypatch, cores, workers):
    monkeypatch.setattr(tiny_imagenet.sys, "platform", "linux")
    monkeypatch.setattr(
        tiny_imagenet.os, "sched_getaffinity", lambda _: range(cores), raising=False
    )
    assert tiny_imagenet._default_workers() == workers


def test_processes_that_start_slowly_are_not_started(monkeypatch):
    monkeypatch.setattr(tiny_imagenet.sys, "platform", "darwin")
    assert tiny_imagenet._default_workers() == 0


def test_a_missing_folder_is_reported_with_what_fetches_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="semaug data fetch tiny_imagenet --data-root"):
        TinyImageNet().load(tmp_path)


FETCH = r"; fetch it with: semaug data fetch tiny_imagenet --data-root \S+, or name the folder"


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        (True, "'; unpack it with: semaug data fetch tiny_im"),
        (False, "', which is damaged or cut s"),
    ],
)
def test_an_archive_that_lies_there_is_named(tmp_path, monkeypatch, whole, said):
    archive = tmp_path / "tiny-imagenet-200.zip"
    archive.write_bytes(b"zip")
    monkeypatch.setattr(source, "has_md5", lambda path, md5: whole and path == archive)
    for read in (TinyImageNet().load, TinyImageNet().check_there):
        with pytest.raises(FileNotFoundError, match=f"; found '{archive}{said}"):
            read(tmp_path)


def assert_refused(root, error, message):
    """Assert that reading fails so, with what mends it, and that the set is not whole."""
    with pytest.raises(error, match=message + FETCH):
        TinyImageNet().load(root, workers=0)
    assert not TinyImageNet().is_whole(root)


def test_a_set_that_can_be_read_is_whole(root):
    assert TinyImageNet().is_whole(root)
    sort_into_folders(root)
    assert TinyImageNet().is_whole(root)


def test_files_are_looked_for_but_not_decoded_before_a_run(root):
    path = next((root / "tiny-imagenet-200/train").rglob("*.JPEG"))
    path.write_bytes(b"damaged")
    TinyImageNet().check_there(root)
    path.unlink()
    with pytest.raises(ValueError, match="expected 12 images of 3 classes .*" + FETCH):
        TinyImageNet().check_there(root)


def test_missing_annotations_are_reported(root):
    (root / "tiny-imagenet-200/val/val_annotations.txt").unlink()
    assert_refused(root, FileNotFoundError, r"the labels in '.*val_annotations\.txt', got none")


def test_missing_validation_images_are_named(root):
    (root / "tiny-imagenet-200/val/images/val_3.JPEG").unlink()
    assert_refused(root, FileNotFoundError, r"got no 'val_3\.JPEG' \(1 missing\)")


def test_an_empty_folder_of_validation_images_is_as_none(root):
    expected = TinyImageNet().load(root, workers=0).test
    sort_into_folders(root)
    val = root / "tiny-imagenet-200/val"
    (val / "images").mkdir()
    assert_close(TinyImageNet().load(root, workers=0).test.images, expected.images)
    for name in IDS:
        shutil.rmtree(val / name)
    assert_refused(root, FileNotFoundError, r"one folder for each class in '.*val', got none")


def test_an_unknown_class_in_the_annotations_is_named(root):
    path = root / "tiny-imagenet-200/val/val_annotations.txt"
    path.write_text(path.read_text().replace(IDS[1], "n99999999"))
    message = (
        r"a class of the training images in line 3 of '.*_annotations\.txt', got .*n99999999.*"
    )
    assert_refused(root, ValueError, message)


@pytest.mark.parametrize("line", ["val_6.JPEG", "val_6.JPEG\t", "val_6.JPEG\tn014", "\t" + IDS[0]])
def test_a_cut_line_of_the_annotations_is_shown(root, line):
    path = root / "tiny-imagenet-200/val/val_annotations.txt"
    path.write_text(path.read_text() + line)
    message = rf"expected an image .* in line 7 of '{path}', got {re.escape(repr(line))}"
    assert_refused(root, ValueError, message)


def test_annotations_that_are_no_text_are_reported(root):
    path = root / "tiny-imagenet-200/val/val_annotations.txt"
    path.write_bytes(b"\xff\x00\xfe" * 9)
    assert_refused(root, ValueError, "in line 1 of .*")


def test_empty_lines_of_the_annotations_change_nothing(root):
    expected = TinyImageNet().load(root, workers=0).test
    path = root / "tiny-imagenet-200/val/val_annotations.txt"
    path.write_text("\n" + path.read_text().replace("\n", "\r\n") + "\n  \n")
    assert_close(TinyImageNet().load(root, workers=0).test.images, expected.images)


def test_a_missing_training_image_is_noticed(root):
    (root / f"tiny-imagenet-200/train/{IDS[0]}/images/{IDS[0]}_0.JPEG").unlink()
    assert_refused(root, ValueError, r"12 images of 3 classes in '.*train', got 11 of 3")


def test_a_missing_class_is_noticed(root):
    sort_into_folders(root)
    shutil.rmtree(root / f"tiny-imagenet-200/val/{IDS[0]}")
    assert_refused(root, ValueError, f"got no '{IDS[0]}'")


def test_an_image_of_another_size_is_named(root):
    path = root / f"tiny-imagenet-200/train/{IDS[0]}/images/{IDS[0]}_1.JPEG"
    write_image(path, 64, 32)
    assert_refused(root, ValueError, r"pictures of one shape.*_1\.JPEG.*")


def test_images_that_all_have_another_size_are_named(root, monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "_SHAPE", (3, 32, 32))
    assert_refused(root, ValueError, r"images of 32 x 32 pixels, got 64 x 64 for .*_0\.JPEG'")


def test_a_damaged_image_is_named(root):
    path = root / "tiny-imagenet-200/val/images/val_2.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    assert_refused(root, ValueError, r"cannot read '.*val_2\.JPEG' \(300 bytes\): [^;]+")


def test_the_numbers_are_the_official_ones():
    assert tiny_imagenet._NUM_IMAGES == {"train": 100_000, "val": 10_000}
    assert tiny_imagenet._NUM_CLASSES == 200

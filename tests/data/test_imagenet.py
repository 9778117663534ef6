"""Tests of semaug.data.imagenet, on empty files in the layout of the real one."""

import pytest

from semaug.data import imagenet
from semaug.data.imagenet import ImageNet
from tests.data.image_files import write_folders

IDS = [f"n{1440764 + i:08}" for i in range(1000)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """One training image and one validation image of each class."""
    monkeypatch.setattr(imagenet, "NUM_IMAGES", {"train": 1000, "val": 1000})
    train = {f"imagenet/train/{name}": [f"{name}_1.JPEG"] for name in IDS}
    val = {f"imagenet/val/{name}": [f"ILSVRC2012_val_{name}.JPEG"] for name in IDS}
    write_folders(tmp_path, train | val)
    return tmp_path


def test_all_files_are_found(root):
    data = ImageNet().load(root)
    assert data.name == "imagenet"
    assert list(data.train.classes) == IDS
    assert data.train.labels.tolist() == data.test.labels.tolist() == list(range(1000))
    assert data.train.paths[3] == root / "imagenet/train" / IDS[3] / f"{IDS[3]}_1.JPEG"


def test_unsorted_validation_images_are_reported_with_what_to_do(root):
    for path in list((root / "imagenet/val").glob("*/*")):
        path.rename(root / "imagenet/val" / path.name)
        path.parent.rmdir()
    with pytest.raises(
        FileNotFoundError, match=r"got 1,000 images directly in it; put ILSVRC2012_"
    ) as caught:
        ImageNet().load(root)
    assert "ILSVRC2012_img_val.tar" in str(caught.value)
    code = str(caught.value).split('python -c "')[1].split('"')[0]
    compile(code, "printed", "exec")
    assert code.endswith("'val')")


def test_a_missing_folder_is_reported_with_what_to_do(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"imagenet/train', got no such folder; put .*train"
    ):
        ImageNet().load(tmp_path)


def test_another_number_of_classes_is_refused(root):
    for part in ("train", "val"):
        for path in (root / "imagenet" / part / IDS[0]).iterdir():
            path.unlink()
        (root / "imagenet" / part / IDS[0]).rmdir()
    with pytest.raises(
        ValueError, match=r"1,000 images of 1,000 classes .* got 999 of 999; .*'folder'"
    ):
        ImageNet().load(root)


def test_a_missing_image_is_noticed(root, monkeypatch):
    monkeypatch.setattr(imagenet, "NUM_IMAGES", {"train": 1000, "val": 1001})
    with pytest.raises(ValueError, match=r"1,001 images .*val', got 1,000 of 1,000"):
        ImageNet().load(root)


def test_the_numbers_are_the_official_ones():
    assert imagenet.NUM_IMAGES == {"train": 1_281_167, "val": 50_000}

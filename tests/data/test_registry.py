"""Tests of semaug.data.registry."""

import pytest
import torch

from semaug.data import DataSet, FileSet, ImageSet, load_data
from semaug.registry import data_sets
from tests.data.toy_source import register

NAMES = data_sets.names()
IN_FILES = [name for name in NAMES if name not in ("digits", "generated")]


@pytest.fixture
def toy(monkeypatch):
    """Register a set of ten images, class 1 having seven of them; return the roots asked for."""
    roots = []

    def load(root, workers):
        roots.append(root)
        labels = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0, 1, 1])
        images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 2, 2)
        part = ImageSet(images, labels, ("cat", "dog"))
        return DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3)

    register(monkeypatch, "toy", load)
    return roots


def test_the_first_images_of_each_class_are_kept_in_order(toy):
    data = load_data("toy", train_per_class=3)
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 7]
    assert data.train.labels.tolist() == [1, 0, 1, 1, 0, 0]
    assert len(data.test) == 10


def test_more_images_than_a_class_has_are_refused(toy):
    expected = r"select: expected `train_per_class` <= 3, .* of class 'cat', got 4"
    with pytest.raises(ValueError, match=expected):
        load_data("toy", train_per_class=4)


def test_a_count_that_is_none_is_refused(toy):
    with pytest.raises(ValueError, match="`train_per_class` >= 1, got 0"):
        load_data("toy", train_per_class=0)
    with pytest.raises(TypeError, match=r"`train_per_class` to be an int, got 0\.5"):
        load_data("toy", train_per_class=0.5)
    assert toy == [], "nothing was read in vain"


@pytest.mark.parametrize("workers", [None, 0, 3])
def test_workers_reach_what_decodes(toy, monkeypatch, workers):
    calls = []

    def load(root, workers):
        calls.append(workers)
        return load_data("toy")

    register(monkeypatch, "decoded", load)
    assert len(load_data("decoded", workers=workers).train) == 10
    assert calls == [workers]


def test_wrong_workers_are_refused(toy):
    with pytest.raises(ValueError, match="load_data: expected `workers` >= 0, got -1"):
        load_data("toy", workers=-1)
    with pytest.raises(TypeError, match=r"load_data: expected `workers` to be an int, got 0\.5"):
        load_data("toy", workers=0.5)
    assert toy == [], "nothing was read in vain"


def test_an_unknown_name_fails_with_the_nearest_one():
    with pytest.raises(ValueError, match="unknown data set 'cifar-10'; did you mean 'cifar10'"):
        load_data("cifar-10")


def test_the_root_comes_from_the_argument_then_the_environment(toy, monkeypatch, tmp_path):
    monkeypatch.delenv("SEMAUG_DATA", raising=False)
    load_data("toy")
    monkeypatch.setenv("SEMAUG_DATA", str(tmp_path))
    load_data("toy")
    load_data("toy", root="elsewhere")
    assert [str(root) for root in toy] == ["data", str(tmp_path), "elsewhere"]


def test_a_tilde_in_the_root_is_the_home_folder(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    load_data("toy", root="~/images")
    assert toy == [tmp_path / "images"]


def test_every_set_has_one_line_of_description():
    for name, line in data_sets.describe().items():
        assert 10 < len(line.partition("; options: ")[0]) < 100
        assert data_sets.get(name).__doc__.startswith(line.partition("; ")[0])


def test_every_set_is_registered_under_the_name_it_has():
    wanted = "cifar10 cifar100 digits folder imagenet svhn svhn_extra tiny_imagenet"
    assert set(NAMES) >= set(wanted.split())
    for name in NAMES:
        files = data_sets.get(name).files
        assert files is None or files.name == name


def test_what_is_known_before_reading_is_true_of_what_is_read():
    spec = data_sets.make("digits")
    data = spec.load(None)
    assert spec.num_classes == data.num_classes
    assert data.train.images.shape[2:] == (spec.side, spec.side)
    known = {name: (data_sets.get(name).num_classes, data_sets.get(name).side) for name in NAMES}
    assert known["cifar100"] == (100, 32)
    assert known["svhn_extra"] == (10, 32)
    assert known["tiny_imagenet"] == (200, 64)
    assert known["imagenet"] == (1000, None)
    assert known["folder"] == (None, None)
    own = {"coco_json", "folder", "masks", "shards", "yolo"}
    imagenet = {"imagenet", "imagenet_shards"}
    in_files = {*own, *imagenet, "camvid_instances", "cityscapes", "coco"}
    assert {name for name in NAMES if data_sets.get(name).in_files} == in_files
    assert {name for name in NAMES if data_sets.get(name).is_users_own} == own


def test_digits_are_always_there(tmp_path):
    data_sets.make("digits").check_there(tmp_path / "nowhere")


@pytest.mark.parametrize("name", IN_FILES)
def test_missing_files_are_noticed_without_reading(name, tmp_path):
    source = data_sets.make(name)
    with pytest.raises(FileNotFoundError) as loading:
        source.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError) as checking:
        source.check_there(tmp_path / "nowhere")
    messages = [str(caught.value) for caught in (loading, checking)]
    beginnings, remedies = zip(*(text.split(", got no", 1) for text in messages), strict=True)
    assert beginnings[0] == beginnings[1]
    assert remedies[0].rpartition(";")[2] == remedies[1].rpartition(";")[2]


@pytest.mark.parametrize("name", IN_FILES)
def test_sets_without_their_files_say_what_to_do(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^data: expected .*, got no") as caught:
        load_data(name, tmp_path / "nowhere")
    message = str(caught.value)
    if data_sets.get(name).files is not None:
        assert f"semaug data fetch {name} --data-root {tmp_path / 'nowhere'}" in message
    assert "--data-root" in message


def test_images_in_files_are_found_by_the_name_folder(tmp_path):
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                (tmp_path / part / name / f"{number}.jpg").touch()
    data = load_data("folder", tmp_path, train_per_class=2)
    assert isinstance(data.train, FileSet)
    assert data.train.classes == ("cat", "dog")
    assert [path.name for path in data.train.paths] == ["0.jpg", "1.jpg"] * 2
    assert len(data.test) == 6

"""Tests of semaug.data.registry."""

import pytest
import torch

from semaug.data import DATA_SETS, DataSet, FileSet, ImageSet, load_data
from semaug.data.registry import DataSource


@pytest.fixture
def toy(monkeypatch):
    """Register a set of ten images, class 1 having seven of them; return the roots asked for."""
    roots = []

    def load(root):
        roots.append(root)
        labels = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0, 1, 1])
        images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 2, 2)
        part = ImageSet(images, labels, ("cat", "dog"))
        return DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3)

    monkeypatch.setitem(DATA_SETS, "toy", DataSource(load, "ten images"))
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

    def load(root, *, workers):
        calls.append(workers)
        return DATA_SETS["toy"].load(root)

    monkeypatch.setitem(DATA_SETS, "decoded", DataSource(load, "ten images", decodes=True))
    assert len(load_data("decoded", workers=workers).train) == 10
    assert calls == [workers]
    assert len(load_data("toy", workers=workers).train) == 10, "passed over"


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
    for source in DATA_SETS.values():
        assert 10 < len(source.description) < 100
        assert "\n" not in source.description


def test_every_set_is_registered_under_the_name_it_has():
    assert list(DATA_SETS) == [
        "digits",
        "cifar10",
        "cifar100",
        "svhn",
        "svhn_extra",
        "tiny_imagenet",
        "imagenet",
        "folder",
    ]
    for name, source in DATA_SETS.items():
        assert source.files is None or source.files.name == name


@pytest.mark.parametrize("name", [name for name in DATA_SETS if name != "digits"])
def test_sets_without_their_files_say_what_to_do(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^load_data: expected .*, got no") as caught:
        load_data(name, tmp_path / "nowhere")
    message = str(caught.value)
    if DATA_SETS[name].files is not None:
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

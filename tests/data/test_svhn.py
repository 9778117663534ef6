"""Tests of semaug.data.svhn, on small files of the same format."""

import hashlib
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.io import savemat

from semaug.data.svhn import SVHN, SVHNExtra
from semaug.errors import how_to_install

SOURCES = {"svhn": SVHN(), "svhn_extra": SVHNExtra()}
SIZES = {"train_32x32.mat": 12, "extra_32x32.mat": 20, "test_32x32.mat": 7}


@pytest.fixture
def contents(tmp_path, monkeypatch):
    """Write small files that are accepted as official; return what is in them."""
    rng = np.random.default_rng(0)
    (tmp_path / "svhn").mkdir()
    contents, sums = {}, {}
    for name, size in SIZES.items():
        pixels = rng.integers(0, 256, (32, 32, 3, size), dtype=np.uint8)
        labels = np.arange(size, dtype=np.uint8).reshape(-1, 1) % 10 + 1  # 1..10
        path = tmp_path / "svhn" / name
        savemat(path, {"X": pixels, "y": labels}, do_compression=True)
        contents[name] = pixels, labels
        sums[name] = hashlib.md5(path.read_bytes()).hexdigest()
    for source in (SVHN, SVHNExtra):
        md5 = {name: sums[name] for name in source.files.md5}
        monkeypatch.setattr(source, "files", replace(source.files, md5=md5))
    return contents


@pytest.mark.parametrize(
    ("name", "train"),
    [("svhn", ["train_32x32.mat"]), ("svhn_extra", ["train_32x32.mat", "extra_32x32.mat"])],
)
def test_images_and_labels_keep_the_order_of_the_files(contents, tmp_path, name, train):
    data = SOURCES[name].load(tmp_path)
    assert data.name == name
    assert data.train.classes == tuple("0123456789")
    for part, names in ((data.train, train), (data.test, ["test_32x32.mat"])):
        pixels = np.concatenate([contents[name][0] for name in names], axis=3)
        labels = np.concatenate([contents[name][1] for name in names]).ravel()
        assert part.images.shape == (len(labels), 3, 32, 32)
        assert part.images.is_contiguous()
        for n in range(len(labels)):
            np.testing.assert_array_equal(part.images[n].permute(1, 2, 0), pixels[..., n])
        assert part.labels.tolist() == [label if label < 10 else 0 for label in labels]


def test_they_are_what_torchvision_reads(contents, tmp_path, monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda self: True)
    theirs = datasets.SVHN(tmp_path / "svhn", split="train")
    ours = SVHN().load(tmp_path).train
    np.testing.assert_array_equal(ours.images, theirs.data)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


@pytest.mark.parametrize("name", ["svhn", "svhn_extra"])
def test_a_missing_file_is_named_with_the_command_that_fetches_it(contents, tmp_path, name):
    path = tmp_path / "svhn" / "test_32x32.mat"
    path.unlink()
    expected = rf"got no file '{path}'; fetch it with: semaug data fetch {name} --data-root"
    with pytest.raises(FileNotFoundError, match=expected):
        SOURCES[name].load(tmp_path)


def test_svhn_does_not_need_the_extra_images(contents, tmp_path):
    (tmp_path / "svhn" / "extra_32x32.mat").unlink()
    assert len(SVHN().load(tmp_path).train) == 12
    with pytest.raises(FileNotFoundError, match="semaug data fetch svhn_extra"):
        SVHNExtra().load(tmp_path)


def test_a_changed_file_is_refused_before_it_is_read_further(contents, tmp_path, monkeypatch):
    path = tmp_path / "svhn" / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr("scipy.io.loadmat", lambda *_: pytest.fail("was read"))
    with pytest.raises(ValueError, match="damaged or cut short; fetch it with: semaug data fetch"):
        SVHN().load(tmp_path)


def test_a_missing_scipy_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    command = re.escape(how_to_install("train"))
    with pytest.raises(ModuleNotFoundError, match=f"'svhn' needs SciPy; .*{command}") as e:
        SVHN().load(tmp_path)
    assert e.value.name == "scipy"


def test_the_sums_and_addresses_are_those_of_torchvision():
    datasets = pytest.importorskip("torchvision.datasets")
    theirs = {name: (url, md5) for url, name, md5 in datasets.SVHN.split_list.values()}
    downloads = {one.name: (one.url, one.md5) for one in SVHNExtra.files.downloads}
    assert downloads == theirs
    assert set(SVHN.files.downloads) < set(SVHNExtra.files.downloads)
    for files in (SVHN.files, SVHNExtra.files):
        assert [one.provides for one in files.downloads] == [(name,) for name in files.md5]
        assert files.md5 == {one.name: one.md5 for one in files.downloads}


def test_labels_are_int64(contents, tmp_path):
    assert SVHN().load(tmp_path).test.labels.dtype == torch.int64

"""Tests of semaug.data.cifar, on small archives of the same layout and on the real ones."""

import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from semaug.data import cifar
from semaug.data.cifar import Cifar10, Cifar100

SOURCES = {"cifar10": Cifar10(), "cifar100": Cifar100()}
REAL_DATA = Path(os.environ.get("SEMAUG_DATA") or "data")


def write_archive(files, root, num_images=4):
    """Write random batches as ``files`` describes them; return the pixels and the MD5 sums."""
    rng = np.random.default_rng(0)
    classes = [f"class {i}".encode() for i in range(10 if files is Cifar10.files else 100)]
    contents = {files.meta: {files.classes_key: classes}}
    for name in files.train + files.test:
        pixels = rng.integers(0, 256, (num_images, 3072), dtype=np.uint8)
        labels = rng.integers(0, len(classes), num_images).tolist()
        contents[name] = {b"data": pixels, files.label_key: labels}
    folder = root / files.folder
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=3))
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in contents}
    return contents, sums


@pytest.fixture(params=[Cifar10, Cifar100])
def archive(request, tmp_path, monkeypatch):
    """A small archive that is accepted as official: its description, root and contents."""
    contents, sums = write_archive(request.param.files, tmp_path)
    files = replace(request.param.files, md5=sums)
    monkeypatch.setattr(request.param, "files", files)
    return files, tmp_path, contents


def test_images_labels_and_names_keep_the_order_of_the_files(archive):
    files, root, contents = archive
    data = SOURCES[files.name].load(root)
    assert data.name == files.name
    assert data.train.classes == tuple(f"class {i}" for i in range(data.num_classes))
    for part, names in ((data.train, files.train), (data.test, files.test)):
        batches = [contents[name] for name in names]
        assert part.labels.tolist() == [x for batch in batches for x in batch[files.label_key]]
        pixels = np.concatenate([batch[b"data"] for batch in batches])
        assert part.images.dtype == torch.uint8
        np.testing.assert_array_equal(part.images.numpy(), pixels.reshape(-1, 3, 32, 32))


def test_a_missing_file_is_named_with_the_command_that_fetches_it(archive):
    files, root, _ = archive
    path = root / files.folder / files.test[0]
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        SOURCES[files.name].load(root)
    message = str(caught.value)
    assert f"got no file {str(path)!r}" in message
    assert f"fetch it with: semaug data fetch {files.name} --data-root {root}, or" in message


def test_files_are_looked_for_but_not_read_before_a_run(archive):
    files, root, _ = archive
    source = SOURCES[files.name]
    path = root / files.folder / files.train[0]
    path.write_bytes(b"damaged")
    source.check_there(root)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"got no file '{path}'; fetch it with: semaug"):
        source.check_there(root)


def test_a_missing_folder_is_reported_like_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data: expected cifar10 under .*nowhere"):
        Cifar10().load(tmp_path / "nowhere")


def test_a_truncated_file_is_named(archive):
    files, root, _ = archive
    path = root / files.folder / files.train[-1]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"{path.name}' with MD5 sum .* \(1,000 bytes\)"):
        SOURCES[files.name].load(root)


def test_a_changed_file_is_refused_before_it_is_unpickled(archive, monkeypatch):
    files, root, _ = archive
    path = root / files.folder / files.meta
    path.write_bytes(path.read_bytes() + b"x")
    monkeypatch.setattr(cifar, "load_arrays", lambda *_: pytest.fail("was unpickled"))
    with pytest.raises(ValueError, match="damaged or cut short; fetch it with"):
        SOURCES[files.name].load(root)


@pytest.mark.parametrize("files", [Cifar10.files, Cifar100.files], ids=["cifar10", "cifar100"])
def test_the_sums_and_the_address_are_those_of_torchvision(files):
    datasets = pytest.importorskip("torchvision.datasets")
    theirs = getattr(datasets, files.name.upper())
    sums = dict([*theirs.train_list, *theirs.test_list])
    assert files.md5 == {**sums, files.meta: theirs.meta["md5"]}
    assert files.folder == theirs.base_folder
    (archive,) = files.downloads
    assert (archive.url, archive.name, archive.md5) == (
        theirs.url,
        theirs.filename,
        theirs.tgz_md5,
    )
    assert set(archive.provides) == set(files.md5)


@pytest.mark.parametrize("files", [Cifar10.files, Cifar100.files], ids=["cifar10", "cifar100"])
def test_the_constants_are_those_of_the_real_training_images(files):
    if not (REAL_DATA / files.folder).is_dir():
        pytest.skip(f"no {files.folder} under {REAL_DATA}; set SEMAUG_DATA to check real data")
    data = SOURCES[files.name].load(REAL_DATA)
    assert data.train.images.shape == (50_000, 3, 32, 32)
    assert data.test.images.shape == (10_000, 3, 32, 32)
    counts = torch.bincount(data.train.labels)
    assert counts.tolist() == [50_000 // data.num_classes] * data.num_classes
    assert data.train.classes[0] == {"cifar10": "airplane", "cifar100": "apple"}[files.name]
    for channel in range(3):
        levels = torch.bincount(data.train.images[:, channel].flatten(), minlength=256).double()
        share, value = levels / levels.sum(), torch.arange(256).double() / 255
        mean = (share * value).sum()
        std = (share * (value - mean) ** 2).sum().sqrt()
        assert_close(data.mean[channel], mean.item(), atol=5e-9, rtol=0)
        assert_close(data.std[channel], std.item(), atol=5e-9, rtol=0)


def test_reading_needs_neither_torchvision_nor_timm():
    code = (
        "import sys, semaug.data; "
        "print([m for m in ('torchvision', 'timm', 'sklearn', 'scipy.io') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The folder of a class, and the data root, have names that are no UTF-8, from another system."""

import json
import os
import sys

import pytest

from semaug.data import unpack_selection
from semaug.errors import UserError
from tests.data.image_files import write_image
from tests.tiny import train_quietly

CHANGES = ["network=resnet8_cifar", "image_size=8", "batch_size=4", "epochs=1", "hold_out=2"]
CHANGES += ["train_per_class=none", "test_images=none", "train_percent=100"]


@pytest.fixture
def root(tmp_path):
    if sys.platform != "linux":
        pytest.skip("needs a file system that takes any bytes as names")
    root = tmp_path / os.fsdecode(b"fotograf\xeda")
    for name in (b"caf\xe9", b"tea"):
        for n in range(4):
            write_image(root / os.fsdecode(name) / os.fsdecode(b"f\xf3to%d.png" % n), seed=n)
    return root


def test_a_run_ends_resumes_and_writes_the_name_with_escapes(root, make_run):
    run = make_run("folder_resnet18", *CHANGES)
    summary = train_quietly(run, data_root=root, workers=0)
    assert set(summary["by_class"]) <= {r"caf\xe9", "tea"}
    assert train_quietly(run, data_root=root, workers=0, resume=True) == summary
    for path in (run.folder / "summary.json", run.folder / "images.json"):
        text = path.read_bytes().decode()
        assert "\\udce9" not in text
        json.loads(text)
    told = json.loads((run.folder / "images.json").read_text())
    assert told["images_per_class"] == {r"caf\xe9": 3, "tea": 3}
    selection = unpack_selection((run.folder / "images.npz").read_bytes())
    assert selection.classes == (r"caf\xe9", "tea")


def test_check_prints_names_with_escapes(root, semaug):
    status, output, _ = semaug("data", "check", "folder", "--data-root", str(root))
    assert status == 0
    assert r"2 classes: caf\xe9 (4), tea (4)" in output
    (root / os.fsdecode(b"th\xe9.f\xe9")).touch()
    (root / os.fsdecode(b"caf\xe9/f\xf3to1.png")).write_bytes(b"damaged")
    status, output, _ = semaug("data", "check", "folder", "--data-root", str(root))
    assert status == 2
    assert r".f\xe9 (1)" in output
    assert "caf\\udce9/f\\udcf3to1.png' (7 bytes)" in output  # as Python writes a path


def test_a_folder_of_runs_that_tensorboard_cannot_name_is_refused(root, make_run):
    run = make_run("digits_resnet8", "epochs=1", root=root / "runs")
    with pytest.raises(UserError, match=r"TensorBoard writes into .* UTF-8; .* --runs"):
        train_quietly(run)

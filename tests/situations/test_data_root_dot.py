"""The classes lie in the working folder, and so do the runs."""

import pytest

from semaug.data.check import check
from semaug.data.folder import load_folder
from semaug.data.registry import data_root
from tests.data.image_files import write_image
from tests.tiny import train_quietly

CHANGES = ["network=resnet8_cifar", "image_size=8", "batch_size=4", "epochs=1", "hold_out=2"]
CHANGES += ["train_per_class=none", "test_images=none"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Be in a folder of two classes."""
    root = tmp_path / "photos"
    for n, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
        write_image(root / name, seed=n)
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(tmp_path))
    return root


@pytest.mark.parametrize("spelling", [".", "./", "../photos", "../photos/.", "~/photos/"])
def test_files_are_found_by_any_spelling_of_the_root(photos, spelling):
    paths = load_folder(data_root(spelling)).train.paths
    assert [path.resolve() for path in paths] == sorted(photos.glob("*/*.png"))
    assert check("folder", spelling).problems == ()


def test_the_folder_of_runs_is_no_class(photos, make_run):
    for seed in (0, 1):
        run = make_run("folder_resnet18", *CHANGES, seed=seed, root=photos / "runs")
        assert set(train_quietly(run, data_root=".", workers=0)["by_class"]) == {"cat", "dog"}
        write_image(photos / "runs/compare/a-vs-b/seeds0/curves.png")
    report = check("folder", ".")
    assert report.num_classes == 2
    assert report.notes[1] == "passed over in '.': runs/"

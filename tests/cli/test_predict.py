"""Tests of semaug.cli.predict."""

import json
import re

import pytest
import torch

from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.export import export_run
from semaug.runs.read import value_of
from tests.data.image_files import write_image
from tests.tiny import tiny_run, train_quietly

CPU = ["--device", "cpu", "--workers", "0"]
SMALL = ["network=resnet8_cifar", "image_size=16", "epochs=1", "train_per_class=none"]
SMALL += ["test_images=none", "batch_size=8", "evaluation_batch_size=5"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Return the folder of a run on photographs, that of its export, and that of the test files."""
    root = tmp_path_factory.mktemp("predicted")
    for part, count in (("train", 4), ("val", 6)):
        for label, name in enumerate(("cat", "dog")):
            for k in range(count):
                path = root / "photos" / part / name / f"{k}.png"
                write_image(path, 20 + k, 30 - k, seed=100 * label + k)
    run = tiny_run(root / "runs", "folder_resnet18", *SMALL)
    train_quietly(run, data_root=root / "photos", workers=0)
    trained = load_trained(run.folder, TrainOptions(device="cpu"))
    export_run(trained, root / "export")
    return run, root / "export", root / "photos" / "val"


@pytest.mark.parametrize("exported", [False, True])
def test_the_test_files_give_the_recorded_accuracy(semaug, places, exported):
    run, export, val = places
    folder = export if exported else run.folder
    status, output, error = semaug("predict", str(folder), str(val), "--json", *CPU)
    assert status == 0
    assert re.fullmatch(r"12 photographs, [\d,]+ images/s\n", error)
    found = [json.loads(line) for line in output.splitlines()]
    assert [one["file"] for one in found] == [str(path) for path in sorted(val.rglob("*.png"))]
    wrong = sum(one["file"].split("/")[-2] != one["top"][0]["class"] for one in found)
    recorded = value_of(run.summary(), report="last")
    assert 100 * wrong / 12 == pytest.approx(recorded, abs=1e-9)
    for one in found:
        probabilities = [best["probability"] for best in one["top"]]
        assert sum(probabilities) == pytest.approx(1)
        assert probabilities == sorted(probabilities, reverse=True)


def test_damaged_and_missing_photographs_stop_no_others(semaug, places, tmp_path):
    run, _, val = places
    write_image(tmp_path / "new" / "deep" / "good.JPG")
    write_image(tmp_path / "new" / ".hidden" / "photo.png")
    (tmp_path / "new" / "damaged.png").write_bytes(b"no photograph")
    (tmp_path / "new" / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    names = ["new*", f"{val}/cat/[12].png", "missing.jpg", "no*.jpg", "empty", "new/notes.txt"]
    status, output, error = semaug("predict", str(run.folder), *names, "--top", "1", *CPU)
    assert status == 2
    lines = output.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "new/deep/good.JPG",
        f"{val}/cat/1.png",
        f"{val}/cat/2.png",
    ]
    assert all(re.search(r": (cat|dog) \d+\.\d %$", line) for line in lines)
    assert error.splitlines()[:3] == [
        "missing.jpg: no such file or directory",
        "no*.jpg: no such file or directory",
        "empty: no images in this folder",
    ]
    remedy = "; Pillow decodes no such files, so convert photographs among them"
    assert error.splitlines()[3:5] == [
        f"passed over in 'new': .hidden/, .txt (1){remedy}",
        f"passed over in 'empty': .txt (1){remedy}",
    ]
    assert "cannot read 'new/damaged.png' (13 bytes): no image of a known format" in error
    assert "cannot read 'new/notes.txt' (0 bytes)" in error
    told = [re.sub("[0-9.,]+ images", "images", line) for line in error.splitlines()[-2:]]
    assert told == [
        "3 photographs, images/s",
        "predict: expected photographs, could not read 5 of 8",
    ]


def test_folders_are_listed_as_those_of_data_sets(semaug, places, tmp_path):
    write_image(tmp_path / "new" / "x.png")
    write_image(tmp_path / "new" / "y.jpg")
    (tmp_path / "new" / "y.jpg").rename(tmp_path / "new" / "y.mpo")
    write_image(tmp_path / "new" / "@eaDir" / "x.png")
    (tmp_path / "new" / "z.heic").touch()
    (tmp_path / "new" / "again").symlink_to(tmp_path / "new")
    for name, begin in (
        ("new", "new/"),
        (".", "new/"),
        (str(tmp_path / "new"), f"{tmp_path}/new/"),
    ):
        status, output, error = semaug("predict", str(places[0].folder), name, *CPU)
        files = [line.partition(": ")[0] for line in output.splitlines()]
        assert (status, files) == (0, [f"{begin}x.png", f"{begin}y.mpo"])
        (note, _) = error.splitlines()
        assert "@eaDir/" in note
        assert ".heic (1)" in note
        assert note.endswith("; Pillow decodes HEIC after: pip install pillow-heif")


def test_a_name_with_brackets_is_the_file_of_this_name(semaug, places, tmp_path):
    write_image(tmp_path / "a[1].png")
    status, output, _ = semaug("predict", str(places[0].folder), "a[1].png", *CPU)
    assert status == 0
    assert output.startswith("a[1].png: ")


def test_nothing_to_read_and_no_such_run_are_errors(semaug, places):
    status, _, error = semaug("predict", str(places[0].folder), "no.jpg", *CPU)
    assert (status, error.splitlines()) == (
        2,
        [
            "no.jpg: no such file or directory",
            "predict: expected photographs, could not read 1 of 1",
        ],
    )
    status, _, error = semaug("predict", "nowhere", "no.jpg")
    assert (status, error) == (2, "nowhere: expected the folder of a run, got no such folder\n")
    status, _, error = semaug(
        "predict", str(places[0].folder), str(places[2]), "--predictor", "x", *CPU
    )
    assert status == 2
    assert "expected no `predictor`, for there is one network alone, got 'x'" in error


def test_threads_are_set(semaug, places):
    before = torch.get_num_threads()
    photograph = str(places[2] / "cat" / "0.png")
    assert semaug("predict", str(places[1]), photograph, "--threads", str(before), *CPU)[0] == 0
    assert torch.get_num_threads() == before


def test_it_is_one_process(semaug, places, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, error = semaug("predict", str(places[1]), str(places[2]))
    assert (status, error) == (2, "predict: expected one process, got several from torchrun\n")

"""A few photographs in class folders, and no test part: folds."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from semaug import load
from semaug.engine import images
from semaug.errors import UserError
from semaug.report import collect

CHANGES = ["network=resnet8_cifar", "image_size=16", "epochs=1", "batch_size=4", "warmup_epochs=0"]
ARMS = ["folder_resnet18", "folder_resnet18_isda,strength=0.5"]


@pytest.fixture
def photos(tmp_path):
    numbers = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for place in range(6):
            pixels = numbers.integers(256, size=(20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{place}.png")
    return str(tmp_path / "photos")


def test_every_photograph_is_tested_once_by_either_recipe(semaug, photos, tmp_path):
    options = ["--folds", "3", "--detect", "5", "--data-root", photos, "--workers", "0"]
    status, out, err = semaug("compare", *ARMS, *CHANGES, *options, "--no-refit")
    assert (status, err) == (0, ""), err
    text = " ".join(out.split())
    assert "a difference of 5.00 % in held-out error" in text
    (path,) = tmp_path.glob("runs/compare/*/*/compare.json")
    written = json.loads(path.read_text())
    assert "refit" not in written
    assert "± is the standard deviation over folds" in text
    assert "Nadeau and Bengio" in written["interval"]
    for side in ("first", "second"):
        assert written[side]["seeds"] == [0, 1, 2]
        tested = [
            json.loads((tmp_path / f / "images.json").read_text()) for f in written[side]["folders"]
        ]
        assert [one["test_images"] for one in tested] == [4, 4, 4]
        assert len({one["sha256"]["held_out"] for one in tested}) == 3
    sums = [
        [
            json.loads((tmp_path / f / "images.json").read_text())["sha256"]
            for f in written[side]["folders"]
        ]
        for side in ("first", "second")
    ]
    assert sums[0] == sums[1]
    folders = [
        tmp_path / folder for side in ("first", "second") for folder in written[side]["folders"]
    ]
    assert {json.loads((f / "summary.json").read_text())["test_on"] for f in folders} == {
        "hold_out"
    }
    (group,) = collect([tmp_path / "runs"]).groups
    assert (group.measured, [len(recipe.runs) for recipe in group.recipes]) == (
        "held-out error",
        [3, 3],
    )
    (pair,) = group.pairs()
    assert pair.difference.pairs == 3


@pytest.fixture
def refit(semaug, photos, tmp_path):
    """Cross-validate, and return the folder of the run on all photographs, and what was said."""
    options = ["--folds", "2", "--seeds", "1", "--data-root", photos, "--workers", "0"]
    status, out, err = semaug("compare", *ARMS, *CHANGES, *options)
    assert (status, err) == (0, ""), err
    (path,) = tmp_path.glob("runs/compare/*/*/compare.json")
    return json.loads(path.read_text()), " ".join(out.split())


def test_the_better_recipe_is_trained_on_all_photographs(semaug, refit, tmp_path):
    written, text = refit
    folder, expected = written["refit"]["folder"], written["refit"]["expected"]
    means = [written[side]["results"][""]["mean_last_10"]["mean"] for side in ("first", "second")]
    assert expected["mean"] == min(means)
    assert expected["recipe"] == written[["first", "second"][means.index(min(means))]]["label"]
    assert (
        f"trained on 12 images, without a test: {folder}; expected error {min(means):.2f} %,"
        in text
    )
    assert (tmp_path / folder / "cross_validation.json").exists()
    summary = json.loads((tmp_path / folder / "summary.json").read_text())
    assert (summary["results"], summary["by_class"], summary["test_on"]) == ({}, {}, "none")
    rows = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["test_error"] for row in rows] == [None]

    status, out, _ = semaug("predict", folder, "photos/cat", "--json", "--workers", "0")
    assert (status, len(out.splitlines())) == (0, 6)
    assert semaug("export", folder, "--output", "net")[0] == 0
    card = (tmp_path / "net" / "README.md").read_text()
    assert "trained on all images that there were, and is not tested" in card
    assert f"\n- cross-validated error: {min(means):.2f} %, lower is better\n" in card
    about = json.loads((tmp_path / "net" / "model.json").read_text())
    assert (about["results"], about["cross_validated"]["folds"]) == ({}, 2)

    # A photograph of a telephone that was held upright, and the same pixels turned for good.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open("photos/cat/0.png").resize((90, 60)).save("phone.jpg", exif=exif)
    ImageOps.exif_transpose(Image.open("phone.jpg")).save("turned.png")
    for networks in (folder, "net"):
        _, out, _ = semaug("predict", networks, "phone.jpg", "turned.png", "--json")
        phone, turned = (json.loads(line)["top"] for line in out.splitlines())
        assert phone == turned


def test_what_reads_runs_says_that_there_was_no_test(semaug, refit, tmp_path):
    folder = refit[0]["refit"]["folder"]
    status, out, _ = semaug("evaluate", folder)
    assert (status, "was trained without test images, and is not tested" in out) == (0, True)
    status, _, err = semaug("transfer", folder)
    assert (status, "expected a run with test images, got one without" in err) == (2, True)
    with pytest.raises(UserError, match="expected a run with test images, got one without"):
        load(tmp_path / folder, data_root="photos", workers=0).test()
    (group,) = (one for one in collect([tmp_path / "runs"]).groups if len(one.recipes) == 1)
    assert (group.runs[0].state, group.runs[0].results) == ("finished, not tested", {})
    assert group.pairs() == []
    resumed = [*CHANGES, "--resume", "--data-root", "photos", "--device", "cpu"]
    status, out, _ = semaug("train", f"{ARMS[0]}", "test_images=0", *resumed)
    assert (status, "not tested, for there are no images to test on" in out) == (0, True)
    (tmp_path / folder / "cross_validation.json").write_text("{}")
    status, _, err = semaug("export", folder, "--output", "net")
    assert (status, "expected results of folds" in err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", *ARMS],
        ["search", "folder_resnet18_isda", "strength=0.1,0.5", "--hold-out", "2"],
    ],
)
def test_choosing_needs_a_test(semaug, arguments):
    status, _, err = semaug(*arguments, "test_images=0")
    assert status == 2
    assert f"{arguments[0]}: expected runs with a test, got test_images=0" in err


def test_copies_are_named_and_stay_in_one_fold(semaug, photos, tmp_path):
    root = tmp_path / "photos"
    photo = Image.open(root / "cat" / "0.png")
    for size in (40, 60, 80):
        photo.resize((size, size)).save(root / "cat" / f"copy{size}.png")
    Image.open(root / "dog" / "1.png").save(root / "cat" / "wrong.png")
    told = "near duplicates: 7 pairs of 6 images, copies or shots in a row; of 1 the classes differ"
    status, out, _ = semaug("data", "check", "folder", "--data-root", photos)
    assert (status, told in " ".join(out.split())) == (0, True)
    assert f"{root}/cat/wrong.png and {root}/dog/1.png, classes differ" in out

    folds = ["--folds", "2", "--seeds", "1", "--data-root", photos, "--workers", "0", "--no-refit"]
    status, out, err = semaug("compare", *ARMS, *CHANGES, *folds)
    assert (status, err) == (0, "")
    assert out.count(told) == out.count("they stay in one fold, up to 4 images, for the error") == 1
    assert out.index(told) < out.index("runs: 2, finished before: 0")
    status, out, err = semaug("compare", *ARMS, *CHANGES, *folds, "near_duplicates=apart")
    assert (status, err, told in out) == (0, "", False)
    held_out = {
        "near_duplicates=apart" in str(path): json.loads(path.read_text())["sha256"]["held_out"]
        for path in tmp_path.glob("runs/folder_resnet18,*/seed0/images.json")
    }
    assert held_out[True] != held_out[False]

    alone = ["hold_out=7", "--data-root", photos, "--workers", "0"]
    status, out, _ = semaug("train", ARMS[0], *CHANGES, *alone)
    assert (status, "they stay together, up to 4 images, for the error" in out) == (0, True)


def test_a_photograph_that_came_later_is_told_once(semaug, refit, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_now", {})  # as in another process
    Image.new("L", (20, 20)).save(tmp_path / "photos" / "cat" / "new.png")
    options = ["--folds", "2", "--seeds", "1", "--data-root", "photos", "--workers", "0"]
    status, out, err = semaug("compare", *ARMS, *CHANGES, *options)
    assert (status, "failed" in out) == (2, False)
    told = "the run began with other images than there are now: 6 to test on then and 7 now"
    assert " ".join(err.split()).count(told) == 1


def test_a_class_of_near_duplicates_alone_cannot_be_tested(semaug, photos, tmp_path):
    for k in range(1, 6):
        shutil.copy(tmp_path / "photos" / "dog" / "0.png", tmp_path / "photos" / "dog" / f"{k}.png")
    status, out, err = semaug("compare", *ARMS, *CHANGES, "--folds", "2", "--data-root", photos)
    assert status == 2
    told = "all of class 'dog' are held out to test on; near duplicates stay together"
    assert told in " ".join(err.split())
    assert "runs:" not in out


def test_arms_of_other_folds_are_refused(semaug, photos):
    arms = [f"{ARMS[0]},folds=3", f"{ARMS[1]},folds=2"]
    status, _, err = semaug("compare", *arms, *CHANGES, "--data-root", photos)
    assert status == 2
    assert "folds=3 and folds=2" in " ".join(err.split())


@pytest.mark.parametrize("value", ["0", "-1", "inf"])
def test_a_difference_of_nothing_is_refused(semaug, value):
    status, _, err = semaug("compare", *ARMS, "--detect", value)
    assert status == 2
    assert "compare: expected --detect > 0" in " ".join(err.split())


def test_no_refit_belongs_to_folds(semaug):
    status, _, err = semaug("compare", "digits_resnet8", "digits_resnet8_isda", "--no-refit")
    assert status == 2
    assert "compare: expected --folds N with --no-refit" in " ".join(err.split())

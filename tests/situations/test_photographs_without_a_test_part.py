"""A few photographs in class folders, and no test part: folds."""

import json

import numpy as np
import pytest
from PIL import Image

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
    status, out, err = semaug("compare", *ARMS, *CHANGES, *options)
    assert (status, err) == (0, ""), err
    text = " ".join(out.split())
    assert "a difference of 5.00 % in held-out error" in text
    (path,) = tmp_path.glob("runs/compare/*/*/compare.json")
    written = json.loads(path.read_text())
    assert "Nadeau and Bengio" in written["interval"]
    for side in ("first", "second"):
        assert written[side]["seeds"] == [0, 1, 2]
        tested = [
            json.loads((tmp_path / f / "images.json").read_text()) for f in written[side]["folders"]
        ]
        assert [images["test_images"] for images in tested] == [4, 4, 4]
        assert len({images["sha256"]["held_out"] for images in tested}) == 3
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

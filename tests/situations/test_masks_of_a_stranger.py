"""Photographs and masks of a stranger, of all sizes: checked, trained on, and new ones labeled."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semaug import api
from tests.data.mask_files import write_masks, write_pair

RECIPE = """
from dataclasses import dataclass
from torch import nn
from semaug.augmentation import ScaleCrop
from semaug.data.masks import Masks
from semaug.metrics import BoundaryIoUSpec, MeanIoUSpec
from semaug.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Tiny:
    '''Looks at 3 x 3 pixels.'''

    def build(self, sizes):
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, sizes.num_classes, 1)
        )


def recipe():
    return Recipe(
        data=Masks(),
        network=Tiny(),
        augment=ScaleCrop(size=(9,), shorter_side=12, rotation=10.0),
        metrics=(MeanIoUSpec(), BoundaryIoUSpec(width=2)),
        epochs=2,
        batch_size=2,
    )
"""
CPU = ["--device", "cpu", "--workers", "0"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Write photographs of seven sizes, a damaged one among those to be labeled, and a recipe."""
    root = tmp_path_factory.mktemp("stranger")
    sizes = [(12, 18), (30, 16), (14, 14), (20, 40), (13, 17), (16, 30)]
    write_masks(root / "photos", {"train": sizes, "val": [(25, 13), (12, 21)]})
    for name, size in (("deep/a.png", (19, 31)), ("b.jpg", (33, 14))):
        write_pair(root / "new" / name, root / "truth" / Path(name).with_suffix(".png"), *size)
    (root / "new" / "damaged.png").write_bytes(b"no photograph")
    (root / "net.py").write_text(RECIPE)
    return root


@pytest.fixture
def run(semaug, photos):
    """Return the folder of the run, trained once."""
    folder = photos / "runs" / "net.py:recipe" / "seed0"
    if not folder.exists():
        data = ["--data-root", str(photos / "photos"), "--runs", str(photos / "runs")]
        status, output, error = semaug("train", f"{photos / 'net.py'}:recipe", *data, *CPU)
        assert status == 0, error + output
    return next((photos / "runs").rglob("seed0"))


def test_the_run_is_tested_at_the_size_of_each_photograph(semaug, photos, run):
    data = ["--data-root", str(photos / "photos")]
    status, output, _ = semaug("evaluate", str(run), *data, *CPU)
    assert status == 0
    assert "test boundary_iou" in output
    assert "as recorded" in output
    kept = np.load(run / "tested.npz")
    assert kept["sizes"].tolist() == [[25, 13], [12, 21]]
    assert kept["pictures"].shape == (2, 25, 21, 3)


def test_new_photographs_get_masks_of_their_own_size(semaug, photos, run, tmp_path):
    status, output, error = semaug("predict", str(run), str(photos / "new"), "-o", "masks", *CPU)
    assert status == 2
    assert "damaged.png" in error
    assert "could not read 1 of 3" in error
    assert len(output.splitlines()) == 2
    assert "%" in output
    for name, size in (("deep/a.png", (31, 19)), ("b.png", (14, 33))):
        with Image.open(tmp_path / "masks" / name) as mask:
            assert (mask.size, mask.mode) == (size, "P")
            assert set(np.unique(np.array(mask))) <= {0, 1}
    photo = str(photos / "new" / "b.jpg")
    status, output, _ = semaug("predict", str(run), photo, "-o", "one.png", "--ids", "--json", *CPU)
    assert status == 0
    shares = json.loads(output)["top"]
    with Image.open(tmp_path / "one.png") as ids, Image.open(tmp_path / "masks" / "b.png") as mask:
        assert ids.mode == "L"
        assert np.array_equal(np.array(ids), np.array(mask))
        places = {"dark": 0, "light": 1}
        for one in shares:
            share = (np.array(ids) == places[one["class"]]).mean()
            assert one["share"] == pytest.approx(share)


def test_a_mask_is_that_of_the_whole_photograph(photos, run):
    networks = api.load(run, device="cpu")
    path = photos / "new" / "b.jpg"
    ((found, mask),) = networks.predict_masks([path])
    assert (found, mask.shape, mask.dtype) == (path, (33, 14), torch.int64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new/b.jpg", "-o", "mask.jpg"], "expected --output of a PNG, such as mask.png"),
        (["new/b.jpg", "--ids"], "--ids has no effect without --output"),
        (["new/deep", "-o", "new/deep"], "none of a photograph"),
        (["new/b.jpg", "truth/b.png", "-o", "out"], "a file of its own for each mask"),
    ],
)
def test_masks_are_written_beside_nothing_else(semaug, photos, run, arguments, message):
    given = [str(photos / x) if (photos / x).exists() else x for x in arguments]
    status, _, error = semaug("predict", str(run), *given, *CPU)
    assert status == 2
    assert message in " ".join(error.split())

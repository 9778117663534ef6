"""Tests of semaug.cli.generate and semaug.cli.quality."""

import pytest
from PIL import Image

from semaug.data import load_data
from semaug.recipes import make_run
from semaug.runs.run import Run
from tests.tiny import tiny_recipe, train_quietly

TINY = {"width": "6", "critic_width": "4", "z_size": "5"}
OWN = """
class Large:
    z_size, num_classes, image = 4, 3, (3, 16, 16)

    def __call__(self, z, labels):
        return z
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of the runs of a generator and of a classifier."""
    root = tmp_path_factory.mktemp("runs")
    made = make_run("digits_cgan", TINY, 0, True, root)
    seen = Run("digits_resnet8", tiny_recipe("digits_resnet8", "epochs=1"), root=root)
    for run in (made, seen):
        train_quietly(run)
    return str(made.folder), str(seen.folder)


def test_images_become_a_picture_or_a_folder_of_each_class(semaug, folders, tmp_path):
    status, output, _ = semaug("generate", folders[0], "-n", "25", "-o", "a/grid.png")
    assert status == 0
    assert "wrote 25 images to a/grid.png" in output
    with Image.open(tmp_path / "a" / "grid.png") as picture:
        assert picture.size == (3 * 34 + 2, 9 * 34 + 2)  # three of each class at most
    assert (
        semaug("generate", folders[0], "-n", "4", "--class", "3", "--class", "8", "-o", "b")[0] == 0
    )
    paths = sorted((tmp_path / "b").rglob("*.png"))
    assert [str(path.relative_to(tmp_path / "b")) for path in paths] == [
        "3/000000.png", "3/000002.png", "8/000001.png", "8/000003.png",
    ]  # fmt: skip
    with Image.open(paths[0]) as image:
        assert (image.size, image.mode) == ((8, 8), "RGB")


def test_other_seeds_make_other_images(semaug, folders, tmp_path):
    for name, seed in (("one", "0"), ("same", "0"), ("other", "1")):
        assert semaug("generate", folders[0], "-o", f"{name}.png", "--seed", seed)[0] == 0
    one, same, other = ((tmp_path / f"{n}.png").read_bytes() for n in ("one", "same", "other"))
    assert one == same != other


def test_unknown_classes_and_generators_are_named(semaug, folders):
    status, _, errors = semaug("generate", folders[0], "--class", "cat")
    assert (status, "one of 0, 1, 2" in errors, "got 'cat'" in errors) == (2, True, True)
    status, _, errors = semaug("generate", "digits_wgn")
    assert status == 2
    assert "expected the run of a generator, got no such folder" in errors
    assert "train one by: semaug train digits_wgan" in errors


def test_each_number_is_told_with_its_feature_space(semaug, folders, tmp_path):
    status, output, errors = semaug(
        *("quality", folders[0], "--features", "pixels", "--features", folders[1], "-n", "60"),
        *("--output", "near.png", "--device", "cpu"),
    )
    assert status == 0, errors
    text = " ".join(output.split())
    assert "60 generated images and as many test images" in text
    assert "pixels averaged to 8 x 8" in text
    assert "features of" in text
    assert "FID" not in text
    assert "0 generated images are copies" in text
    with Image.open(tmp_path / "near.png") as picture:
        assert picture.size == (6 * 34 + 2, 10 * 34 + 2)


def test_real_images_are_as_good_as_real_ones(semaug, tmp_path):
    """A generator that returns training images is found out: all are copies."""
    (tmp_path / "copies.py").write_text(
        "from semaug.data import load_data\n"
        "images = load_data('digits').train.images\n"
        "class Copies:\n"
        "    z_size, num_classes, image, value_range = 1, 10, (3, 8, 8), (0.0, 255.0)\n"
        "    def __call__(self, z, labels):\n"
        "        return images[(z[:, 0].abs() * 300).long().clamp(max=999)].float()\n"
    )
    status, output, errors = semaug("quality", "copies.py:Copies", "--data", "digits", "-n", "50")
    assert status == 0, errors
    assert "0.000 for generated images" in " ".join(output.split())
    assert "50 generated images are copies" in " ".join(output.split())
    assert len(load_data("digits").test) > 50


def test_data_that_do_not_fit_are_named(semaug, tmp_path):
    (tmp_path / "large.py").write_text(OWN)
    for data, message in (
        ([], "expected --data, for large.py:Large does not tell its own"),
        (["--data", "digits"], "expected images in memory of shape (3, 16, 16), which data=digits"),
    ):
        status, _, errors = semaug("quality", "large.py:Large", *data)
        assert status == 2
        assert message in errors
    (tmp_path / "few.py").write_text(OWN.replace("16", "8"))
    status, _, errors = semaug("quality", "few.py:Large", "--data", "digits")
    assert "expected data of 3 classes, got data=digits of 10" in errors


def test_runs_of_other_kinds_are_no_generators(semaug, folders):
    status, _, errors = semaug("quality", folders[1])
    assert status == 2
    assert "expected the run of a generator, got one of digits_resnet8" in errors
    status, _, errors = semaug("quality", folders[0], "--features", folders[0])
    assert status == 2
    assert "expected a run of networks that predict" in errors

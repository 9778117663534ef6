"""Tests of semaug.cli.directions, features, tightness and visualize, and of reports of them."""

import json

import pytest
from PIL import Image

RUN = "runs/digits_resnet8_isda,quick/seed0"
OPTIONS = ["--device", "cpu", "--workers", "0"]


@pytest.fixture
def trained(semaug, tmp_path):
    """Train a run that keeps its epochs, and return the folder of its pictures."""
    train = ["train", "digits_resnet8_isda", "--quick", "--keep-checkpoints", "2"]
    status, _, errors = semaug(*train, "--device", "cpu")
    assert status == 0, errors
    return tmp_path / RUN / "pictures"


def test_what_was_found_is_printed_kept_and_reported(semaug, trained, tmp_path):
    command = ["directions", RUN, "--class", "7", "--from", "0-4", "--to", "5-9"]
    status, output, errors = semaug(*command, "--strongest", "3", "--random", "0", *OPTIONS)
    assert status == 0, errors
    assert "within the 3 strongest directions" in output
    found = json.loads((trained / "directions-7.json").read_text())
    share = found["directions"][0]["share"]
    assert f"{100 * share:.2f} %" in output
    assert (found["class"], found["from"], found["to"], found["seed"]) == ("7", "0-4", "5-9", 0)

    command = ["tightness", RUN, "--images", "20", "--draws", "10"]
    status, output, errors = semaug(*command, *OPTIONS)
    assert status == 0, errors
    first, last = json.loads((trained / "tightness.json").read_text())["moments"]
    assert (first["epoch"], last["epoch"]) == (1, 2)
    for one in (first, last):
        assert f"{one['bound']:.4f}" in output

    command = ["features", RUN, RUN, "--images", "30", "--draws", "1", "-o", "elsewhere"]
    status, output, errors = semaug(*command, *OPTIONS)
    assert status == 0, errors
    (tmp_path / "elsewhere" / "features.json").rename(trained / "features.json")
    (tmp_path / "elsewhere" / "features.png").rename(trained / "features.png")
    first, second = json.loads((trained / "features.json").read_text())["networks"]
    assert first["label"] != second["label"]
    assert first["points"] == second["points"]
    assert f"{first['silhouette']:.3f}" in output

    command = ["visualize", RUN, "--inverter", "decoder", "--decoder-steps", "2", "--class", "3"]
    status, output, errors = semaug(*command, "--draws", "1", *OPTIONS)
    assert status == 0, errors
    found = json.loads((trained / "visualize-decoder-3.json").read_text())
    assert f"test images is {found['re_encoding']['error']:.3f}" in output
    assert f"have the residual {found['within']:.3f}" in output
    ((residual,),) = found["shown"]["augmented"]["residuals"]
    assert f"{residual:.3f}" in output
    assert (found["classes"], found["settings"]["steps"]) == (["3"], 2)

    names = {path.stem for path in trained.iterdir()}
    assert names == {"directions-7", "tightness", "features", "visualize-decoder-3", "decoder"}
    (trained / "directions-7.png").write_bytes(b"damaged")
    (trained / "other.json").write_text('{"format": 2, "title": 3, "text": ""}')
    (trained / "other.png").write_bytes((trained / "tightness.png").read_bytes())
    status, output, errors = semaug("report", "runs")
    assert status == 0, errors
    page = (tmp_path / "report.html").read_text()
    assert page.count("Inside the networks") == 1
    assert "expected loss and bound of ISDA" in page
    assert "features of 30 test images" in page
    assert "images of augmented features, by a decoder" in page
    assert "directions of the class" not in page
    told = " ".join(output.split())
    for name in ("directions-7", "other"):
        assert f"{name}.json: expected a picture and what it shows, got something else" in told
    with Image.open(trained / "tightness.png") as image:
        assert image.width > 500


WAVES = """
import torch


def make(z, labels):
    return torch.tanh(z[:, :3, None, None] * torch.linspace(-1, 1, 8)).expand(-1, -1, 8, 8)


make.z_size, make.num_classes, make.image = 4, 1, (3, 8, 8)
"""


def test_any_generator_is_searched(semaug, trained, tmp_path):
    (tmp_path / "waves.py").write_text(WAVES)
    command = ["visualize", RUN, "-g", "waves.py:make", "--iterations", "3", "--starts", "2"]
    command += ["--restarts", "1", "--select", "3,4", "--class", "5", "--nearest", "1"]
    status, _, errors = semaug(*command, "--draws", "1", *OPTIONS)
    assert status == 0, errors
    found = json.loads((trained / "visualize-generator-5.json").read_text())
    assert found["generator"] == "waves.py:make"
    assert (found["from"], found["images"]) == ("3,4", ["image 0", "image 1"])
    settings = found["settings"]
    assert (settings["iterations"], settings["reconstruction_lr"], settings["pixel_weight"]) == (
        3,
        10,
        1,
    )
    assert found["re_encoding"] == {}
    before = (trained / "visualize-generator-5.png").read_bytes()
    assert semaug(*command, "--draws", "1", *OPTIONS)[0] == 0
    assert (trained / "visualize-generator-5.png").read_bytes() == before


def test_bounds_that_do_not_hold_end_with_status_1(semaug, trained, monkeypatch):
    from semaug.insight import tightness

    bound = tightness.isda_loss
    monkeypatch.setattr(tightness, "isda_loss", lambda *a, **options: 0.1 * bound(*a, **options))
    command = ["tightness", RUN, "--images", "20", "--draws", "10"]
    status, output, _ = semaug(*command, *OPTIONS)
    assert (status, "out of order after epoch 1, 2" in output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["directions", "nowhere", "--class", "3"], "nowhere: expected the folder of a run"),
        (
            ["directions", "nowhere", "--class", "3", "--from", "3"],
            "directions: expected --from and --to, got one of them alone",
        ),
        (["tightness", "nowhere", "--draws", "5"], "tightness: expected an even number of --draws"),
        (["visualize", "nowhere"], "or --inverter decoder without one, got neither"),
        (["visualize", "nowhere", "-g", "a", "--inverter", "decoder"], "without one, got both"),
        (["features", "nowhere"], "nowhere: expected the folder of a run, got no such folder"),
    ],
)
def test_mistakes_are_one_line(semaug, arguments, message):
    status, _, errors = semaug(*arguments)
    assert (status, message in errors) == (2, True)


@pytest.mark.parametrize("name", ["directions", "features", "tightness", "visualize"])
def test_the_help_says_how_to_begin(semaug, name):
    status, output, _ = semaug(name, "--help")
    assert status == 0
    assert f"semaug {name} runs/digits_resnet8" in output
    assert "Fig" in output

"""Tests of semaug.export.card."""

import re
from dataclasses import asdict, replace

import pytest
import torch
from torch.testing import assert_close

from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.export import card, export_run
from semaug.export.card import write_card
from semaug.export.formats import FORMATS
from semaug.runs.read import Measure
from tests.engine import toys
from tests.export.conftest import CPU
from tests.tiny import train_quietly


def code_of(card):
    (code,) = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    return code


def logits_by(folder, images, monkeypatch):
    """Return what the code in the card of an export computes."""
    monkeypatch.chdir(folder)
    names = {"images": images}
    exec(compile(code_of((folder / "README.md").read_text()), "README.md", "exec"), names)
    return torch.as_tensor(names["logits"])


@pytest.mark.parametrize("to", FORMATS)
def test_the_code_of_the_card_gives_the_logits(of_isda, tmp_path, monkeypatch, to):
    try:
        FORMATS[to].check_installed()
    except UserError as error:
        pytest.skip(str(error))
    export_run(of_isda, tmp_path / "net", to)
    images = of_isda.prepare(of_isda.data.test.images)
    given = images.contiguous().numpy() if to == "onnx" else images
    found = logits_by(tmp_path / "net", given, monkeypatch)
    assert_close(found, of_isda.logits(images), atol=1e-4, rtol=0)


def test_the_code_for_a_network_of_ones_own_gives_the_logits(make_run, tmp_path, monkeypatch):
    run = make_run("digits_resnet8", "epochs=1")
    recipe = replace(run.recipe, network=toys.Plain(drop_rate=0.25))
    train_quietly(replace(run, recipe=recipe))
    trained = load_trained(run.folder, CPU)
    export_run(trained, tmp_path / "net")
    card = (tmp_path / "net" / "README.md").read_text()
    assert "networks.make('tests.engine.toys:Plain', drop_rate=0.25)  # your own code" in card
    assert "`semaug predict` cannot use this folder alone, for its network is your own" in card
    images = trained.prepare(trained.data.test.images)
    found = logits_by(tmp_path / "net", images, monkeypatch)
    assert_close(found, trained.logits(images))


def test_the_card_says_what_it_is_of_what_and_how_good(of_isda, tmp_path):
    card = write_card(export_run(of_isda, tmp_path / "net"))
    (error,) = [one["error"]["last"] for one in of_isda.run.summary()["results"].values()]
    for part in (
        "# resnet8_cifar, trained on digits\n",
        "method supervised, loss isda, 1 epoch",
        "moving average (`ema_decay=0.5`)",
        "100 training images of `digits`. Classes, in the order of the logits: `0`, `1`, ",
        "Of these weights on the test images of the run, a single run:",
        f"\n- error: {error:.2f} %, lower is better\n",
        "import semaug.networks  # registers resnet8_cifar\n",
        "They are RGB from 0 to 1, minus the mean `[0.30",
        "shorter side has 8 pixels, and cropped to the middle 8 x 8.",
        "## Limits\n",
        "The license of these weights is unknown",
    ):
        assert part in card


def test_the_card_of_timms_networks_needs_timm_alone(of_isda, tmp_path):
    about = export_run(of_isda, tmp_path / "net")
    given = {"weights": "resnet18.pth"}
    about["network"] = {"name": "resnet18", "options": given, "arguments": {"num_classes": 10}}
    about |= {"classes": [f"bird {k}" for k in range(200)], "results": {}, "view": None}
    about |= {"mean": None, "std": None, "predictor": "network 2", "averaged": False}
    about["run"] |= {"test_on": "hold_out"}
    card = write_card(about)
    assert "semaug.networks" not in code_of(card)
    assert "`bird 19` and 180 more, in `model.json`." in card
    assert "predictor `network 2`" in card
    assert "The weights are of the last epoch." in card
    assert "held-out training images" in card
    assert "The run began with the pretrained weights of `resnet18.pth`." in card
    assert "- not measured" in card
    assert "RGB" not in card


def test_a_cross_validated_result_is_written_in_its_unit():
    metric = asdict(Measure("nll", "nats", "lower"))
    found = {"metric": metric, "values": [0.5, 0.6], "folds": 2, "train_images": 10}
    told = card._expected({"cross_validated": found})
    assert told.endswith("\n- cross-validated nll: 0.550 ± 0.071 nats, lower is better")

"""Tests of semaug.cli.export."""

import json

import timm
from safetensors.torch import load_file

QUICK = ["--quick", "--device", "cpu"]


def test_export_writes_the_weights_of_plain_timm(semaug, tmp_path):
    assert semaug("train", "digits_resnet8_isda", *QUICK)[0] == 0
    (run,) = tmp_path.glob("runs/*/seed0")
    run = run.relative_to(tmp_path)
    status, output, error = semaug("export", str(run))
    assert (status, error) == (0, "")
    folder = run / "export" / "safetensors"
    assert output == f"wrote {folder}: model.safetensors, model.json, README.md\n"
    network = timm.create_model("resnet8_cifar", num_classes=10)
    network.load_state_dict(load_file(folder / "model.safetensors"))

    status, _, error = semaug("export", str(run))
    assert status == 2
    assert error == (
        f"export: {folder}: exists already; add --overwrite, or choose another with --output\n"
    )
    assert semaug("export", str(run), "--overwrite")[0] == 0
    status, output, _ = semaug("export", str(run), "--format", "state_dict", "-o", "mine")
    assert output == "wrote mine: model.pt, model.json, README.md\n"


def test_each_network_of_a_run_is_exported_by_its_name(semaug, tmp_path):
    mutual = ["method=dml", "peers=resnet20_cifar"]
    assert semaug("train", "digits_resnet8", *mutual, *QUICK)[0] == 0
    (run,) = tmp_path.glob("runs/*/seed0")
    assert semaug("export", str(run), "--predictor", "network 2")[0] == 0
    about = json.loads((run / "export" / "safetensors_network_2" / "model.json").read_text())
    assert about["network"]["name"] == "resnet20_cifar"
    status, _, error = semaug("export", str(run), "--predictor", "network 3")
    assert status == 2
    assert "`predictor` to be one of '', 'network 2', got 'network 3'" in error


def test_a_folder_without_a_run_is_named(semaug):
    status, _, error = semaug("export", "nowhere")
    assert status == 2
    assert error == "nowhere: expected the folder of a run, got no such folder\n"
    status, _, error = semaug("export", "nowhere", "--format", "jpeg")
    assert "unknown format 'jpeg'; choose from onnx, safetensors, state_dict, torch_export" in error


CODE = """
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Mine:
    width: int = 4

    def build(self, sizes):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(192, self.width), nn.Linear(self.width, sizes.num_classes)
        )
"""


def test_a_network_of_ones_own_keeps_its_names(semaug, tmp_path, forget):
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    assert semaug("train", "digits_resnet8", "network=mine.py:Mine", "width=6", *QUICK)[0] == 0
    (run,) = tmp_path.glob("runs/*/seed0")
    forget()
    assert semaug("export", str(run))[0] == 0
    weights = load_file(run / "export" / "safetensors" / "model.safetensors")
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "1.weight": (6, 192),
        "1.bias": (6,),
        "2.weight": (10, 6),
        "2.bias": (10,),
    }
    about = json.loads((run / "export" / "safetensors" / "model.json").read_text())
    assert about["network"] == {"name": "mine.py:Mine", "options": {"width": 6}}

    file.unlink()
    forget()
    command = ["export", str(run), "--format", "torch_export"]
    status, _, error = semaug(*command)
    assert status == 2
    assert "add --trust-code to execute the copy" in error
    assert semaug(*command, "--trust-code")[0] == 0

"""Tests of semaug.export.write."""

import errno
import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

import semaug
from semaug.data.views import ResizeCenterCrop
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.export import export_run, formats
from semaug.export.formats import FORMATS
from tests.engine import toys
from tests.export.conftest import CPU
from tests.tiny import train_quietly


def test_plain_timm_takes_the_weights_and_the_rest_is_told(of_isda, tmp_path):
    about = export_run(of_isda, tmp_path / "a" / "net")
    files = sorted(path.name for path in (tmp_path / "a" / "net").iterdir())
    assert files == ["README.md", "model.json", "model.safetensors"]
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "net"]
    weights = tmp_path / "a" / "net" / "model.safetensors"
    network = timm.create_model("resnet8_cifar", num_classes=10)
    network.load_state_dict(load_file(weights))
    images = of_isda.prepare(of_isda.data.test.images)
    assert_close(network.eval()(images), of_isda.logits(images))

    assert json.loads(json.dumps(about)) == json.loads((weights.parent / "model.json").read_text())
    assert about["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert about["network"]["arguments"] == {"num_classes": 10}
    assert (about["network"]["name"], about["semaug"]) == ("resnet8_cifar", semaug.__version__)
    assert about["classes"] == [str(digit) for digit in range(10)]
    assert (about["image"], about["mean"]) == ([3, 8, 8], list(of_isda.data.mean))
    assert (about["averaged"], about["cannot_predict"], about["predictor"]) == (True, None, "")
    summary = of_isda.run.summary()
    assert about["run"]["recipe"] == summary["recipe"]
    assert about["results"] == summary["results"][""]
    assert about["units"] == {"error": "%"}
    assert "code" not in about["run"]


def test_everybody_may_read_what_was_written(of_isda, tmp_path):
    export_run(of_isda, tmp_path / "net")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "net").iterdir()}
    assert len(modes) == 1


def test_averaged_is_said_of_averaged_networks_alone(make_run, tmp_path):
    class OnlyStudent(toys.ConsistentMethod):
        def networks(self):
            return [self.network]

    run = make_run("digits_resnet8", "labeled_per_class=4", "epochs=1", "ema_decay=0.5")
    specs = {"method": toys.Consistent(), "network": toys.Plain()}
    train_quietly(replace(run, recipe=replace(run.recipe, **specs)))
    trained = load_trained(run.folder, CPU)
    trained.method.__class__ = OnlyStudent
    assert export_run(trained, tmp_path / "student")["averaged"]
    assert not export_run(trained, tmp_path / "teacher", predictor="teacher")["averaged"]


def test_what_is_there_is_kept_unless_it_is_an_export_to_replace(of_isda, tmp_path):
    folder = tmp_path / "net"
    export_run(of_isda, folder)
    before = (folder / "model.json").read_bytes()
    with pytest.raises(UserError, match=r"net: exists already; add --overwrite, or choose"):
        export_run(of_isda, folder, "state_dict")
    assert (folder / "model.json").read_bytes() == before
    export_run(of_isda, folder, "state_dict", overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.json", "model.pt"]
    assert list(tmp_path.iterdir()) == [folder]

    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="photos: expected an earlier export to overwrite, got som"):
        export_run(of_isda, tmp_path / "photos", overwrite=True)


@pytest.mark.parametrize("content", ['{"format": "layers-model"}', '{"format": 1}', "[]", "3"])
def test_a_model_of_another_program_is_kept(of_isda, tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(UserError, match=r"expected an earlier export to overwrite, got something"):
        export_run(of_isda, tmp_path, overwrite=True)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(
        UserError, match=r"model\.json: expected JSON, .*choose another folder with"
    ):
        export_run(of_isda, tmp_path, overwrite=True)


def test_what_a_user_put_into_an_export_is_kept(of_isda, tmp_path):
    export_run(of_isda, tmp_path / "net")
    (tmp_path / "net" / "LICENSE").touch()
    with pytest.raises(UserError, match=r"to overwrite, got one beside 'LICENSE'; move that els"):
        export_run(of_isda, tmp_path / "net", "state_dict", overwrite=True)
    assert (tmp_path / "net" / "model.safetensors").exists()


def test_the_folder_may_be_the_current_one(of_isda, tmp_path, monkeypatch):
    export_run(of_isda, tmp_path / "net")
    monkeypatch.chdir(tmp_path / "net")
    export_run(of_isda, ".", "state_dict", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert (tmp_path / "net" / "model.pt").exists()


def test_the_earlier_export_comes_back_if_the_new_one_cannot_take_its_place(
    of_isda, tmp_path, monkeypatch
):
    export_run(of_isda, tmp_path / "net")
    rename = Path.rename

    def refuse(path, target):
        if path.name.endswith("partial") and "old-" not in path.name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="net: cannot be written: Permission denied"):
        export_run(of_isda, tmp_path / "net", "state_dict", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert (tmp_path / "net" / "model.safetensors").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_everything_as_it_was(of_isda, tmp_path, monkeypatch, overwrite):
    if overwrite:
        export_run(of_isda, tmp_path / "net")

    def fail(network, images, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(FORMATS, "state_dict", FORMATS["state_dict"]._replace(save=fail))
    with pytest.raises(OSError, match=r"net/model\.pt: cannot be written: No space left"):
        export_run(of_isda, tmp_path / "net", "state_dict", overwrite=overwrite)
    assert list(tmp_path.iterdir()) == [tmp_path / "net"] * overwrite
    if overwrite:
        assert (tmp_path / "net" / "model.safetensors").exists()


def test_what_was_written_is_compared_with_the_run(of_isda, tmp_path, monkeypatch):
    def spoil(network, images, path):
        torch.save({name: 1.01 * value for name, value in network.state_dict().items()}, path)

    monkeypatch.setitem(FORMATS, "state_dict", FORMATS["state_dict"]._replace(save=spoil))
    with pytest.raises(RuntimeError, match=r"expected model\.pt to have the logits of the run"):
        export_run(of_isda, tmp_path / "net", "state_dict")
    assert not list(tmp_path.iterdir())


def test_unknown_formats_files_and_missing_packages_are_named(of_isda, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"export: unknown format 'onxx'; did you mean 'onnx'\?"):
        export_run(of_isda, tmp_path / "net", "onxx")
    with pytest.raises(UserError, match=r"net\.pt: expected a folder for model\.pt, .* of a file"):
        export_run(of_isda, tmp_path / "net.pt", "state_dict")
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx, onnxscript, .* pip install .*\[export\]"):
        export_run(of_isda, tmp_path / "net", "onnx")


class Moody(nn.Module):
    """A network whose operations depend on its input."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 10)

    def forward(self, images):
        logits = self.fc(images.flatten(1))
        return logits if logits.sum() > 1e9 else 2 * logits


class MoodySpec(toys.Plain):
    def build(self, sizes):
        return Moody()


def test_what_torch_cannot_write_is_named(make_run, tmp_path):
    run = make_run("digits_resnet8", "epochs=1")
    train_quietly(replace(run, recipe=replace(run.recipe, network=MoodySpec())))
    trained = load_trained(run.folder, CPU)
    with pytest.raises(
        UserError, match=r"export: .*:MoodySpec cannot be written as torch_export: "
    ):
        export_run(trained, tmp_path / "net", "torch_export")
    assert not list(tmp_path.glob("net*"))
    assert export_run(trained, tmp_path / "net")["cannot_predict"].startswith(
        "its network is your own"
    )


class MyCrop(ResizeCenterCrop):
    pass


def test_what_only_the_run_can_prepare_is_told(load_tiny, of_isda, tmp_path, monkeypatch):
    white = load_tiny("digits_resnet8", "whitening=true")
    assert export_run(white, tmp_path / "white")["cannot_predict"] == "its images are whitened"
    with monkeypatch.context() as patch:
        patch.setattr(type(of_isda), "view", MyCrop(8, 8))
        reason = export_run(of_isda, tmp_path / "own")["cannot_predict"]
        assert reason == "photographs are resized by code of your own"
    (tmp_path / "window.py").write_text(
        "from dataclasses import dataclass\nfrom semaug.engine.evaluation import Whole\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(Whole):\n    pass\n"
    )
    mine = load_tiny("digits_resnet8", f"evaluation={tmp_path / 'window.py'}:Mine")
    reason = export_run(mine, tmp_path / "mine")["cannot_predict"]
    assert reason == "it is tested in a way of your own"
    scaled = load_tiny("digits_resnet8", "evaluation.scales=0.5,1")
    assert export_run(scaled, tmp_path / "any size")["cannot_predict"] is None
    reason = export_run(scaled, tmp_path / "graph", "torch_export")["cannot_predict"]
    assert reason == "it is tested at other scales, and model.pt2 takes images of one size alone"

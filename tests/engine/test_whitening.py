"""Tests of semaug.engine.whitening."""

from dataclasses import replace

import pytest
import torch

from semaug.augmentation.zca import ZCA
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.engine.whitening import kept_whitening
from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.runs.files import read_json
from tests.tiny import tiny_run, train_quietly

CPU = torch.device("cpu")


@pytest.fixture
def whitened(tmp_path):
    run = tiny_run(tmp_path, "digits_resnet8", "whitening=true")
    train_quietly(run)
    return run


def test_predicting_needs_no_training_image(whitened, monkeypatch):
    trained = load_trained(whitened.folder, TrainOptions(device="cpu"))
    images = trained.data.test.images
    expected = trained.prepare(images)

    def fail():
        raise AssertionError

    alone = replace(trained, open_streams=fail)
    assert torch.equal(alone.prepare(images), expected)
    monkeypatch.setattr(ZCA, "fit", fail)
    again = load_trained(whitened.folder, TrainOptions(device="cpu"))
    assert torch.equal(again.streams.whiten(images), trained.streams.whiten(images))


def test_a_kept_whitening_has_its_inverse(whitened):
    whiten = kept_whitening(whitened, CPU)
    pixels = torch.randint(0, 256, (5, *whiten.mean.shape), dtype=torch.uint8)
    torch.testing.assert_close(whiten.inverse(whiten(pixels)), pixels / 255, atol=1e-4, rtol=0)


def test_another_whitening_than_that_of_the_run_is_refused(whitened):
    path = whitened.folder / "whitening.pt"
    state = load_checkpoint(path)
    recorded = read_json(whitened.folder / "images.json", "")["input"]["whitening"]
    state["whitening"][0, 0] += 1
    save_checkpoint(path, {name: part for name, part in state.items() if name != "format"})
    with pytest.raises(UserError, match=f"the run began with, of sha256 {recorded}, got "):
        kept_whitening(whitened, CPU)
    path.write_bytes(b"cut")
    with pytest.raises(UserError, match=r"whitening\.pt: expected a whitening; restore"):
        kept_whitening(whitened, CPU)


@pytest.mark.parametrize("value", ["false", "per_image"])
def test_what_is_not_fitted_is_not_kept(value, tmp_path):
    run = tiny_run(tmp_path, "digits_resnet8", f"whitening={value}", "epochs=1")
    train_quietly(run)
    assert not (run.folder / "whitening.pt").exists()
    assert "whitening" not in read_json(run.folder / "images.json", "")["input"]


def test_a_start_that_came_to_nothing_leaves_no_whitening(whitened):
    path = whitened.folder / "whitening.pt"
    before = path.stat().st_mtime_ns
    for name in ("checkpoint.pt", "summary.json", "metrics.jsonl"):
        (whitened.folder / name).unlink()
    assert kept_whitening(whitened, CPU) is None
    train_quietly(whitened)
    assert path.stat().st_mtime_ns != before
    assert kept_whitening(whitened, CPU) is not None

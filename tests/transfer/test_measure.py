"""Tests of semaug.transfer.measure."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from semaug.training.errors import UserError
from semaug.training.trained import Trained, load_trained
from semaug.transfer import PAIRS, measure, measure_transfer
from semaug.transfer.measure import symmetric_divergence
from semaug.transfer.sets import make_test_sets


def test_numbers_are_those_of_the_definitions(run):
    found = measure_transfer(run, device="cpu")
    trained = load_trained(run, device="cpu")
    labels = trained.data.test.labels
    sets = make_test_sets(trained.data.test.images)
    outputs = {
        name: trained.predict_with_features(trained.prepare(images))
        for name, images in sets.items()
    }
    for name, (logits, _) in outputs.items():
        accuracy = 100 * (logits.argmax(1) == labels).double().mean()
        assert found.accuracies[name] == pytest.approx(float(accuracy))
    for first, second in PAIRS:
        p, q = (F.softmax(outputs[name][0].double(), 1) for name in (first, second))
        divergence = F.kl_div(q.log(), p, reduction="batchmean")
        divergence += F.kl_div(p.log(), q, reduction="batchmean")
        a, b = (outputs[name][1].double() for name in (first, second))
        distance = ((a - b) ** 2).sum(1).sqrt().mean()
        key = f"{first},{second}"
        assert found.divergences[key] == pytest.approx(float(divergence), rel=1e-5, abs=1e-9)
        assert found.distances[key] == pytest.approx(float(distance), rel=1e-5, abs=1e-6)
    assert found.distances["original,grayscale"] == 0  # digits are grey
    assert found.distances["original,random_crop"] > found.distances["original,random_color"] > 0


def test_original_images_give_the_test_error_of_the_run(runs):
    for folder in runs.glob("*/*"):
        summary = json.loads((folder / "summary.json").read_text())
        found = measure_transfer(folder, device="cpu")
        assert found.accuracies["original"] == pytest.approx(100 - summary["error_last"])


def test_divergence_of_distant_predictions_is_finite_and_of_equal_ones_zero():
    logits = torch.tensor([[0.0, 1000.0, -1000.0], [1.0, 2.0, 3.0]])
    divergence = symmetric_divergence(logits, logits.roll(1, dims=1))
    assert divergence.isfinite().all()
    assert (divergence > 0).all()
    assert torch.equal(symmetric_divergence(logits, logits + 4), torch.zeros(2).double())


def test_test_sets_lie_beside_the_data_or_else_beside_the_runs(run, runs, tmp_path):
    measure_transfer(run, device="cpu")
    (file,) = (tmp_path / "data" / "transfer").iterdir()
    assert file.name.startswith("digits-seed0-")
    measure_transfer(run, device="cpu", data_root=tmp_path / "nowhere", seed=1)
    (file,) = (runs / "transfer").iterdir()
    assert file.name.startswith("digits-seed1-")
    assert not (tmp_path / "nowhere").exists()


def test_predictions_of_several_networks_have_no_distances(run, monkeypatch):
    monkeypatch.setattr(Trained, "predict_with_features", lambda self, x: (self.predict(x), None))
    found = measure_transfer(run, device="cpu")
    assert found.distances is None
    assert measure_transfer(run) == found


def test_progress_is_shown_on_a_terminal_alone(run, tmp_path):
    for terminal in (True, False):
        output = io.StringIO()
        console = Console(file=output, force_terminal=terminal, width=80)
        measure_transfer(run, device="cpu", seed=int(terminal), console=console)
        assert ("digits_resnet8" in output.getvalue()) == terminal


def test_corrupted_images_are_tested_block_by_block(run, tmp_path):
    trained = load_trained(run, device="cpu")
    test = trained.data.test
    images = test.images.permute(0, 2, 3, 1).numpy()
    folder = tmp_path / "digits-C"
    folder.mkdir()
    black = np.zeros_like(images)
    np.save(folder / "labels.npy", np.tile(test.labels.numpy().astype(np.uint8), 5))
    np.save(folder / "night.npy", np.concatenate([images, images, black, black, black]))
    np.save(folder / "nothing.npy", np.concatenate([images] * 5))
    found = measure_transfer(run, device="cpu", corruptions=folder).corrupted
    plain = 100 - trained.test_error()
    dark = found.accuracies["night"][2]
    assert found.accuracies["nothing"] == pytest.approx([plain] * 5)
    assert found.accuracies["night"] == pytest.approx([plain, plain, dark, dark, dark])
    assert found.mean == pytest.approx((7 * plain + 3 * dark) / 10)

    content = (run / "transfer.json").read_bytes()
    assert measure_transfer(run, corruptions=folder).corrupted == found
    assert (run / "transfer.json").read_bytes() == content
    np.save(folder / "night.npy", np.concatenate([images] * 5))
    assert measure_transfer(run, device="cpu", corruptions=folder).corrupted.mean > found.mean
    assert measure_transfer(run, device="cpu").corrupted is None


def test_images_in_files_are_refused(run, monkeypatch):
    class InFiles:
        data = type("Data", (), {"test": object(), "name": "imagenet"})

    monkeypatch.setattr(measure, "load_trained", lambda *arguments: InFiles)
    with pytest.raises(UserError, match="got data=imagenet, whose images lie in files; only sets"):
        measure_transfer(run)


def test_an_unfinished_run_says_so(run):
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match="expected a finished run, got one that has done 3 epochs"):
        measure_transfer(run)
    shutil.rmtree(run)
    with pytest.raises(UserError, match="expected the folder of a run, got no such folder"):
        measure_transfer(run)

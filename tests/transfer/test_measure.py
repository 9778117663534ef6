"""Tests of semaug.transfer.measure."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from semaug.data import DataSet, ResizeCenterCrop
from semaug.data.decode import decode_file
from semaug.engine.options import TrainOptions
from semaug.engine.trained import Trained, load_trained
from semaug.errors import UserError
from semaug.recipes import find_recipe
from semaug.transfer import PAIRS, measure, measure_transfer
from semaug.transfer.answers import symmetric_divergence
from semaug.transfer.sets import SetMaker, make_test_sets
from tests.transfer.conftest import CPU, TINY, files_of, train_run


def last_error(folder, predictor=""):
    """Return the error after the last epoch of a run."""
    summary = json.loads((folder / "summary.json").read_text())
    return summary["results"][predictor]["error"]["last"]


def test_numbers_are_those_of_the_definitions(run):
    found = measure_transfer(run, CPU)[""]
    trained = load_trained(run, CPU)
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
        found = measure_transfer(folder, CPU)[""]
        assert found.accuracies["original"] == pytest.approx(100 - last_error(folder))


def test_crops_and_corruptions_have_the_size_of_the_images_not_of_networks(tmp_path):
    recipe = find_recipe(f"digits_resnet8,{TINY},epochs=1,image_size=16")
    run = train_run("larger", recipe, tmp_path / "runs")
    trained = load_trained(run, CPU)
    test = trained.data.test
    corrupted = tmp_path / "digits-C"
    corrupted.mkdir()
    np.save(corrupted / "labels.npy", np.tile(test.labels.numpy(), 5))
    cropped = make_test_sets(test.images)["random_crop"]  # by 1 of 8 pixels
    np.save(corrupted / "crop.npy", np.concatenate([cropped.permute(0, 2, 3, 1).numpy()] * 5))
    found = measure_transfer(run, CPU, corruptions=corrupted)[""]
    (_, a), (logits, b) = (
        trained.predict_with_features(trained.prepare(images)) for images in (test.images, cropped)
    )
    distance = float(((a - b).double() ** 2).sum(1).sqrt().mean())
    assert found.distances["original,random_crop"] == pytest.approx(distance, rel=1e-5)
    accuracy = 100 * (logits.argmax(1) == test.labels).double().mean()
    assert found.corrupted.accuracies["crop"] == pytest.approx([float(accuracy)] * 5)


def test_nothing_but_a_file_of_the_run_is_written(run, tmp_path):
    before = set(tmp_path.rglob("*"))
    measure_transfer(run, CPU)
    assert set(tmp_path.rglob("*")) - before == {run / "transfer.json"}


def test_predictions_of_several_networks_have_no_distances(run, monkeypatch):
    answer = lambda self, images, name: (self.logits(images, name), None)  # noqa: E731
    monkeypatch.setattr(Trained, "predict_with_features", answer)
    found = measure_transfer(run, CPU)
    assert found[""].distances is None
    assert measure_transfer(run) == found


def test_progress_is_shown_on_a_terminal_alone(run, tmp_path):
    for terminal in (True, False):
        output = io.StringIO()
        console = Console(file=output, force_terminal=terminal, width=80)
        measure_transfer(run, CPU, seed=int(terminal), console=console)
        assert ("digits_resnet8" in output.getvalue()) == terminal


def test_corrupted_images_are_tested_block_by_block(run, tmp_path):
    trained = load_trained(run, CPU)
    test = trained.data.test
    images = test.images.permute(0, 2, 3, 1).numpy()
    folder = tmp_path / "digits-C"
    folder.mkdir()
    black = np.zeros_like(images)
    np.save(folder / "labels.npy", np.tile(test.labels.numpy().astype(np.uint8), 5))
    np.save(folder / "night.npy", np.concatenate([images, images, black, black, black]))
    np.save(folder / "nothing.npy", np.concatenate([images] * 5))
    found = measure_transfer(run, CPU, corruptions=folder)[""].corrupted
    plain = 100 - trained.test()[""]["error"]
    dark = found.accuracies["night"][2]
    assert found.accuracies["nothing"] == pytest.approx([plain] * 5)
    assert found.accuracies["night"] == pytest.approx([plain, plain, dark, dark, dark])
    assert found.mean == pytest.approx((7 * plain + 3 * dark) / 10)

    content = (run / "transfer.json").read_bytes()
    assert measure_transfer(run, corruptions=folder)[""].corrupted == found
    assert (run / "transfer.json").read_bytes() == content
    np.save(folder / "night.npy", np.concatenate([images] * 5))
    assert measure_transfer(run, CPU, corruptions=folder)[""].corrupted.mean > found.mean
    assert measure_transfer(run, CPU)[""].corrupted is None


def test_every_predictor_of_a_run_is_tested(pair, tmp_path):
    trained = load_trained(pair, CPU)
    test = trained.data.test
    folder = tmp_path / "digits-C"
    folder.mkdir()
    images = test.images.permute(0, 2, 3, 1).numpy()
    np.save(folder / "labels.npy", np.tile(test.labels.numpy(), 5))
    np.save(folder / "plain.npy", np.concatenate([images] * 5))

    found = measure_transfer(pair, CPU, corruptions=folder)
    assert list(found) == ["", "network 2"]
    for predictor, own in found.items():
        accuracy = 100 - last_error(pair, predictor)
        assert own.accuracies["original"] == pytest.approx(accuracy)
        assert own.corrupted.accuracies["plain"] == pytest.approx([accuracy] * 5)
    sets = make_test_sets(test.images)
    for predictor, own in found.items():
        answers = [
            trained.predict_with_features(trained.prepare(sets[name]), predictor)
            for name in ("original", "random_crop")
        ]
        distance = (answers[0][1] - answers[1][1]).norm(dim=1).mean()
        divergence = symmetric_divergence(answers[0][0], answers[1][0]).mean()
        key = "original,random_crop"
        assert own.distances[key] == pytest.approx(float(distance), rel=1e-4)
        assert own.divergences[key] == pytest.approx(float(divergence), rel=1e-4)
    assert found[""].distances != found["network 2"].distances


def test_images_in_files_are_tested_as_the_run_tested_them(in_files, photographs):
    found = measure_transfer(in_files, files_of(photographs))[""]
    assert found.accuracies["original"] == pytest.approx(100 - last_error(in_files))
    trained = load_trained(in_files, files_of(photographs))
    test = trained.data.test
    view = ResizeCenterCrop(18, 16)
    nothing = torch.empty(0)
    images = torch.stack([view(decode_file(test.paths[n]), nothing) for n in range(len(test))])
    sets = SetMaker(len(test), seed=0, padding=2)(images, torch.arange(len(test)))
    logits = {name: trained.logits(trained.prepare(part)) for name, part in sets.items()}
    for name, own in logits.items():
        correct = int((own.argmax(1) == test.labels).sum())
        assert found.accuracies[name] == pytest.approx(100 * correct / len(test))
    for first, second in PAIRS:
        divergence = symmetric_divergence(logits[first], logits[second]).mean()
        actual = found.divergences[f"{first},{second}"]
        assert actual == pytest.approx(float(divergence), rel=1e-4, abs=1e-9)
    assert min(found.divergences.values()) > 0
    assert found.distances is not None


def test_workers_change_nothing(in_files, photographs):
    found = measure_transfer(in_files, files_of(photographs), seed=3)
    (in_files / "transfer.json").unlink()
    two = TrainOptions(photographs, "cpu", workers=2)
    assert measure_transfer(in_files, two, seed=3) == found
    kept = json.loads((in_files / "transfer.json").read_text())["test_sets"][
        "crop=1/8,seed=3,hue=0.0"
    ]
    sums = json.loads((in_files / "images.json").read_text())["sha256"]
    assert kept["images"] == sums["test_files"]
    assert sorted(path.name for path in photographs.iterdir()) == ["train", "val"]


def test_corrupted_images_of_any_size_are_seen_as_the_test_images(in_files, photographs, tmp_path):
    options = files_of(photographs)
    found = measure_transfer(in_files, options, corruptions=photographs / "val")[""]
    assert found.corrupted.accuracies == {"val": [pytest.approx(found.accuracies["original"])]}
    # Of arrays, the pixels are taken as they are.
    trained = load_trained(in_files, files_of(photographs))
    seen = torch.cat([batch.pixels for batch in trained.test_pixels()])
    np.save(tmp_path / "labels.npy", np.tile(trained.data.test.labels.numpy(), 5))
    np.save(tmp_path / "none.npy", np.tile(seen.permute(0, 2, 3, 1).numpy(), (5, 1, 1, 1)))
    corrupted = measure_transfer(in_files, options, corruptions=tmp_path)[""].corrupted
    assert corrupted.accuracies == {"none": [pytest.approx(found.accuracies["original"])] * 5}


def test_damaged_files_and_killed_processes_are_named(in_files, photographs, tmp_path, monkeypatch):
    damaged = shutil.copytree(photographs, tmp_path / "damaged")
    (damaged / "val" / "dog" / "3.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot read '.*val/dog/3\.png'"):
        measure_transfer(in_files, files_of(damaged))

    def die(self, images, predictor):
        raise RuntimeError(message)

    monkeypatch.setattr(Trained, "predict_with_features", die)
    message = "DataLoader worker (pid 7) is killed by signal: Killed. "
    with pytest.raises(UserError, match="transfer: Loader: a process that decodes images was"):
        measure_transfer(in_files, files_of(photographs))
    message = "something else"
    with pytest.raises(RuntimeError, match="something else"):
        measure_transfer(in_files, files_of(photographs))


def test_an_unfinished_run_says_so(run):
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match="expected a finished run, got one that has done 3 epochs"):
        measure_transfer(run)
    shutil.rmtree(run)
    with pytest.raises(UserError, match="expected the folder of a run, got no such folder"):
        measure_transfer(run)


def test_runs_that_classify_no_images_are_refused(run, tmp_path, monkeypatch):
    accuracy = find_recipe(f"digits_resnet8,{TINY},epochs=1,metrics=accuracy")
    folder = train_run("accuracy", accuracy, tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    found = measure_transfer(folder, CPU)[""].accuracies["original"]
    assert found == pytest.approx(summary["results"][""]["accuracy"]["last"])

    summary["metric"]["name"] = "miou"
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match="expected a run with a test error, got one with miou"):
        measure_transfer(folder, CPU)
    trained = load_trained(run, CPU)
    assert not trained.data.has_masks  # which reads them
    for name, message in (("has_masks", "masks"), ("has_bytes", "images that are no bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(measure, "load_trained", lambda folder, options: trained)
            patch.setattr(DataSet, name, name == "has_masks")
            with pytest.raises(UserError, match=f"expected a label for each image, got {message}"):
                measure_transfer(run, CPU)

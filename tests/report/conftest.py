"""Folders of runs, written as the training loop writes them."""

import json
from pathlib import Path

import pytest
import torch

from semaug.keepers import ClassificationKeeper
from semaug.runs.kept import Kept, write_kept
from semaug.runs.read import Measure, describe_measures, row_name, summarize
from semaug.runs.run import FORMAT, label

ERROR = Measure("error", "%", "lower")


@pytest.fixture
def write_run(tmp_path):
    """Return a function that writes a run and returns its folder.

    The main metric falls with the epochs if lower is better, and else rises. Values of others are
    columns.
    """

    def write(
        name="digits_resnet8",
        seed=0,
        *,
        epochs=4,
        done=None,
        scale=1.0,
        root="runs",
        overrides=None,
        recipe=None,
        columns=None,
        measure=ERROR,
        others=(),
        predictors=("",),
        code=None,
        **summary,
    ) -> Path:
        done = epochs if done is None else done
        folder = tmp_path / root / label(name, overrides or {}, quick=False) / f"seed{seed}"
        folder.mkdir(parents=True)
        plain = {
            "data": {"name": "digits"},
            "subset": {"name": "standard", "hold_out": None, "subset_seed": 0},
            "epochs": epochs,
            "precision": "32",
            "method": {"name": "supervised"},
            "loss": {"name": "cross_entropy"},
        }
        plain |= {"loss": {"name": "isda", "strength": 0.5}} if "isda" in name else {}
        plain |= recipe or {}

        def value(most, epoch):
            return scale * (most / epoch if measure.better == "lower" else most + epoch)

        rows = [
            {
                "epoch": epoch,
                "step": 10 * epoch,
                "train_loss": 2.0 / epoch,
                f"train_{measure.name}": value(40.0 + seed, epoch),
                **{
                    row_name(measure.name, predictor): value(50.0 + seed + 10 * place, epoch)
                    if epoch % 2 == 0
                    else None
                    for place, predictor in enumerate(predictors)
                },
                "lr": 0.1,
                "images_per_second": 1000.0 + epoch,
                "peak_memory_mib": None,
                "seconds": 2.0 * epoch,
            }
            | (columns or {})
            for epoch in range(1, done + 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        start = {"format": FORMAT, "name": name, "overrides": overrides or {}, "quick": False}
        start |= describe_measures([measure, *others])
        start |= {"recipe": plain, "seed": seed, "code": code or {}}
        (folder / "recipe.json").write_text(json.dumps(start))
        machine = {"device": "a CPU", "commit": "abcdef0123456789"}
        started = {"started": "2026-01-02T03:04:05+00:00", "threads": 1, "torch": "2.11.0"}
        (folder / "environment.json").write_text(json.dumps([machine | started]))
        parts = plain["subset"].keys() & {"hold_out", "folds"}
        held_out = any(plain["subset"][name] for name in parts)
        images = {"data": "digits", "sha256": {"train": "a"}}
        images |= {"test_on": "hold_out" if held_out else "test"}
        (folder / "images.json").write_text(json.dumps(images))
        if done == epochs:
            result = start | summarize(rows, [measure, *others], predictors) | machine
            result |= {"versions": {"semaug": "0.1.0", "torch": "2.11.0"}, "by_class": {}}
            result |= {"seconds": 8.5, "peak_memory_mib": None, "finished": True}
            (folder / "summary.json").write_text(json.dumps(result | summary))
        return folder

    return write


@pytest.fixture
def two_recipes(write_run, tmp_path):
    """Write two recipes with two seeds each; return the folder that holds them."""
    for seed in (0, 1):
        write_run("digits_resnet8", seed)
        write_run("digits_resnet8_isda", seed, scale=0.8 + 0.1 * seed, columns={"strength": 0.25})
    return tmp_path / "runs"


@pytest.fixture
def keep():
    """Return a function that writes what a run keeps of its last test."""

    def keep(folder, labels, log_probs, names=None, classes=None, pictures=True):
        """Keep images of 4 x 4 pixels, each of the color of its place.

        Args:
            folder: Of the run.
            labels: ``(N,)``.
            log_probs: ``(N, C)``.
            names: Of the images.
            classes: Names of the classes.
            pictures: Whether the images are pictures.
        """
        labels, outputs = torch.tensor(labels), torch.tensor(log_probs)
        count, num_classes = outputs.shape
        keeper = ClassificationKeeper(labels)
        keeper.update(outputs, labels, torch.arange(count))
        images = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).byte()
        arrays = keeper.arrays(lambda places: images[places] if pictures else None)
        names = names or [f"image {place}" for place in range(count)]
        classes = classes or [f"class {place}" for place in range(num_classes)]
        write_kept(folder / "tested.npz", Kept("classification", names, classes, arrays))
        return folder

    return keep

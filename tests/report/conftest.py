"""Folders of runs, written as the training loop writes them."""

import json
from pathlib import Path

import pytest

from semaug.runs.record import summarize
from semaug.runs.run import label


@pytest.fixture
def write_run(tmp_path):
    """Return a function that writes a run and returns its folder."""

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
        **summary,
    ) -> Path:
        done = epochs if done is None else done
        folder = tmp_path / root / label(name, overrides or {}, quick=False) / f"seed{seed}"
        folder.mkdir(parents=True)
        loss = {"name": "isda", "strength": 0.5} if "isda" in name else {"name": "cross_entropy"}
        recipe = {"data": "digits", "epochs": epochs, "precision": "32", "loss": loss} | (
            recipe or {}
        )
        rows = [
            {
                "epoch": epoch,
                "step": 10 * epoch,
                "train_loss": 2.0 / epoch,
                "train_error": scale * (40.0 + seed) / epoch,
                "test_error": scale * (50.0 + seed) / epoch if epoch % 2 == 0 else None,
                "lr": 0.1,
                "images_per_second": 1000.0 + epoch,
                "seconds": 2.0 * epoch,
            }
            | (columns or {})
            for epoch in range(1, done + 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        start = {"name": name, "overrides": overrides or {}, "seed": seed, "recipe": recipe}
        (folder / "recipe.json").write_text(json.dumps(start))
        machine = {"device": "a CPU", "commit": "abcdef0123456789"}
        started = {"started": "2026-01-02T03:04:05+00:00", "threads": 1, "torch": "2.11.0"}
        (folder / "environment.json").write_text(json.dumps([machine | started]))
        if done == epochs:
            versions = {"semaug": "0.1.0", "torch": "2.11.0"}
            result = start | summarize(rows) | machine
            result |= {"quick": False, "versions": versions, "seconds": 8.5, "finished": True}
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

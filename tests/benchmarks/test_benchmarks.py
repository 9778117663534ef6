"""Tests of benchmarks/: all are imported, and those that study something are run in small.

What they time is not timed here.
"""

import json
import runpy
import sys
from pathlib import Path

import pytest

from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.recipes import make_run

FOLDER = Path(__file__).parents[2] / "benchmarks"
FILES = sorted(FOLDER.glob("*.py"))
FEW = {"epochs": "1", "train_per_class": "10", "test_images": "100", "batch_size": "32"}


@pytest.fixture
def run_file(monkeypatch, tmp_path):
    """Return a function that runs a file of benchmarks/ and returns what it recorded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def run(path, *arguments, run_name="__main__"):
        import measure

        monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name=run_name)
        written = tmp_path / "results" / f"{path.stem}.jsonl"
        return json.loads(written.read_text())["rows"] if written.exists() else None

    yield run
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
            del sys.modules[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_is_imported(run_file, path):
    if path.stem == "bench_augment":
        pytest.importorskip("kornia")
    assert run_file(path, run_name="imported") is None


def test_statistics_of_other_memories_are_compared_with_the_truth(run_file):
    changes = [f"{name}={value}" for name, value in FEW.items()]
    options = ["--device", "cpu", "--every", "1"]
    (study,) = run_file(FOLDER / "study_memory.py", "digits_resnet8_isda", *changes, *options)
    assert study["recipe"]["subset"]["train_per_class"] == 10
    assert [row["memory"] for row in study["rows"]] == ["all", "0.999", "0.99", "epoch"]
    assert all(row["trace"] > 0 and row["q"] > 0 and row["q_error"] > 0 for row in study["rows"])


@pytest.mark.parametrize("name", ["digits_resnet8", "digits_resnet8_isda"])
def test_low_ranks_of_a_trained_network_are_compared_with_its_covariances(run_file, tmp_path, name):
    run = make_run(name, {}, seed=0, quick=True, runs=tmp_path / "runs")
    train(run, TrainOptions(device="cpu"))
    (study,) = run_file(FOLDER / "study_low_rank.py", str(run.folder), "--device", "cpu")
    assert study["run"] == f"{name},quick"
    images, size = study["features"]
    assert images == 100
    ranks = [rank for rank in (8, 16, 32, 64) if rank <= size]
    assert [row["rank"] for row in study["rows"]] == [*ranks, None]
    *low, diagonal = study["rows"]
    assert all(row["captured"] <= row["best"] + 1e-3 for row in low)
    assert low[-1]["q_error"] < diagonal["q_error"]

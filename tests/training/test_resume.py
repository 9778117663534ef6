"""Runs that are killed, stopped and resumed end bit for bit where uninterrupted ones end."""

import json
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import torch

from semaug.training.checkpoint import load_checkpoint

TIMES = ("seconds", "images_per_second", "epoch_seconds")

# Trains a run in children that are killed a given time after each saved something. All
# children are forks of one process that has imported everything already.
KILLER = """
    import os, signal, sys, time
    from pathlib import Path
    from dataclasses import replace
    from rich.console import Console
    from semaug.data import load_data
    from semaug.recipes import find_recipe
    from semaug.training.loop import train
    from semaug.training.run import Run

    recipe = replace(find_recipe("digits_resnet8_isda"), epochs=5, batch_size=96)
    whole, killed = (Run("run", recipe, root=Path(sys.argv[1]) / name) for name in ("a", "b"))
    load_data("digits")

    def start(run):
        child = os.fork()
        if child == 0:
            train(
                run,
                device="cpu",
                threads=1,
                resume=True,
                checkpoint_seconds=0.02,
                console=Console(quiet=True),
            )
            os._exit(0)
        return child

    def saved(run):
        return run.checkpoint.stat().st_mtime_ns if run.checkpoint.exists() else 0

    def finish(run):
        _, status = os.waitpid(start(run), 0)
        assert status == 0, status

    for seconds in map(float, sys.argv[2:]):
        before, child = saved(killed), start(killed)
        while saved(killed) == before:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert killed.summary() is None, "finished before all kills"
    finish(killed)
    finish(whole)
"""


def without_times(value):
    """Drop measured seconds, which no two runs share."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def rows(folder: Path):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [without_times(json.loads(line)) for line in lines]


def test_killed_runs_end_bit_for_bit_where_an_uninterrupted_run_ends(tmp_path):
    chance = random.Random()
    seconds = [str(chance.uniform(0, 0.12)) for _ in range(6)]
    print("killed after seconds:", seconds)  # shown if the test fails
    command = [sys.executable, "-c", textwrap.dedent(KILLER), str(tmp_path), *seconds]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    whole, killed = (tmp_path / name / "run" / "seed0" for name in ("a", "b"))
    states = [load_checkpoint(folder / "checkpoint.pt") for folder in (whole, killed)]
    assert_same(*(without_times(state) for state in states))
    assert rows(killed) == rows(whole)
    assert len(rows(killed)) == 5


def assert_same(first, second):
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    else:
        assert first == second

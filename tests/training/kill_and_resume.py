"""Train a run to its end, and the same run once more with kills in between.

Run as: python kill_and_resume.py FOLDER SECONDS...

Each number is how long a process lives after it first saved something. All processes are
forks of this one, which has imported everything already.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from semaug.data import load_data
from semaug.recipes import find_recipe
from semaug.training.loop import train
from semaug.training.run import Run


def start(run):
    child = os.fork()
    if child == 0:
        quiet = Console(quiet=True)
        train(run, device="cpu", threads=1, resume=True, checkpoint_seconds=0.02, console=quiet)
        os._exit(0)
    return child


def finish(run):
    _, status = os.waitpid(start(run), 0)
    assert status == 0, status


def kill_after(run, seconds):
    before, child = last_saved(run), start(run)
    while last_saved(run) == before:
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def last_saved(run):
    return run.checkpoint.stat().st_mtime_ns if run.checkpoint.exists() else 0


if __name__ == "__main__":
    recipe = replace(find_recipe("digits_resnet8_isda"), epochs=5, batch_size=96)
    whole, killed = (Run("run", recipe, root=Path(sys.argv[1]) / name) for name in ("a", "b"))
    load_data("digits")
    for text in sys.argv[2:]:
        kill_after(killed, float(text))
    assert killed.summary() is None, "finished before the last kill"
    finish(killed)
    finish(whole)

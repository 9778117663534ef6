"""Train a run to its end, and the same run once more with kills in between.

Run as: python kill_and_resume.py FOLDER THREADS WHEN...

Each process dies at one of the POINTS, or, if WHEN is a number, so many seconds after it first
saved something. All processes are forks of this one, which has imported everything already.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from semaug.data import load_data
from semaug.engine import loop
from semaug.engine.session import Session
from semaug.recipes import find_recipe
from semaug.runs.record import Record
from semaug.runs.run import Run


def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_a_save():
    Session.save = die


def die_between_row_and_save():
    add = Record.add
    Record.add = lambda self, row: die(add(self, row))


def die_before_the_summary():
    loop.write_summary = die


POINTS = {
    "before_a_save": die_before_a_save,
    "between_row_and_save": die_between_row_and_save,
    "before_the_summary": die_before_the_summary,
}


def start(run, prepare=lambda: None):
    child = os.fork()
    if child == 0:
        prepare()
        quiet = Console(quiet=True)
        loop.train(
            run,
            device="cpu",
            threads=int(sys.argv[2]),
            resume=True,
            checkpoint_seconds=0.02,
            console=quiet,
        )
        os._exit(0)
    return child


def finish(run):
    _, status = os.waitpid(start(run), 0)
    assert status == 0, status


def kill_at(run, point):
    _, status = os.waitpid(start(run, POINTS[point]), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status


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
    for when in sys.argv[3:]:
        if when in POINTS:
            kill_at(killed, when)
        else:
            kill_after(killed, float(when))
    assert killed.summary() is None, "finished before the last kill"
    finish(killed)
    finish(whole)

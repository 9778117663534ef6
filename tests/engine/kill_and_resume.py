"""Train runs to their ends, and the same runs once more with kills in between.

Run as: python kill_and_resume.py FOLDER THREADS RUN=WHEN,WHEN...

Each process dies at one of the POINTS, or, if WHEN is a number, so many seconds after it first
saved something. All processes are forks of this one, which has imported everything already.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from semaug.engine import session
from semaug.engine.session import Session
from semaug.recipe.overrides import override
from semaug.recipes import find_recipe
from semaug.runs.record import Record
from semaug.runs.run import Run
from tests.engine.toys import Consistent, Plain
from tests.tiny import train_quietly


def describe_runs(folder):
    """Return pairs of the same run by its name, one of which is to be killed."""
    isda = override(find_recipe("digits_resnet8_isda"), {"epochs": "5", "batch_size": "96"})
    changes = {"epochs": "none", "steps": "50", "evaluate_every_steps": "12"}
    changes |= {"labeled_per_class": "20", "ema_decay": "0.9", "optimizer": "adamw"}
    streams = override(find_recipe("digits_resnet8"), changes)
    streams = replace(streams, method=Consistent(), network=Plain(drop_rate=0.5))
    return {
        name: [Run(name, recipe, root=Path(folder) / root) for root in ("whole", "killed")]
        for name, recipe in (("isda", isda), ("streams", streams))
    }


def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_a_save():
    Session.save = die


def die_between_row_and_save():
    add = Record.add
    Record.add = lambda self, row: die(add(self, row))


def die_before_the_summary():
    session.write_summary = die


POINTS = {
    "before_a_save": die_before_a_save,
    "between_row_and_save": die_between_row_and_save,
    "before_the_summary": die_before_the_summary,
}


def start(run, prepare=lambda: None):
    child = os.fork()
    if child == 0:
        prepare()
        train_quietly(run, resume=True, threads=int(sys.argv[2]), checkpoint_seconds=0.02)
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
    for argument in sys.argv[3:]:
        name, _, moments = argument.partition("=")
        whole, killed = describe_runs(sys.argv[1])[name]
        whole.recipe.data.load(Path(), None)
        for when in moments.split(","):
            if when in POINTS:
                kill_at(killed, when)
            else:
                kill_after(killed, float(when))
        assert killed.summary() is None, "finished before the last kill"
        finish(killed)
        finish(whole)

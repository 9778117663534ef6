"""Train a short run and a long one.

Run as: python queue_of_runs.py FOLDER JOBS [deaf]
"""

import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from semaug.data.subset import Subset
from semaug.engine.options import TrainOptions
from semaug.queue import workers
from semaug.queue.outcome import Outcome
from semaug.queue.queue import train_runs
from semaug.recipes import find_recipe
from semaug.runs.run import Run


def make_runs(root):
    subset = Subset(train_per_class=10, test_images=60)
    tiny = replace(find_recipe("digits_resnet8_isda"), subset=subset, batch_size=32)
    return [Run(f"epochs{n}", replace(tiny, epochs=n), root=root) for n in (1, 40)]


def tell_whether_deaf(connection, threads):
    """Stand in for a worker: fail a run by whether Ctrl-C is kept from this process."""
    run, _ = connection.recv()
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    connection.send(Outcome(run, error=f"deaf to Ctrl-C: {blocked}"))
    with suppress(EOFError):
        connection.recv()


if __name__ == "__main__":
    runs, options = make_runs(Path(sys.argv[1])), TrainOptions(device="cpu", threads=1)
    if len(sys.argv) > 3:
        workers._work = tell_whether_deaf
        del runs[1]
    train_runs(runs, options, int(sys.argv[2]), Console())

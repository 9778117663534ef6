"""Train a short run and then a long one in a worker.

Run as: python queue_of_runs.py FOLDER
"""

import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from semaug.queue.workers import run_jobs
from semaug.recipes import Subset, find_recipe
from semaug.runs.run import Run


def make_runs(root):
    subset = Subset(train_per_class=10, test_images=60)
    tiny = replace(find_recipe("digits_resnet8_isda"), subset=subset, batch_size=32)
    return [Run(f"epochs{n}", replace(tiny, epochs=n), root=root) for n in (1, 40)]


if __name__ == "__main__":
    run_jobs(make_runs(Path(sys.argv[1])), {"device": "cpu", "threads": 1}, 1, Console())

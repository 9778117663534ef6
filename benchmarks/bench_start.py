"""What a training run costs before its first step: CPU seconds and peak memory of its process.

    python benchmarks/bench_start.py
    python benchmarks/bench_start.py --recipes cifar100_resnet32 --data-root data

Each turn is a process of its own with one thread, and contestants take turns. CPU seconds are
those of user and system, to which other work on the machine adds little. The floor is a process
that imports torch and takes a step of its SGD, without which nothing is trained. --other names
the folder `src` of another version, to compare with.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from measure import record, spread

SOURCE = Path(__file__).parents[1] / "src"

REPORT = """
import json, os, resource, sys
def report(*_):
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]), flush=True)
    os._exit(0)
"""
FLOOR = f"""{REPORT}
import torch
weight = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
weight.sum().backward()
optimizer.step()
report()
"""
# As the command line begins; the first step is where it ends.
TRAIN = f"""{REPORT}
from semaug import cli
from semaug.cli.group import load_command
cli.keep_freed_memory()
load_command("train")
from semaug.engine.session import Session
Session.begin_step = report
cli.main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=["digits_resnet8"])
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--other", type=Path, help="src of another version")
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    sources = {"semaug": SOURCE}
    if arguments.other:
        sources["other version"] = arguments.other
    turns: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for _ in range(arguments.turns):
        turns["", "torch alone"].append(measure(FLOOR, SOURCE))
        for recipe in arguments.recipes:
            for name, source in sources.items():
                options = [recipe, "--data-root", arguments.data_root]
                turns[recipe, name].append(measure(TRAIN, source, *options))
    rows = []
    for (recipe, name), measured in turns.items():
        seconds, peaks = zip(*measured, strict=True)
        rows.append(
            {
                "recipe": recipe,
                "contestant": name,
                "cpu_seconds": spread([*seconds]),
                "peak_mib": statistics.median(peaks),
            }
        )
    show(rows)
    print(f"added to {record('bench_start', 'cpu', rows)}")


def measure(code: str, source: Path, *options: str) -> list[float]:
    """Return CPU seconds and the peak in MiB of a new process, where it reports them."""
    with TemporaryDirectory() as folder:
        command = ["train", *options, "--runs", folder, "--device", "cpu", "--threads", "1"]
        output = subprocess.run(
            [sys.executable, "-c", code, *command],
            env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
    found: list[float] = json.loads(output.splitlines()[-1])
    return found


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="up to the first step, one thread")
    for column in ("recipe", "contestant", "CPU s", "peak MiB"):
        table.add_column(column)
    for row in rows:
        lower, median, upper = (row["cpu_seconds"][name] for name in ("lower", "median", "upper"))
        seconds = f"{median:.2f} ({lower:.2f}-{upper:.2f})"
        table.add_row(row["recipe"], row["contestant"], seconds, f"{row['peak_mib']:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

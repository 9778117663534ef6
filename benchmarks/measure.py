"""Time and peak memory of contestants that take turns, and a record of where."""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from semaug.engine.device import choose_device
from semaug.runs.environment import describe_device, describe_software

__all__ = ["alternate", "median_interval", "ms", "parse", "peak_memory", "record", "spread"]

RESULTS = Path(__file__).parent / "results"


def parse(parser: argparse.ArgumentParser, *, seconds: float) -> argparse.Namespace:
    """Add the arguments of every benchmark, read the command line, set the threads.

    Args:
        parser: With the benchmark's own arguments.
        seconds: Default of ``--seconds``, for each row of its table.
    """
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--seconds", type=float, default=seconds, help="for each row")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return arguments


def alternate(
    contestants: dict[str, Callable[[], None]], device: torch.device, *, seconds: float
) -> dict[str, list[float]]:
    """Run contestants in turns and return the seconds of each run.

    Args:
        contestants: What to time, by name; called once before for warm-up.
        device: Where they work; an accelerator is waited for after each run.
        seconds: How long to go on, but for five turns at least.
    """
    for run in contestants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 5:
        for name, run in contestants.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            times[name].append(time.perf_counter() - start)
    return times


def peak_memory(run: Callable[[], None], device: torch.device) -> int:
    """Return the most bytes allocated during a run beyond those before it."""
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in profiler.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    if not changes:
        raise RuntimeError("peak_memory: the profiler recorded no allocation")
    level = peak = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        level += change
        peak = max(peak, level)
    return peak


def spread(times: list[float]) -> dict[str, float]:
    """Return median and quartiles."""
    lower, median, upper = statistics.quantiles(times, n=4)
    return {"median": median, "lower": lower, "upper": upper, "runs": len(times)}


def median_interval(values: list[float]) -> list[float]:
    """Return the 95 % interval of the median, from order statistics.

    >>> median_interval([float(value) for value in range(100)])
    [39.0, 60.0]
    """
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    last = len(values) - 1
    places = (math.floor(last / 2 - half), math.ceil(last / 2 + half))
    return [ordered[min(max(place, 0), last)] for place in places]


def ms(summary: dict[str, float]) -> str:
    """Write a spread of seconds in milliseconds.

    >>> ms({"median": 0.0021, "lower": 0.002, "upper": 0.0025, "runs": 9})
    '2.10 (2.00-2.50)'
    """
    median, lower, upper = (1000 * summary[name] for name in ("median", "lower", "upper"))
    return f"{median:.2f} ({lower:.2f}-{upper:.2f})"


def record(name: str, device: str, rows: list[dict[str, Any]]) -> Path:
    """Append rows to the results of a benchmark, with hardware, versions and commit."""
    place = choose_device(device)
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": describe_device(place),
        "threads": torch.get_num_threads(),
        **describe_software(),
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    return path


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""What keeping freed memory gains on a CPU, and gradients of depthwise convolutions in float32.

    python benchmarks/bench_allocator.py

Each turn is a process of its own with one thread: malloc as glibc has it, then as
`semaug.engine.allocator.keep_freed_memory` leaves it. It counts CPU seconds, to which other work on
the machine adds little; pages that the system fills are among them. The peak is of a warm-up
step and the timed one.
"""

import argparse
import multiprocessing
import statistics
import time
from contextlib import nullcontext
from itertools import product
from typing import Any

import timm
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from measure import record, spread
from semaug._torch.depthwise import DepthwiseGradients
from semaug.engine.allocator import keep_freed_memory
from semaug.engine.memory import peak_memory, reset_peak_memory

CPU = torch.device("cpu")
MALLOCS = {"as glibc has it": False, "keeps freed memory": True}
# Phase, precision, where gradients of depthwise convolutions are computed, images of a batch.
CASES = [
    ("test", "bf16", "", 50),
    ("test", "bf16", "", 250),
    ("train", "32", "", 50),
    ("train", "bf16", "bf16", 50),
    ("train", "bf16", "float32", 50),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--pixels", type=int, default=112)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    turns: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in MALLOCS}
    for _, (name, keeps) in product(range(arguments.turns), MALLOCS.items()):
        turns[name].append(in_a_process(keeps, arguments.network, arguments.pixels))
    rows = []
    for place, case in enumerate(CASES):
        phase, precision, gradients, batch = case
        for name, measured in turns.items():
            times, peaks = zip(*(turn[place] for turn in measured), strict=True)
            summary = spread([*times])
            rows.append(
                {
                    "network": arguments.network,
                    "pixels": arguments.pixels,
                    "phase": phase,
                    "precision": precision,
                    "depthwise_gradients": gradients,
                    "batch_size": batch,
                    "malloc": name,
                    "cpu_seconds": summary,
                    "images_per_cpu_second": batch / summary["median"],
                    "peak_mib": statistics.median(peaks),
                }
            )
    show(rows)
    print(f"added to {record('bench_allocator', 'cpu', rows)}")


def in_a_process(*arguments: Any) -> list[tuple[float, float]]:
    """Return CPU seconds of a step and the peak in MiB, of each case."""
    context = multiprocessing.get_context("fork")  # which imports nothing anew
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(measure(*arguments)))
    process.start()
    theirs.close()
    found: list[tuple[float, float]] = ours.recv()
    process.join()
    return found


def measure(keeps: bool, network: str, pixels: int) -> list[tuple[float, float]]:
    if keeps and not keep_freed_memory():
        raise SystemExit("bench_allocator: expected the malloc of glibc, without MALLOC_ variables")
    torch.manual_seed(0)
    model = timm.create_model(network, num_classes=100).to(memory_format=torch.channels_last)
    found = []
    for phase, precision, gradients, batch in CASES:
        images = torch.randn(batch, 3, pixels, pixels).to(memory_format=torch.channels_last)
        labels = torch.randint(100, (batch,))
        model.train(phase == "train")
        reset_peak_memory(CPU)
        step(model, images, labels, precision, gradients)
        start = time.process_time()
        step(model, images, labels, precision, gradients)
        found.append((time.process_time() - start, peak_memory(CPU) or 0.0))
    return found


def step(model: nn.Module, images: Tensor, labels: Tensor, precision: str, gradients: str) -> None:
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    depthwise = DepthwiseGradients() if gradients == "float32" else nullcontext()
    with torch.set_grad_enabled(model.training), autocast, depthwise:
        loss = F.cross_entropy(model(images), labels)
    if model.training:
        model.zero_grad()
        loss.backward()


def show(rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    table = Table(title=f"{first['network']} at {first['pixels']} pixels, one thread")
    for column in (
        "phase", "precision", "depthwise gradients", "batch", "malloc", "images/CPU s", "peak MiB",
    ):  # fmt: skip
        table.add_column(column)
    for row in rows:
        ends = (row["batch_size"] / row["cpu_seconds"][end] for end in ("upper", "lower"))
        table.add_row(
            row["phase"],
            row["precision"],
            row["depthwise_gradients"],
            str(row["batch_size"]),
            row["malloc"],
            f"{row['images_per_cpu_second']:.0f} ({'-'.join(f'{end:.0f}' for end in ends)})",
            f"{row['peak_mib']:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

"""Cost of exact statistics over several processes.

    python benchmarks/bench_ranks.py                   about a minute

Processes on this machine communicate by gloo. It counts the collective operations of one update
and the bytes that a rank gives to them. It times an update of all processes, and an update of a
single process on a batch of the same size; processes share the cores, so this time says little
about networks.
"""

import argparse
import time
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table

from measure import parse, record
from semaug import ClassCovariance

# What, samples of a rank or pixels of an image, C, A, kind, options.
CASES: list[tuple[str, tuple[int, ...], int, int, str, dict[str, Any]]] = [
    ("CIFAR-100, WRN-28-10", (64,), 100, 640, "full", {}),
    ("the same, max_batch_size", (64,), 100, 640, "full", {"max_batch_size": 64}),
    ("ImageNet, ResNet-50", (64,), 1000, 2048, "diagonal", {}),
    ("ImageNet, ResNet-50", (64,), 1000, 2048, "low_rank", {"rank": 8}),
    ("Cityscapes, a crop", (97, 97), 19, 512, "diagonal", {}),
    ("Cityscapes, a crop", (97, 97), 19, 512, "full", {}),
]
UPDATES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parse(parser, seconds=0.0)
    rows = [row for world_size in (2, 4) for row in on_ranks(world_size)]
    show(rows)
    print(f"added to {record('bench_ranks', 'cpu', rows)}")


def on_ranks(world_size: int) -> list[dict[str, Any]]:
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    torch.multiprocessing.spawn(run_rank, (world_size, store.port, queue), nprocs=world_size)
    return queue.get()


def run_rank(rank: int, world_size: int, port: int, queue: Any) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("localhost", port, is_master=False)
    rows = []
    alone = [measure(case) for case in CASES]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    for case, (seconds_alone, _, _) in zip(CASES, alone, strict=True):
        seconds, given, calls = measure(case)
        rows.append(
            {
                "processes": world_size,
                "what": case[0],
                "samples": list(case[1]),
                "shape": {"C": case[2], "A": case[3], "kind": case[4]},
                "bytes": given,
                "calls": calls,
                "seconds": seconds,
                "seconds_alone": seconds_alone,
            }
        )
    if rank == 0:
        queue.put(rows)
    dist.barrier()
    dist.destroy_process_group()


def measure(case: tuple) -> tuple[float, int, int]:
    """Seconds, bytes given to collectives, and calls of them, of one update."""
    _, samples, num_classes, num_features, kind, options = case
    dense = len(samples) == 2
    shape = (1, num_features, *samples) if dense else (*samples, num_features)
    labels = torch.randint(num_classes, (1, *samples) if dense else samples)
    estimator = ClassCovariance(num_classes, num_features, kind, **options)
    features = torch.randn(shape)
    estimator.update(features, labels)
    given: list[int] = []
    wrapped = {name: getattr(dist, name) for name in ("all_gather_into_tensor", "all_reduce")}
    for name, function in wrapped.items():

        def counting(*tensors: torch.Tensor, _function: Any = function) -> Any:
            given.append(tensors[-1].numel() * tensors[-1].element_size())
            return _function(*tensors)

        setattr(dist, name, counting)
    times = []
    for _ in range(UPDATES):
        start = time.perf_counter()
        estimator.update(features, labels)
        times.append(time.perf_counter() - start)
    for name, function in wrapped.items():
        setattr(dist, name, function)
    return sorted(times)[UPDATES // 2], sum(given) // UPDATES, len(given) // UPDATES


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="one update of the statistics, by gloo, one thread a process")
    for column in (
        "processes", "what", "samples", "C", "A", "kind", "kB a rank", "calls", "ms", "ms alone",
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["processes"]),
            row["what"],
            " x ".join(map(str, row["samples"])),
            *map(str, row["shape"].values()),
            f"{row['bytes'] / 1e3:,.1f}",
            str(row["calls"]),
            f"{1000 * row['seconds']:.1f}",
            f"{1000 * row['seconds_alone']:.1f}",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()

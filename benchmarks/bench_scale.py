"""Covariances at the size of ImageNet: time, memory, and an extrapolation to 1,000 classes.

    python benchmarks/bench_scale.py                   on a quiet machine, about five minutes

Features of A = 2048 and batches of N = 256, as ResNet-50 on ImageNet. Part one: full
covariances of 50, 100 and 200 classes. The shapes give the cost for R classes in a batch: the
products take 2 R C A^2 operations, and again in the backward pass if they were not kept; the
update takes 2 (N + R) A^2. A pass over a matrix moves 4 A^2 bytes; each of the R classes takes
three passes, and one more if products are not kept. Seconds per operation and per byte come
from the two smaller cases; the largest shows whether they hold, and C = 1000 is extrapolated.
Part two: low rank for 1,000 classes, beside a training step of ResNet-50 on 256 images, in
parts that fit into memory.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torchvision.models import resnet50

from measure import alternate, ms, parse, peak_memory, record, spread
from semaug import ClassCovariance, ISDALoss
from semaug.covariance import full
from semaug.engine.device import choose_device

N, A = 256, 2048
MEASURED, IMAGENET = (50, 100, 200), 1000
RANK = 32
IMAGES_AT_ONCE = 32  # of the step of ResNet-50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments = parse(parser, seconds=20.0)
    device = choose_device(arguments.device)
    torch.manual_seed(0)
    scale = [measure_full(c, device, arguments.seconds) for c in MEASURED]
    scale.append({"classes": IMAGENET, **arithmetic(IMAGENET)})
    predict(scale)
    low_rank = measure_low_rank(device, arguments.seconds)
    show(scale, low_rank)
    print(f"added to {record('bench_scale', arguments.device, [*scale, low_rank])}")


def step_of(isda: ISDALoss, device: torch.device) -> Callable[[], None]:
    """Return loss, statistics and backward pass of a new batch."""
    num_classes, num_features = isda.estimator.num_classes, isda.estimator.num_features
    weight = torch.randn(num_classes, num_features, device=device) * num_features**-0.5

    def run() -> None:
        labels = torch.randint(num_classes, (N,), device=device)
        features = torch.randn(N, num_features, device=device, requires_grad=True)
        own = weight.clone().requires_grad_()
        isda(features @ own.T, labels, features, own).backward()

    return run


def arithmetic(num_classes: int) -> dict[str, float]:
    """Numbers of operations and bytes that the shapes give."""
    present = num_classes * (1 - (1 - 1 / num_classes) ** N)  # expected classes in a batch
    kept = present * num_classes * A <= full.KEPT_ELEMENTS
    products = 2 * present * num_classes * A**2 * (1 if kept else 2)
    return {
        "present": present,
        "operations": products + 2 * (N + present) * A**2,
        "moved_bytes": 4 * present * A**2 * (3 if kept else 4),
        "products_kept": kept,
        "state_bytes": 4 * num_classes * A * (A + 1),
        # differences, product and gradient of one class, weights, and what is kept
        "extra_bytes": 4 * num_classes * A * (5 + (present if kept else 0)),
    }


def measure_full(num_classes: int, device: torch.device, seconds: float) -> dict[str, Any]:
    isda = ISDALoss(num_classes, A, strength=0.5).to(device)
    run = step_of(isda, device)
    (times,) = alternate({"step": run}, device, seconds=seconds).values()
    return {
        "classes": num_classes,
        **arithmetic(num_classes),
        "seconds": spread(times),
        "peak_bytes": peak_memory(run, device),
    }


def predict(rows: list[dict[str, Any]]) -> None:
    """Add what the two smaller cases predict."""
    costs = torch.tensor([[row["operations"], row["moved_bytes"]] for row in rows]).double()
    seconds = torch.tensor([row["seconds"]["median"] for row in rows[:2]]).double()
    each = torch.linalg.solve(costs[:2], seconds)
    for row, predicted in zip(rows, (costs @ each).tolist(), strict=True):
        row["predicted_seconds"] = predicted
        row["operations_per_second"], row["bytes_per_second"] = (1 / each).tolist()


def measure_low_rank(device: torch.device, seconds: float) -> dict[str, Any]:
    covariance = ClassCovariance(IMAGENET, A, "low_rank", rank=RANK)
    isda = ISDALoss(IMAGENET, A, strength=0.5, covariance=covariance).to(device)
    network = resnet50().to(device).to(memory_format=torch.channels_last)
    images = torch.randn(IMAGES_AT_ONCE, 3, 224, 224, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(IMAGENET, (IMAGES_AT_ONCE,), device=device)

    def part_of_step() -> None:
        network.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()

    loss = step_of(isda, device)
    times = alternate({"low rank": loss, "part": part_of_step}, device, seconds=seconds)
    parts = N // IMAGES_AT_ONCE
    summary = {name: spread(own) for name, own in times.items()}
    state = sum(x.numel() * x.element_size() for x in isda.estimator.buffers())
    return {
        "classes": IMAGENET,
        "rank": RANK,
        "seconds": summary["low rank"],
        "resnet50_seconds": {"parts": parts, "each": summary["part"]},
        "share": summary["low rank"]["median"] / (parts * summary["part"]["median"]),
        "state_bytes": state,
        "peak_bytes": peak_memory(loss, device),
    }


def show(scale: list[dict[str, Any]], low_rank: dict[str, Any]) -> None:
    console = Console(width=150)
    table = Table(title=f"full covariances, N {N}, A {A}: loss + statistics + backward")
    for column in (
        "C", "present", "GFLOP", "GB moved", "ms", "predicted ms", "state MB", "extra MB",
        "predicted MB",
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for row in scale:
        table.add_row(
            str(row["classes"]),
            f"{row['present']:.0f}",
            f"{row['operations'] / 1e9:,.0f}",
            f"{row['moved_bytes'] / 1e9:.1f}",
            ms(row["seconds"]) if "seconds" in row else "-",
            f"{1000 * row['predicted_seconds']:,.0f}",
            f"{row['state_bytes'] / 1e6:,.0f}",
            f"{row['peak_bytes'] / 1e6:,.0f}" if "peak_bytes" in row else "-",
            f"{row['extra_bytes'] / 1e6:,.0f}",
        )
    console.print(table)
    last = scale[-1]
    console.print(
        f"C = {IMAGENET}: {last['operations'] / 1e9:,.0f} GFLOP at "
        f"{last['operations_per_second'] / 1e9:,.0f} GFLOP/s and "
        f"{last['moved_bytes'] / 1e9:,.1f} GB at {last['bytes_per_second'] / 1e9:,.1f} GB/s are "
        f"{last['predicted_seconds']:,.1f} s; the state is {IMAGENET} x {A} "
        f"x ({A} + 1) x 4 bytes; products {'are' if last['products_kept'] else 'are not'} kept"
    )
    each = low_rank["resnet50_seconds"]["each"]
    console.print(
        f"low rank, C {IMAGENET} A {A} N {N} rank {RANK}: {ms(low_rank['seconds'])} ms, state "
        f"{low_rank['state_bytes'] / 1e6:.1f} MB (target 300), extra "
        f"{low_rank['peak_bytes'] / 1e6:.0f} MB; ResNet-50 step: {N // IMAGES_AT_ONCE} x "
        f"{ms(each)} ms; share {100 * low_rank['share']:.2f} % (target 3)"
    )


if __name__ == "__main__":
    main()

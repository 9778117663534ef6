"""Cost of AIT beyond its forward passes: a step on N pairs against a step on 2 N images.

    python benchmarks/bench_ait.py --threads 2

A step of AIT on N = 64 pairs and a step of cross-entropy on 2N = 128 images take turns in one
process, then both with ISDA as the classification loss. The target is a ratio of 1.03.
Medians and quartiles go to ``benchmarks/results/bench_ait.jsonl``.
"""

import argparse
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import semaug.networks  # noqa: F401, registers ours with timm
from measure import ms, parse, record
from semaug import AugmentationInvariantLoss, ISDALoss
from semaug.engine.device import choose_device
from semaug.methods import AIT, Batch, Supervised
from steps import compare_two, make_step

TARGET = 1.03
NUM_PAIRS = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["resnet32_cifar"])
    parser.add_argument("--classes", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--precisions", nargs="+", default=["32", "bf16"])
    arguments = parse(parser, seconds=20)
    device = choose_device(arguments.device)
    rows = [
        compare(network, num_classes, precision, loss, device, arguments.seconds)
        for network in arguments.networks
        for num_classes in arguments.classes
        for precision in arguments.precisions
        for loss in ("cross-entropy", "ISDA")
    ]
    console = Console()
    console.print(table(rows))
    console.print(f"wrote {record('bench_ait', arguments.device, rows)}")


def compare(
    network: str, num_classes: int, precision: str, loss: str, device: torch.device, seconds: float
) -> dict[str, Any]:
    """Time both."""

    def classification() -> nn.Module:
        if loss == "cross-entropy":
            return nn.CrossEntropyLoss()
        size = timm.create_model(network, num_classes=num_classes).num_features
        return ISDALoss(num_classes, size, strength=0.5, ramp_steps=1000)

    def model() -> nn.Module:
        torch.manual_seed(0)
        return timm.create_model(network, num_classes=num_classes)

    images = torch.randn(2 * NUM_PAIRS, 3, 32, 32, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = [torch.randint(num_classes, (NUM_PAIRS,), device=device) for _ in range(8)]
    alone = [Batch.of(images, own.repeat(2)) for own in labels]
    pairs = [Batch.of(images.unflatten(0, (2, NUM_PAIRS)), own) for own in labels]
    criterion = AugmentationInvariantLoss(weight=1.0, classification=classification())
    contestants = {
        "one view": make_step(Supervised(model(), classification()), alone, precision, device),
        "AIT": make_step(AIT(model(), criterion), pairs, precision, device),
    }
    return {
        "network": network,
        "num_classes": num_classes,
        "precision": precision,
        "loss": loss,
        **compare_two(contestants, device, seconds=seconds),
        "targets": {"ratio": TARGET},
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Lay out the rows."""
    title = f"training step, {2 * NUM_PAIRS} pictures: milliseconds, median (quartiles)"
    shown = Table(title=title)
    for column in ("network", "classes", "precision", "loss", "one view", "AIT", "ratio"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        ratio, seconds = row["ratio"], row["seconds"]
        shown.add_row(
            row["network"],
            str(row["num_classes"]),
            row["precision"],
            row["loss"],
            ms(seconds["one view"]),
            ms(seconds["AIT"]),
            f"{ratio['median']:.3f} ({ratio['lower']:.3f}-{ratio['upper']:.3f})",
        )
    return shown


if __name__ == "__main__":
    main()

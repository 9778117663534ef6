"""Which precision and memory format train and test fastest on a device.

    python benchmarks/bench_precision.py
    python benchmarks/bench_precision.py --device cuda --network resnet32_cifar

The four combinations take turns on the same images. ``engine/device.py`` holds the
choice that ``precision=auto channels_last=auto`` makes.
"""

import argparse
from collections.abc import Callable
from itertools import product

import timm
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

import semaug.networks  # noqa: F401, registers ours with timm
from measure import alternate, parse, record, spread
from semaug.engine.device import choose_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", default="resnet20_cifar")
    arguments = parse(parser, seconds=30.0)
    device = choose_device(arguments.device)
    choices = list(product(("32", "bf16"), (False, True)))
    rows = []
    for phase, make, num_images in (("train", train_step, 128), ("test", test_step, 1000)):
        contestants = {
            f"{precision} {channels_last}": make(
                arguments.network, precision == "bf16", channels_last, num_images, device
            )
            for precision, channels_last in choices
        }
        times = alternate(contestants, device, seconds=arguments.seconds)
        for (precision, channels_last), own in zip(choices, times.values(), strict=True):
            summary = spread(own)
            rows.append(
                {
                    "network": arguments.network,
                    "phase": phase,
                    "precision": precision,
                    "channels_last": channels_last,
                    "seconds": summary,
                    "images_per_second": num_images / summary["median"],
                }
            )
    table = Table(title=f"{arguments.network}: images per second, median")
    for column in ("phase", "precision", "channels_last", "images/s", "turns"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["phase"],
            row["precision"],
            str(row["channels_last"]),
            f"{row['images_per_second']:.0f}",
            str(row["seconds"]["runs"]),
        )
    Console().print(table)
    print(f"added to {record('bench_precision', arguments.device, rows)}")


def build(
    network: str, channels_last: bool, num_images: int, device: torch.device
) -> tuple[torch.nn.Module, torch.Tensor]:
    """Build a network and images in a memory format."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = timm.create_model(network, num_classes=10).to(device).to(memory_format=layout)
    images = torch.randn(num_images, 3, 32, 32, device=device).contiguous(memory_format=layout)
    return model, images


def train_step(
    network: str, bf16: bool, channels_last: bool, num_images: int, device: torch.device
) -> Callable[[], None]:
    """One step of SGD."""
    model, images = build(network, channels_last, num_images, device)
    labels = torch.randint(10, (num_images,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    return run


def test_step(
    network: str, bf16: bool, channels_last: bool, num_images: int, device: torch.device
) -> Callable[[], None]:
    """One batch of testing."""
    model, images = build(network, channels_last, num_images, device)
    model.eval()

    @torch.no_grad()
    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            model(images)

    return run


if __name__ == "__main__":
    main()

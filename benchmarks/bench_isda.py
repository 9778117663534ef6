"""Cost of ISDA: against the literal formula, and as a part of a training step.

    python benchmarks/bench_isda.py                    on a quiet machine, about eight minutes
    python benchmarks/bench_isda.py --device cuda
    python benchmarks/bench_isda.py --only-steps --networks wide_resnet16_8_cifar --classes 100

Part one times loss, statistics and backward pass of our code and of the formula as it is
written (``literal.py``), on the same batches, taking turns. The floor is the least that an
exact full covariance needs: for each class in the batch, one pass over its matrix to update it
and one product of the weight with it. Part two compares both for segmentation, where every
pixel is a sample; there the literal formula has variances alone, as the published code. Part
three times whole training steps of a network with cross-entropy and with ISDA.
"""

import argparse
from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import semaug.networks  # noqa: F401, registers ours with timm
from literal import LiteralISDA
from measure import alternate, ms, parse, peak_memory, record, spread
from semaug import ISDALoss
from semaug.engine.device import choose_device
from semaug.methods import Batch, Supervised
from steps import compare_two, make_step

# N samples, C classes, A features, kind; and the targets: times faster, times less memory.
CASES = [
    (128, 10, 64, "full", 3, None),
    (128, 100, 64, "full", 8, None),
    (128, 10, 640, "full", 30, None),
    (128, 100, 640, "full", 20, 15),
    (128, 100, 1024, "full", None, None),
    (256, 1000, 2048, "diagonal", 150, 40),
]
NETWORKS = ["resnet32_cifar", "resnet110_cifar"]
# Two crops of 769 x 769 pixels and features at an eighth of that, as on Cityscapes.
SEGMENTATION = {"images": 2, "pixels": 97, "label_pixels": 769, "classes": 19, "features": 512}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only-steps", action="store_true", help="part three alone")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="of part three")
    parser.add_argument("--classes", nargs="+", type=int, default=[10, 100], help="of part three")
    parser.add_argument("--precisions", nargs="+", default=["32", "bf16"], help="of part three")
    arguments = parse(parser, seconds=15.0)
    device = choose_device(arguments.device)
    torch.manual_seed(0)
    losses, segmentation = [], []
    if not arguments.only_steps:
        losses = [compare_losses(*case, device, arguments.seconds) for case in CASES]
        segmentation = [compare_segmentation(device, arguments.seconds)]
    steps = [
        compare_steps(network, num_classes, precision, device, arguments.seconds)
        for network in arguments.networks
        for num_classes in arguments.classes
        for precision in arguments.precisions
    ]
    show(losses, segmentation, steps)
    path = record("bench_isda", arguments.device, [*losses, *segmentation, *steps])
    print(f"added to {path}")


def compare_losses(
    num_samples: int,
    num_classes: int,
    num_features: int,
    kind: str,
    faster: float | None,
    smaller: float | None,
    device: torch.device,
    seconds: float,
) -> dict[str, Any]:
    """Loss, statistics and backward pass, ours and literal."""
    isda = ISDALoss(num_classes, num_features, strength=0.5, covariance=kind).to(device)
    literal = LiteralISDA(num_classes, num_features, kind, device.type)
    weight = torch.randn(num_classes, num_features, device=device) * num_features**-0.5
    batches = [
        (
            torch.randn(num_samples, num_features, device=device),
            torch.randint(num_classes, (num_samples,), device=device),
        )
        for _ in range(8)
    ]

    classes = [labels.unique().tolist() for _, labels in batches]
    state = {"turn": 0}

    def floor() -> None:
        for c in classes[state["turn"] % len(classes)]:
            torch.mm(weight, isda.estimator.covariance[c].mul_(1.0))
        state["turn"] += 1

    contestants = {
        "literal": loss_alone(lambda *batch: literal(*batch, strength=0.5), batches, weight),
        "semaug": loss_alone(isda, batches, weight),
    }
    if kind == "full":
        contestants["floor"] = floor
    times = alternate(contestants, device, seconds=seconds)
    memory = {name: peak_memory(contestants[name], device) for name in ("literal", "semaug")}
    summary = {name: spread(own) for name, own in times.items()}
    return {
        "what": "loss, statistics, backward",
        "shape": {"N": num_samples, "C": num_classes, "A": num_features, "kind": kind},
        "seconds": summary,
        "peak_bytes": memory,
        "faster": summary["literal"]["median"] / summary["semaug"]["median"],
        "smaller": memory["literal"] / memory["semaug"],
        "targets": {"faster": faster, "smaller": smaller},
    }


def loss_alone(
    loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    batches: list[tuple[Tensor, Tensor]],
    weight: Tensor,
) -> Callable[[], None]:
    """Return a function that computes the logits and the loss of one batch, and goes back."""
    state = {"turn": 0}

    def run() -> None:
        features, labels = batches[state["turn"] % len(batches)]
        state["turn"] += 1
        own_weight = weight.clone().requires_grad_()
        own_features = features.clone().requires_grad_()
        logits = own_features @ own_weight.T
        loss(logits, labels, own_features, own_weight).backward()

    return run


def compare_segmentation(device: torch.device, seconds: float) -> dict[str, Any]:
    """Loss, statistics and backward pass of dense outputs; labels at the features' resolution."""
    num_images, size, label_size, num_classes, num_features = SEGMENTATION.values()
    labels = torch.randint(num_classes, (num_images, label_size, label_size), device=device)
    features = torch.randn(num_images, num_features, size, size, device=device)
    weight = torch.randn(num_classes, num_features, device=device) * num_features**-0.5
    literal = LiteralISDA(num_classes, num_features, "diagonal", device.type)
    losses = {
        kind: ISDALoss(num_classes, num_features, strength=0.5, covariance=kind).to(device)
        for kind in ("diagonal", "full")
    }

    def inputs() -> tuple[Tensor, Tensor, Tensor]:
        own_weight = weight.clone().requires_grad_()
        logits = torch.einsum("nahw,ca->nchw", features, own_weight)
        return logits.requires_grad_(), features, own_weight

    def run_literal() -> None:
        logits, own_features, own_weight = inputs()
        near = labels[:, :: label_size // size][:, :size, :: label_size // size][:, :, :size]
        flat = (x.movedim(1, 3).flatten(0, 2) for x in (logits, own_features))
        flat_logits, samples = flat
        literal(flat_logits, near.flatten(), samples, own_weight, strength=0.5).backward()

    def run_ours(kind: str) -> Callable[[], None]:
        def run() -> None:
            logits, own_features, own_weight = inputs()
            losses[kind](logits, labels, own_features, own_weight).backward()

        return run

    contestants = {
        "literal diagonal": run_literal,
        "semaug diagonal": run_ours("diagonal"),
        "semaug full": run_ours("full"),
    }
    times = alternate(contestants, device, seconds=2 * seconds)
    summary = {name: spread(own) for name, own in times.items()}
    return {
        "what": "segmentation: loss, statistics, backward",
        "shape": SEGMENTATION,
        "seconds": summary,
        "peak_bytes": {name: peak_memory(run, device) for name, run in contestants.items()},
        "targets": {"smaller": 30, "full faster than literal diagonal": True},
    }


def compare_steps(
    network: str, num_classes: int, precision: str, device: torch.device, seconds: float
) -> dict[str, Any]:
    """Whole training steps of batch 128 of CIFAR images, cross-entropy and ISDA."""
    batch_size = 128
    images = torch.randn(batch_size, 3, 32, 32, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = [torch.randint(num_classes, (batch_size,), device=device) for _ in range(8)]
    batches = [Batch.of(images, own) for own in labels]

    def step(loss: nn.Module) -> Callable[[], None]:
        torch.manual_seed(0)
        method = Supervised(timm.create_model(network, num_classes=num_classes), loss)
        return make_step(method, batches, precision, device)

    num_features = timm.create_model(network, num_classes=num_classes).num_features
    isda = ISDALoss(num_classes, num_features, strength=0.5, ramp_steps=1000)
    contestants = {"cross-entropy": step(nn.CrossEntropyLoss()), "ISDA": step(isda)}
    compared = compare_two(contestants, device, seconds=2 * seconds)
    weight = torch.randn(num_classes, num_features, device=device) * num_features**-0.5
    features = [(torch.randn(batch_size, num_features, device=device), own) for own in labels]
    own_isda = ISDALoss(num_classes, num_features, strength=0.5, ramp_steps=1000).to(device)
    losses = {
        "cross-entropy": loss_alone(lambda z, y, *_: F.cross_entropy(z, y), features, weight),
        "ISDA": loss_alone(own_isda, features, weight),
    }
    alone = {n: spread(own) for n, own in alternate(losses, device, seconds=seconds / 4).items()}
    added = alone["ISDA"]["median"] - alone["cross-entropy"]["median"]
    return {
        "what": "training step",
        "network": network,
        "num_classes": num_classes,
        "precision": precision,
        **compared,
        "alone": alone,
        "share": added / compared["seconds"]["cross-entropy"]["median"],
        "targets": {"ratio": 1.02 if device.type == "cpu" else 1.05},
    }


def show(
    losses: list[dict[str, Any]], segmentation: list[dict[str, Any]], steps: list[dict[str, Any]]
) -> None:
    """Print the parts that were measured as tables."""
    console = Console(width=160)
    if losses:
        console.print(table_of_losses(losses))
    for measured in segmentation:
        console.print(table_of_segmentation(measured))
    console.print(table_of_steps(steps))


def table_of_losses(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="loss + statistics + backward: milliseconds, median (quartiles); MB")
    for column in (
        "N", "C", "A", "kind", "literal ms", "semaug ms", "floor ms", "faster (target)",
        "literal MB", "semaug MB", "smaller (target)",
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        seconds, memory = row["seconds"], row["peak_bytes"]
        table.add_row(
            *map(str, row["shape"].values()),
            ms(seconds["literal"]),
            ms(seconds["semaug"]),
            f"{1000 * seconds['floor']['median']:.2f}" if "floor" in seconds else "-",
            f"{row['faster']:.1f}x ({row['targets']['faster'] or '-'})",
            f"{memory['literal'] / 1e6:.1f}",
            f"{memory['semaug'] / 1e6:.1f}",
            f"{row['smaller']:.1f}x ({row['targets']['smaller'] or '-'})",
        )
    return table


def table_of_segmentation(row: dict[str, Any]) -> Table:
    table = Table(title="segmentation, 2 x 97 x 97 pixels, 19 classes, 512 features")
    for column in ("contestant", "ms", "MB", "faster", "smaller (target 30)"):
        table.add_column(column, justify="right", no_wrap=True)
    seconds, memory = row["seconds"], row["peak_bytes"]
    for name, own in seconds.items():
        table.add_row(
            name,
            ms(own),
            f"{memory[name] / 1e6:.1f}",
            f"{seconds['literal diagonal']['median'] / own['median']:.1f}x",
            f"{memory['literal diagonal'] / memory[name]:.1f}x",
        )
    return table


def table_of_steps(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="training step, batch 128: milliseconds, median (quartiles)")
    for column in (
        "network",
        "classes",
        "precision",
        "cross-entropy ms",
        "ISDA ms",
        "ratio, 95 % (target)",
        "loss alone ms",
        "adds (target 1 %)",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        ratio = row["ratio"]
        table.add_row(
            row["network"],
            str(row["num_classes"]),
            row["precision"],
            ms(row["seconds"]["cross-entropy"]),
            ms(row["seconds"]["ISDA"]),
            f"{ratio['median']:.3f}, {ratio['interval'][0]:.3f}-{ratio['interval'][1]:.3f} "
            f"({row['targets']['ratio']})",
            ms(row["alone"]["ISDA"]),
            f"{100 * row['share']:.2f} %",
        )
    return table


if __name__ == "__main__":
    main()

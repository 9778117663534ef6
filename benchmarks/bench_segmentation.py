"""Memory and time of the losses of segmentation: cross-entropy, ISDA, and the literal formula.

    python benchmarks/bench_segmentation.py --part memory
    python benchmarks/bench_segmentation.py --part time --network pspnet_resnet18 --crop 361
    python benchmarks/bench_segmentation.py --device cuda

Memory is that of the loss of one head on given features, forward and backward: what is allocated
at the worst moment, and the state that stays. Cross-entropy interpolates logits by torch and is
computed at once. Time is that of the losses of both heads, as a share of the step of a network;
contestants take turns. The literal formula compares every pixel of the features with every class in
tensors of N x C x A, has diagonal covariances and the released form of the loss.
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from literal import LiteralISDA
from measure import alternate, ms, parse, peak_memory, record, spread
from semaug import ISDALoss
from semaug.engine.device import choose_device
from semaug.registry import Sizes, networks

NUM_CLASSES = 19
MIB = 2**20
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=["memory", "time", "both"], default="both")
    parser.add_argument("--network", default="pspnet_resnet101")
    parser.add_argument("--crop", type=int, default=769)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--features", type=int, default=512, help="of the part memory")
    parser.add_argument("--literal", action=argparse.BooleanOptionalAction, default=True)
    arguments = parse(parser, seconds=60.0)
    device = choose_device(arguments.device)
    rows = []
    if arguments.part != "time":
        rows += memory_of_losses(arguments, device)
    if arguments.part != "memory":
        rows += time_of_losses(arguments, device)
    print(f"added to {record('bench_segmentation', arguments.device, rows)}")


def losses_of(num_features: int, device: torch.device, literal: bool) -> dict[str, Loss]:
    """Return the contestants, each with a state of its own."""

    def isda(covariance: str, dense: str) -> Loss:
        return ISDALoss(
            NUM_CLASSES,
            num_features,
            strength=1.0,
            covariance=covariance,  # type: ignore[arg-type]
            dense=dense,  # type: ignore[arg-type]
            align_corners=True,
        ).to(device)

    found: dict[str, Loss] = {"cross-entropy": cross_entropy}
    found |= {
        f"isda, {dense}, {kind}": isda(kind, dense)
        for dense in ("exact", "faithful")
        for kind in ("full", "diagonal")
    }
    return found | ({"literal, diagonal": Literal(num_features, device)} if literal else {})


def cross_entropy(logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    """Compute torch's own, on logits that torch interpolates."""
    up = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=True)
    return F.cross_entropy(up, labels)


class Literal:
    """The formula pixel by pixel, and the released form of the loss."""

    def __init__(self, num_features: int, device: torch.device) -> None:
        self.isda = LiteralISDA(NUM_CLASSES, num_features, "diagonal", str(device))

    def __call__(self, logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor) -> Tensor:
        """Update the statistics, then compute the loss."""
        size = logits.shape[2:]
        low = F.interpolate(labels[:, None].float(), size, mode="nearest").long().flatten()
        samples = features.movedim(1, 3).flatten(0, 2)
        self.isda._update_diagonal(samples.detach(), low)
        raises = self.isda._variance_diagonal(low, weight)
        raises = raises.unflatten(0, (len(logits), *size)).movedim(3, 1)
        return cross_entropy(logits + 0.5 * raises, labels, features, weight)


def problem(
    num_images: int, crop: int, num_features: int, device: torch.device
) -> tuple[Tensor, ...]:
    """Draw logits, labels in blocks of 32 pixels, features and weight."""
    torch.manual_seed(0)
    grid = (crop - 1) // 8 + 1
    blocks = torch.randint(NUM_CLASSES, (num_images, crop // 32 + 1, crop // 32 + 1), device=device)
    labels = blocks.repeat_interleave(32, 1).repeat_interleave(32, 2)[:, :crop, :crop].contiguous()
    features = torch.randn(num_images, num_features, grid, grid, device=device).relu_()
    weight = torch.randn(NUM_CLASSES, num_features, device=device) / num_features**0.5
    logits = torch.einsum("nahw,ca->nchw", features, weight).requires_grad_()
    return logits, labels, features, weight.requires_grad_()


def memory_of_losses(
    arguments: argparse.Namespace, device: torch.device
) -> list[dict[str, object]]:
    """Measure the most memory of each loss, and show it beside logits at the full resolution."""
    num_images, crop, num_features = arguments.images, arguments.crop, arguments.features
    given = problem(num_images, crop, num_features, device)
    copy = num_images * NUM_CLASSES * crop**2 * 4
    table = Table(
        title=f"MiB of a loss, {num_images} crops of {crop}, C = {NUM_CLASSES}, "
        f"A = {num_features}; logits of full resolution take {copy / MIB:.0f}"
    )
    for column in ("loss", "state", "at most", "with state, more than cross-entropy"):
        table.add_column(column, justify="right")
    rows: list[dict[str, object]] = []
    plain = 0
    for name, loss in losses_of(num_features, device, arguments.literal).items():

        def run(loss: Loss = loss) -> None:
            loss(*given).backward()
            for leaf in (given[0], given[3]):
                leaf.grad = None

        run()
        peak, state = peak_memory(run, device), state_of(loss)
        plain = plain or peak
        extra = peak + state - plain
        table.add_row(name, *(f"{number / MIB:.0f}" for number in (state, peak, extra)))
        sizes = {"images": num_images, "crop": crop, "features": num_features, "logits": copy}
        rows.append({"loss": name, "peak": peak, "state": state, "extra": extra, **sizes})
    Console().print(table)
    return rows


def state_of(loss: Loss) -> int:
    """Count the bytes that a loss keeps."""
    if isinstance(loss, Literal):
        kept = [loss.isda.count, loss.isda.mean, loss.isda.covariance]
    else:
        kept = [*loss.buffers()] if isinstance(loss, torch.nn.Module) else []
    return sum(one.numel() * one.element_size() for one in kept)


def time_of_losses(arguments: argparse.Namespace, device: torch.device) -> list[dict[str, object]]:
    """Time the losses of both heads, and the step of the network without them."""
    spec = networks.make(arguments.network)
    network = spec.build(Sizes(num_classes=NUM_CLASSES)).to(device).train()
    images = torch.randn(arguments.images, 3, arguments.crop, arguments.crop, device=device)

    def step() -> None:
        logits = [head.logits for head in network.forward_heads(images)]
        torch.autograd.backward(logits, [torch.ones_like(one) for one in logits])
        network.zero_grad()

    given = problem(arguments.images, arguments.crop, network.num_features, device)
    names = losses_of(network.num_features, device, arguments.literal)
    heads = [losses_of(network.num_features, device, arguments.literal) for _ in range(2)]
    contestants: dict[str, Callable[[], None]] = {"network": step}
    for name in names:

        def run(name: str = name) -> None:
            torch.stack([losses[name](*given) for losses in heads]).sum().backward()
            for leaf in (given[0], given[3]):
                leaf.grad = None

        contestants[name] = run
    times = alternate(contestants, device, seconds=arguments.seconds)
    whole = spread(times.pop("network"))
    table = Table(
        title=f"{arguments.network}, {arguments.images} crops of {arguments.crop}: losses of both "
        f"heads beside {ms(whole)} ms of the network"
    )
    for column in ("loss", "ms (quartiles)", "share of the step"):
        table.add_column(column, justify="right")
    rows: list[dict[str, object]] = []
    for name, own in times.items():
        summary = spread(own)
        share = summary["median"] / (summary["median"] + whole["median"])
        table.add_row(name, ms(summary), f"{100 * share:.1f} %")
        sizes = {"network": arguments.network, "images": arguments.images, "crop": arguments.crop}
        seconds = {"seconds": summary, "network_seconds": whole, "share": share}
        rows.append({"loss": name, **seconds, **sizes})
    Console().print(table)
    return rows


if __name__ == "__main__":
    main()

"""Training images per second, next to a plain loop of torchvision and DataLoader.

    python benchmarks/bench_training.py --threads 2
    python benchmarks/bench_training.py --device cuda --compile

The plain loop is the usual one: images through PIL, RandomCrop, flip, ToTensor and
Normalize of torchvision in a DataLoader, network and SGD with their defaults, float32. Ours is
the pipeline and the step of `semaug train`, in float32 and in bf16. Both train the same network
on the same images, 128 a step, and take turns of several steps in one process.

The workers of the plain loop prepare up to four batches during the turns of the others, which is
a handicap for ours. `bare` is our step of the network alone, in float32, on one fixed batch.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import count

import timm
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import semaug.networks  # noqa: F401, registers ours with timm
from measure import alternate, parse, record, spread
from semaug.data import DataSet, ImageSet
from semaug.engine.build import compile_steps
from semaug.engine.device import choose_device, operators
from semaug.engine.optimizers import SGD, parameter_groups
from semaug.engine.streams import Streams
from semaug.methods import Batch, Method, Supervised
from semaug.metrics import Error
from semaug.recipe import Recipe

BATCH_SIZE = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="+", default=["resnet32_cifar", "wide_resnet16_8_cifar"]
    )
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    parser.add_argument("--compile", action="store_true", help="also ours, bf16, compiled")
    parser.add_argument("--steps", type=int, help="in a turn; else about two seconds")
    arguments = parse(parser, seconds=60.0)
    device = choose_device(arguments.device)
    rows = []
    with operators(device, deterministic=False):
        for network in arguments.networks:
            rows += compare(network, device, arguments)
    print_rows(rows)
    print(f"added to {record('bench_training', arguments.device, rows)}")


def compare(network: str, device: torch.device, arguments: argparse.Namespace) -> list[dict]:
    """Let all loops train one network in turns."""
    images = make_images(num_images=20 * BATCH_SIZE)
    steps = {
        f"torchvision, {arguments.workers} workers": plain(
            network, images, arguments.workers, device
        ),
        "torchvision, in the process": plain(network, images, 0, device),
        "ours, float32": ours(network, images, "32", device),
        "ours, bf16": ours(network, images, "bf16", device),
        "bare, float32": bare(network, device),
    }
    if arguments.compile:
        steps["ours, bf16, compiled"] = ours(network, images, "bf16", device, compiled=True)
    num_steps = arguments.steps or steps_for(steps["bare, float32"], seconds=2.0)

    def turn(step: Callable[[], None]) -> Callable[[], None]:
        return lambda: [step() for _ in range(num_steps)] and None

    turns = {name: turn(step) for name, step in steps.items()}
    times = alternate(turns, device, seconds=arguments.seconds)
    reference = f"torchvision, {arguments.workers} workers"
    rows = []
    for name, own in times.items():
        ratios = [other / mine for other, mine in zip(times[reference], own, strict=True)]
        rows.append(
            {
                "network": network,
                "loop": name,
                "steps_a_turn": num_steps,
                "seconds": spread(own),
                "images_per_second": num_steps * BATCH_SIZE / spread(own)["median"],
                "faster": spread(ratios),
            }
        )
    return rows


def make_images(num_images: int) -> ImageSet:
    """Return noise, as fast to train on as photographs."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (num_images, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (num_images,), generator=generator)
    return ImageSet(images, labels, tuple("0123456789"))


class PlainImages(Dataset):
    """What torchvision's CIFAR10 does: an array becomes a PIL image, and a tensor again."""

    def __init__(self, images: ImageSet) -> None:
        self.arrays = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def plain(network: str, images: ImageSet, workers: int, device: torch.device) -> Callable[[], None]:
    """Return the step of the plain loop."""
    model = timm.create_model(network, num_classes=10).to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    loader = DataLoader(
        PlainImages(images),
        BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    batches = endless(lambda epoch: iter(loader))

    def step() -> None:
        inputs, labels = next(batches)
        inputs = inputs.to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


def ours(
    network: str,
    images: ImageSet,
    precision: str,
    device: torch.device,
    *,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return the step of `semaug train`."""
    recipe = Recipe(
        data="cifar10",  # its size; the images are noise
        network=network,
        epochs=1,
        batch_size=BATCH_SIZE,
        precision=precision,
        channels_last=True,
    )
    streams = Streams(recipe, DataSet("noise", images, images, MEAN, STD).to(device))
    method = Supervised(timm.create_model(network, num_classes=10), nn.CrossEntropyLoss())
    method.to(device).to(memory_format=streams.layout)
    optimizer = make_optimizer(method)
    metrics = {"error": Error(10).to(device)}
    if compiled:
        compile_steps(method)
    batches = endless(lambda epoch: streams.train_batches(0, epoch))
    bf16 = precision == "bf16"

    def step() -> None:
        batch, truths = next(batches)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            output = method.loss(batch)
        output.loss.backward()
        optimizer.step()
        streams.count(metrics, output, batch, truths)

    return step


def make_optimizer(method: Method) -> torch.optim.Optimizer:
    """Return that of `semaug train`."""
    spec = SGD(lr=1e-3)
    return spec.build(parameter_groups(spec, method))


def bare(network: str, device: torch.device) -> Callable[[], None]:
    """Return the step of the network alone, as fast as ours in float32."""
    layout = torch.channels_last
    model = timm.create_model(network, num_classes=10).to(device).to(memory_format=layout)
    method = Supervised(model, nn.CrossEntropyLoss())
    optimizer = make_optimizer(method)
    images = torch.randn(BATCH_SIZE, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.randint(10, (BATCH_SIZE,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        method.loss(Batch.of(images, labels)).loss.backward()
        optimizer.step()

    return step


def endless(epoch: Callable[[int], Iterator]) -> Iterator:
    """Yield the batches of one epoch after the other."""
    for number in count():
        yield from epoch(number)


def steps_for(step: Callable[[], None], *, seconds: float) -> int:
    """Return how many steps take so long."""
    step()
    start = time.perf_counter()
    for _ in range(3):
        step()
    return max(2, round(3 * seconds / (time.perf_counter() - start)))


def print_rows(rows: list[dict]) -> None:
    table = Table(title=f"training, batch {BATCH_SIZE}: medians, and quartiles over turns")
    for column in ("network", "loop", "images/s", "x the first loop", "turns"):
        table.add_column(column, justify="left" if column in ("network", "loop") else "right")
    for row in rows:
        faster = row["faster"]
        table.add_row(
            row["network"],
            row["loop"],
            f"{row['images_per_second']:,.0f}",
            f"{faster['median']:.2f} ({faster['lower']:.2f}-{faster['upper']:.2f})",
            str(row["seconds"]["runs"]),
        )
    Console().print(table)


if __name__ == "__main__":
    main()

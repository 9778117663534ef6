"""Speed of augmentation: images a second, and images for each second of a core.

    python benchmarks/bench_augment.py --threads 1       on a quiet machine, about six minutes
    python benchmarks/bench_augment.py --device cuda

Everyone starts from the same 10,240 images of 32 x 32 pixels in memory, as bytes, and ends
with shuffled batches of 128 as normalized float32 on the device. Contestants take turns; a
turn is one epoch. torchvision changes one image after the other, in a ``DataLoader`` with
two workers or with none, from Pillow's images or from tensors: each time in the fastest way
we know. kornia works on a whole batch as we do, but its RandAugment and AutoAugment draw one
operation for all images of a batch, which is less work and another augmentation.

Core seconds are summed over all processes, including the start of workers. The target compares
them with the better of torchvision's two ``DataLoader``s with workers.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from kornia.augmentation.auto import AutoAugment as KorniaAutoAugment
from kornia.augmentation.auto import RandAugment as KorniaRandAugment
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1
from torchvision.transforms import v2

from measure import parse, record, spread
from semaug.augmentation import (
    Augmentation,
    AutoAugment,
    Compose,
    CropFlip,
    Cutout,
    RandAugment,
    normalize,
)
from semaug.engine.device import choose_device
from semaug.errors import UserError

NUM_IMAGES = 10_240
BATCH_SIZE = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
HOLE = 16
MIN_TURNS = 3

# Name; our operator, torchvision's and kornia's, or none; the target for images a core-second.
CASES: list[tuple[str, Augmentation | None, Any, Any, float]] = [
    ("crop, flip, cutout", None, None, None, 10),
    (
        "and RandAugment(2, 9)",
        RandAugment(2, 9),
        v2.RandAugment(2, 9),
        KorniaRandAugment(n=2, m=9),
        5,
    ),
    (
        "and AutoAugment, CIFAR-10",
        AutoAugment("cifar10"),
        v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        KorniaAutoAugment("cifar10"),
        5,
    ),
]

Epoch = Callable[[], Iterator[Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--compile", action="store_true", help="let torch.compile enter as well")
    arguments = parse(parser, seconds=60.0)
    try:
        device = choose_device(arguments.device)
    except UserError as error:
        print(f"skipped: {error}")
        return
    torch.manual_seed(0)
    images = natural_images(NUM_IMAGES)
    rows = []
    for name, ours, torchvisions, kornias, target in CASES:
        compiled = {}
        if arguments.compile:
            compiled["semaug, compiled"] = semaug_epochs(images, ours, device, compiled=True)
        contestants = {
            "semaug": semaug_epochs(images, ours, device),
            **compiled,
            **torchvision_epochs(images, torchvisions, device),
            "kornia, a batch at once": kornia_epochs(images, kornias, device),
        }
        rows.append(compare(name, contestants, target, device, arguments.seconds))
    show(rows)
    print(f"added to {record('bench_augment', arguments.device, rows)}")


def natural_images(count: int) -> Tensor:
    """Sum noise of all sizes, the finer the fainter, as in photographs: (count, 3, 32, 32)."""
    octaves = [
        F.interpolate(torch.randn(count, 3, 2**k, 2**k), size=(32, 32), mode="bilinear") / 1.6**k
        for k in range(6)
    ]
    return (sum(octaves) * 45 + 120).clamp_(0, 255).byte()


def semaug_epochs(
    images: Tensor, extra: Augmentation | None, device: torch.device, *, compiled: bool = False
) -> Epoch:
    """Draw decisions for the epoch, and change a batch at once."""
    crop, hole = CropFlip(padding=4), Cutout(HOLE, fill=tuple(round(255 * x) for x in MEAN))
    augment = Compose(crop, hole) if extra is None else Compose(crop, extra, hole)
    images = images.to(device)
    generator = torch.Generator().manual_seed(0)

    def change(images: Tensor, draws: Tensor) -> Tensor:
        return normalize(augment(images, draws), MEAN, STD)

    if compiled:
        change = torch.compile(change, fullgraph=True)

    def epoch() -> Iterator[Tensor]:
        draws = augment.draw(len(images), generator).to(device)
        order = torch.randperm(len(images), generator=generator).to(device)
        for own in order.split(BATCH_SIZE):
            yield change(images.index_select(0, own), draws.index_select(0, own))

    return epoch


class Pictures(Dataset):
    """A set of images that are changed one after the other."""

    def __init__(self, images: Tensor, transform: Callable[[Any], Tensor], pillow: bool) -> None:
        # As in torchvision's CIFAR10: an array, from which each picture is made when needed.
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy() if pillow else images
        self.transform, self.pillow = transform, pillow

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Tensor:
        image = self.images[place]
        return self.transform(Image.fromarray(image) if self.pillow else image)


def torchvision_epochs(images: Tensor, extra: Any, device: torch.device) -> dict[str, Epoch]:
    """Use the faster of torchvision's two generations for each step."""
    # A hole that is never cut at the border, and so a little larger than ours.
    hole = {"p": 1.0, "scale": ((HOLE / 32) ** 2,) * 2, "ratio": (1.0, 1.0)}
    policy = [extra] if extra is not None else []
    pillow = v1.Compose(
        [
            v1.RandomCrop(32, padding=4),
            v1.RandomHorizontalFlip(),
            *policy,
            v1.ToTensor(),
            v1.Normalize(MEAN, STD),
            v1.RandomErasing(**hole),
        ]
    )
    tensor = v1.Compose(
        [
            v1.RandomCrop(32, padding=4),
            v1.RandomHorizontalFlip(),
            *policy,
            v1.ConvertImageDtype(torch.float32),
            v1.Normalize(MEAN, STD),
            v1.RandomErasing(**hole),
        ]
    )

    def epochs(transform: Callable[[Any], Tensor], is_pillow: bool, num_workers: int) -> Epoch:
        loader = DataLoader(
            Pictures(images, transform, is_pillow),
            batch_size=BATCH_SIZE,
            shuffle=True,
            num_workers=num_workers,
            pin_memory=device.type == "cuda",
        )

        def epoch() -> Iterator[Tensor]:
            for batch in loader:
                yield batch.to(device, non_blocking=True)

        return epoch

    return {
        f"torchvision, {kind}, {num_workers} workers": epochs(
            transform, kind == "Pillow", num_workers
        )
        for num_workers in (2, 0)
        for kind, transform in (("Pillow", pillow), ("tensors", tensor))
    }


def kornia_epochs(images: Tensor, extra: Any, device: torch.device) -> Epoch:
    """Change a batch of float32 from 0 to 1 at once."""
    steps = torch.nn.Sequential(
        K.RandomCrop((32, 32), padding=4),
        K.RandomHorizontalFlip(),
        *([extra] if extra is not None else []),
        K.Normalize(MEAN, STD),
        K.RandomErasing(scale=((HOLE / 32) ** 2,) * 2, ratio=(1.0, 1.0), p=1.0),
    ).to(device)
    images = images.to(device)

    def epoch() -> Iterator[Tensor]:
        for own in torch.randperm(len(images)).to(device).split(BATCH_SIZE):
            yield steps(images.index_select(0, own).float().div_(255))

    return epoch


def compare(
    name: str,
    contestants: dict[str, Epoch],
    target: float,
    device: torch.device,
    seconds: float,
) -> dict[str, Any]:
    """Let contestants take turns, an epoch each."""
    for epoch in contestants.values():
        batch = next(epoch())
        assert batch.shape == (BATCH_SIZE, 3, 32, 32)
        assert batch.dtype == torch.float32
        assert batch.device == device
    wall: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    core: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(core["semaug"]) < MIN_TURNS:
        for contestant, epoch in contestants.items():
            took = time_of(epoch, device)
            wall[contestant].append(NUM_IMAGES / took[0])
            core[contestant].append(NUM_IMAGES / took[1])
    per_second = {contestant: spread(own) for contestant, own in wall.items()}
    per_core_second = {contestant: spread(own) for contestant, own in core.items()}
    reference = max(
        (contestant for contestant in contestants if "2 workers" in contestant),
        key=lambda contestant: per_core_second[contestant]["median"],
    )
    ratio = per_core_second["semaug"]["median"] / per_core_second[reference]["median"]
    return {
        "what": name,
        "batch_size": BATCH_SIZE,
        "images_per_second": per_second,
        "images_per_core_second": per_core_second,
        "reference": reference,
        "faster": ratio,
        "targets": {"faster": target},
    }


def time_of(epoch: Epoch, device: torch.device) -> tuple[float, float]:
    """Return the seconds of an epoch: of the clock, and of all cores together."""
    wall, core = time.perf_counter(), core_seconds()
    for _ in epoch():
        pass
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, core_seconds() - core


def core_seconds() -> float:
    """Return what this process has used, and those that it has started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(own.ru_utime + own.ru_stime for own in used)


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    console = Console(width=160)
    table = Table(title=f"batches of {BATCH_SIZE}, 3 x 32 x 32: thousands of images, medians")
    for column in ("augmentation", "contestant", "a second", "a core-second", "semaug is faster"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        for contestant, per_second in row["images_per_second"].items():
            per_core = row["images_per_core_second"][contestant]
            ratio = row["images_per_core_second"]["semaug"]["median"] / per_core["median"]
            is_reference = contestant == row["reference"]
            table.add_row(
                row["what"] if contestant == "semaug" else "",
                contestant,
                f"{per_second['median'] / 1000:.1f}",
                f"{per_core['median'] / 1000:.1f} "
                f"({per_core['lower'] / 1000:.1f}-{per_core['upper'] / 1000:.1f})",
                f"{ratio:.1f}x" + f" (target {row['targets']['faster']})" * is_reference,
            )
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()

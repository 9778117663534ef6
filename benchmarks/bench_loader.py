"""Photographs a second from files to batches: ours against torchvision in a DataLoader.

    python benchmarks/bench_loader.py --workers 0 1 2     on a quiet machine, three minutes
    python benchmarks/bench_loader.py --record            add the result to results/

Everybody decodes the same synthetic JPEGs of 500 x 375 pixels (about 80 kB, as in ImageNet),
takes a random resized crop of 224 x 224 and delivers batches of bytes, with the same number of
processes, which persist from epoch to epoch. Contestants: torchvision's ``ImageFolder`` with
images of Pillow, the usual choice ("Pillow"), and with its own decoder and tensors ("tensors").
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from measure import alternate, parse, record, spread
from semaug.data.class_folders import find_images
from semaug.data.loader import Loader
from semaug.data.views import RandomResizedCrop

HEIGHT, WIDTH, SIZE = 375, 500, 224
BATCH_SIZE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="processes")
    parser.add_argument("--images", type=int, default=512, help="in an epoch")
    parser.add_argument("--record", action="store_true", help="add the rows to results/")
    arguments = parse(parser, seconds=40.0)
    # Of torchvision's decoder, on every call.
    warnings.filterwarnings("ignore", ".*TorchCodec", DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), arguments.images)
        rows = [compare(Path(folder), workers, arguments.seconds) for workers in arguments.workers]
    show(rows)
    if arguments.record:
        print(f"added to {record('bench_loader', 'cpu', rows)}")


def write_photographs(folder: Path, count: int) -> None:
    """Write smooth colors with some grain, which JPEG packs about as well as photographs."""
    rng = np.random.default_rng(0)
    (folder / "class").mkdir()
    for i in range(count):
        coarse = Image.fromarray(
            rng.integers(0, 256, (HEIGHT // 10, WIDTH // 10, 3), dtype=np.uint8)
        )
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        grain = rng.normal(0, 8, smooth.shape)
        pixels = (smooth + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "class" / f"{i:04}.jpg", quality=90)


def compare(folder: Path, workers: int, seconds: float) -> dict[str, Any]:
    """Time whole epochs of all contestants."""
    with ExitStack() as stack:
        contestants = {
            "Pillow": exhaust(pillow_folder(folder, workers)),
            "tensors": exhaust(tensor_folder(folder, workers)),
            "semaug": ours(folder, workers, stack),
        }
        times = alternate(contestants, torch.device("cpu"), seconds=seconds)
    count = len(find_images(folder))
    summary = {name: spread(own) for name, own in times.items()}
    return {
        "workers": workers,
        "images": count,
        "seconds": summary,
        "images_per_second": {name: count / own["median"] for name, own in summary.items()},
    }


def ours(folder: Path, workers: int, stack: ExitStack) -> Callable[[], None]:
    images, view = find_images(folder), RandomResizedCrop(SIZE)
    loader = stack.enter_context(Loader(images, batch_size=BATCH_SIZE, view=view, workers=workers))

    def run() -> None:
        order = torch.randperm(len(images))
        draws = view.draw(len(images), torch.default_generator)
        for _ in loader.epoch(order, view_draws=draws):
            pass

    return run


def pillow_folder(folder: Path, workers: int) -> DataLoader[Any]:
    transform = v2.Compose([v2.RandomResizedCrop(SIZE), v2.PILToTensor()])
    return loader_of(ImageFolder(folder, transform), workers)


def tensor_folder(folder: Path, workers: int) -> DataLoader[Any]:
    from torchvision.io import decode_image

    def decode(path: str) -> torch.Tensor:
        return decode_image(path, mode="RGB")

    crop = v2.RandomResizedCrop(SIZE, antialias=True)
    return loader_of(ImageFolder(folder, crop, loader=decode), workers)


def loader_of(images: ImageFolder, workers: int) -> DataLoader[Any]:
    return DataLoader(
        images,
        BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )


def exhaust(batches: Iterable[Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in batches:
            pass

    return run


def show(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]["seconds"])
    table = Table(title=f"images/s (quartiles); without workers {torch.get_num_threads()} threads")
    for heading in ("workers", *names, *(f"over {name}" for name in names[:2])):
        table.add_column(heading, justify="right")
    for row in rows:
        rates = row["images_per_second"]
        cells = [show_rate(row["images"], row["seconds"][name]) for name in names]
        ratios = [f"{rates['semaug'] / rates[name]:.2f}" for name in names[:2]]
        table.add_row(str(row["workers"]), *cells, *ratios)
    Console().print(table)


def show_rate(count: int, seconds: dict[str, float]) -> str:
    median, lower, upper = (count / seconds[name] for name in ("median", "upper", "lower"))
    return f"{median:.0f} ({lower:.0f}-{upper:.0f})"


if __name__ == "__main__":
    main()

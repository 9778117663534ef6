"""Batches of a set, in memory or in files, for one process or for many.

The order of an epoch is cut into joint batches, and each of them into one piece for each rank.
Nothing is repeated, nothing is skipped, and all pieces together are the batch of one process.
An epoch may begin at any step: what came before is not read.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor

from semaug._torch.checks import (
    check_floating,
    check_int,
    check_labels,
    check_positive_int,
    check_range,
    check_shapes,
)
from semaug.data.image_set import FileSet, ImageSet
from semaug.data.views import View

if TYPE_CHECKING:
    from semaug.data.workers import FileReader

# N images of the set, n images of a batch, C channels, H and W pixels.


def epoch_order(num_images: int, generator: torch.Generator) -> Tensor:
    """Draw the order in which one epoch visits the images.

    Batches are consecutive pieces of it; a shorter one at the end is kept.

    Args:
        num_images: Size of the set.
        generator: On the CPU.

    Returns:
        ``(num_images,)`` int64, a permutation, on the CPU.
    """
    return torch.randperm(num_images, generator=generator)


class LoadedBatch(NamedTuple):
    """Images and where they stand in the set and in the order, on the device of the labels."""

    pixels: Tensor  # (n, C, H, W) uint8
    labels: Tensor  # (n,) int64, or masks (n, H, W) int64
    positions: Tensor  # (n,) int64, places in the set
    rows: slice  # n places in the order, to find what else was drawn for each of its places


class Loader:
    """Delivers the batches of one epoch after the other.

    An :class:`ImageSet` is indexed where it lies. The files of a :class:`FileSet` are decoded
    ahead of time by processes, which start with the first epoch and stay for all others; leave
    the loader as a context manager, or call :meth:`close`, to end them.

    >>> images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
    >>> numbers = ImageSet(images, torch.tensor([0, 1, 0, 1, 0]), ("even", "odd"))
    >>> with Loader(numbers, batch_size=2) as loader:
    ...     for batch in loader.epoch(torch.tensor([4, 1, 0, 3, 2])):
    ...         print(batch.positions.tolist(), batch.labels.tolist())
    [4, 1] [0, 1]
    [0, 3] [0, 1]
    [2] [0]

    Args:
        images: What to deliver.
        batch_size: Images in a joint batch, of all ranks together. The last one may be shorter.
        view: Makes pictures of one size of what is decoded; None if the files are of one size.
        workers: Processes that decode files; 0 decodes in this one. How many there are changes
            no result. An :class:`ImageSet` needs none, whatever is asked for.
        rank: Which piece of each batch is delivered.
        world_size: Number of pieces.

    Raises:
        TypeError: If a number is not an int.
        ValueError: If a number is out of range, or a ``view`` is given for images in memory.
    """

    def __init__(
        self,
        images: ImageSet | FileSet,
        *,
        batch_size: int,
        view: View | None = None,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_positive_int("Loader", batch_size=batch_size, world_size=world_size)
        check_int("Loader", "workers", workers, 0)
        _check_index("Loader", "rank", rank, world_size)
        if view is not None and isinstance(images, ImageSet):
            raise ValueError(
                f"Loader: expected no `view` of images that lie in memory, ready and of one size, "
                f"got {view}"
            )
        self.images, self.batch_size = images, batch_size
        self._view, self._workers = view, workers
        self._rank, self._world_size = rank, world_size
        self._reader: FileReader | None = None

    def epoch(
        self, order: Tensor, *, view_draws: Tensor | None = None, first_step: int = 0
    ) -> Iterator[LoadedBatch]:
        """Deliver the images in an order.

        Args:
            order: int64 positions in the set, such as :func:`semaug.data.epoch_order`; any
                number of them, an image as often as wanted, on any device.
            view_draws: ``(len(order), view.num_draws)`` float32, one row for each place of the
                order, on the CPU. Not needed by a view that draws nothing.
            first_step: Begin with this batch.

        Returns:
            An iterator over what is left of the epoch. A rank for which the last joint batch
            has no image gets an empty batch of the usual shape, so that all ranks take the same
            number of steps. A loader delivers one epoch at a time; to begin another one ends it.

        Raises:
            TypeError: If ``order`` is not int64, or ``view_draws`` are no floating-point numbers.
            ValueError: If a position is not in the set, a shape or ``first_step`` does not fit,
                or draws are missing or not used.
            LoadError: While iterating, if a process was killed, or the epoch was ended. Torch
                reports a killed process wherever the main thread is, as ``RuntimeError``:
                :func:`semaug.data.explain_worker_death`. The next epoch starts new processes.
            OSError: While iterating, if a file cannot be read.
        """
        check_shapes("epoch", order=(order, "n"))
        check_labels("epoch", order, "order")
        check_range("epoch", "order", order, len(self.images))
        steps = math.ceil(len(order) / self.batch_size)
        _check_index("epoch", "first_step", first_step, steps + 1)
        draws = self._check_draws(view_draws, len(order))
        pieces = self._pieces(len(order), first_step)
        if isinstance(self.images, FileSet):
            return self._from_files(self.images, order, draws, list(pieces))
        return _from_memory(self.images, order, pieces)

    def close(self) -> None:
        """End the processes that decode; another epoch would start new ones."""
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _pieces(self, length: int, first_step: int) -> Iterator[slice]:
        """Yield where in the order this rank's part of each batch stands."""
        for start in range(first_step * self.batch_size, length, self.batch_size):
            size = min(self.batch_size, length - start)
            share, larger = divmod(size, self._world_size)  # as `torch.tensor_split`
            begin = start + self._rank * share + min(self._rank, larger)
            yield slice(begin, begin + share + (self._rank < larger))

    def _from_files(
        self, images: FileSet, order: Tensor, draws: Tensor, pieces: list[slice]
    ) -> Iterator[LoadedBatch]:
        from semaug.data.workers import FileReader, requests  # torchvision is slow to import

        labels = images.labels
        if self._reader is None:
            self._reader = FileReader(
                *(images.paths, self._view),
                workers=self._workers,
                pin_memory=labels.is_cuda,
                masks=images.masks,
            )
        results = self._reader.read(requests(order.cpu(), draws, pieces))
        order = order.to(labels.device)
        for piece, found in zip(pieces, results, strict=True):
            positions = order[piece]
            pixels, *masks = found if images.masks else (found,)
            pixels, *masks = (x.to(labels.device, non_blocking=True) for x in (pixels, *masks))
            own = masks[0].long() if masks else labels[positions]
            yield LoadedBatch(pixels, own, positions, piece)

    def _check_draws(self, draws: Tensor | None, length: int) -> Tensor:
        """Check the draws of the view, and return them, or none for each place of the order."""
        num_draws = 0 if self._view is None else self._view.num_draws
        if draws is None and num_draws == 0:
            return torch.empty(length, 0)
        if draws is None:
            raise ValueError(
                f"epoch: expected `view_draws` of shape ({length}, {num_draws}) for "
                f"{self._view}, got none"
            )
        if self._view is None:
            raise ValueError(
                f"epoch: expected no `view_draws` without a `view`, got {tuple(draws.shape)}"
            )
        check_shapes("epoch", view_draws=(draws, f"{length} {num_draws}"))
        check_floating("epoch", view_draws=draws)
        return draws.float().cpu()


def batches(
    images: ImageSet | FileSet,
    order: Tensor,
    *,
    batch_size: int,
    first_step: int = 0,
    view: View | None = None,
    view_draws: Tensor | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[LoadedBatch]:
    """Deliver one epoch, with processes of its own for files, which end with it.

    For several epochs a :class:`Loader` keeps the processes. To measure an error, ``order`` is
    ``torch.arange(len(images))``, and ``view`` one that draws nothing.

    Args:
        images: What to deliver.
        order: int64 positions in the set.
        batch_size: Images in a joint batch, of all ranks together.
        first_step: Begin with this batch.
        view: Makes pictures of one size of what is decoded.
        view_draws: One row for each place of the order.
        workers: Processes that decode files; 0 decodes in this one.
        rank: Which piece of each batch is delivered.
        world_size: Number of pieces.

    Returns:
        An iterator; closing it, or dropping it, ends the processes.

    Raises:
        LoadError: While iterating, if a process was killed; see :meth:`Loader.epoch`.
        OSError: While iterating, if a file cannot be read.
        TypeError: As :class:`Loader` and :meth:`Loader.epoch`.
        ValueError: Likewise; and while iterating, if a file is damaged.
    """
    loader = Loader(
        images,
        batch_size=batch_size,
        view=view,
        workers=workers,
        rank=rank,
        world_size=world_size,
    )
    return _then_close(loader, loader.epoch(order, view_draws=view_draws, first_step=first_step))


def _then_close(loader: Loader, epoch: Iterator[LoadedBatch]) -> Iterator[LoadedBatch]:
    with loader:
        yield from epoch


def _from_memory(images: ImageSet, order: Tensor, pieces: Iterator[slice]) -> Iterator[LoadedBatch]:
    order = order.to(images.labels.device)
    for piece in pieces:
        positions = order[piece]
        labels = images.labels[positions].long()  # masks lie as bytes
        yield LoadedBatch(images.images[positions], labels, positions, piece)


def _check_index(function: str, name: str, value: int, stop: int) -> None:
    """Check an int from 0 to below ``stop``."""
    if not 0 <= check_int(function, name, value, -(2**63)) < stop:
        raise ValueError(f"{function}: expected `{name}` in 0..{stop - 1}, got {value}")

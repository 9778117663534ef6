"""What a run keeps of single images of its last test, for people to look at.

A metric may bring a keeper, see :meth:`semaug.metrics.Metric.keeper`. The last test of a run shows
it every batch, and the run writes what it returns as ``tested.npz``. A report knows by
``kind`` what is in there; the engine does not.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Answers",
    "ClassificationKeeper",
    "Counts",
    "Keeper",
    "MaskKeeper",
    "PictureKeeper",
    "Pictures",
    "size_within",
    "thumbnails",
]

# N test images, n of them, C classes, H and W pixels.

_MOST_PICTURED = 48  # images with the highest losses, and as many with the largest margins
_LONGEST_SIDE = 64  # of these pictures, in pixels
_MOST_MASKS, _LONGEST_SIDE_OF_MASKS = 12, 192  # images whose masks are kept; pixels
_LONGEST_SIDE_OF_PICTURES = 384  # of images whose pictures are kept; as many

# Returns test images at positions (n,) as bytes (1 or 3, H, W); None if they are no pictures.
Pictures = Callable[[Tensor], Sequence[Tensor] | None]


class Counts(nn.Module):
    """What is counted of predictions, in buffers that begin at zero and may be summed."""

    @torch.no_grad()
    def merge(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Replace each buffer by its sum over processes, which the function returns."""
        for buffer in self.buffers():
            buffer.copy_(sum_over_processes(buffer))

    @torch.no_grad()
    def reset(self) -> None:
        """Forget what was counted."""
        for buffer in self.buffers():
            buffer.zero_()


class Keeper(Counts, ABC):
    """Keeps something of single test images, batch by batch.

    Each process fills the places of its own images and leaves the others at zero. What is kept is
    to grow slowly with the number of images, and not with that of classes.
    """

    kind: str

    @abstractmethod
    def update(self, outputs: Tensor, labels: Tensor, positions: Tensor) -> None:
        """Look at a batch. No accelerator is waited for.

        Args:
            outputs: As of :meth:`semaug.metrics.Metric.update`.
            labels: Likewise.
            positions: ``(n,)`` int64, places of the images among those of the test.
        """

    @abstractmethod
    def arrays(self, pictures: Pictures) -> dict[str, Tensor]:
        """Return what is written, by name, after the test of all processes. This waits.

        Args:
            pictures: Reads test images again, for :func:`thumbnails` of a few dozen.
        """


@dataclass(frozen=True, eq=False)
class Answers:
    """What networks said of images that have one label each; all on the CPU.

    Args:
        labels: ``(N,)`` int64.
        predictions: ``(N,)`` int64, the classes with the highest outputs.
        label_log_probs: ``(N,)`` float32, logarithms of the probabilities of the labels.
        prediction_log_probs: ``(N,)`` float32, of the predicted classes.
    """

    labels: Tensor
    predictions: Tensor
    label_log_probs: Tensor
    prediction_log_probs: Tensor

    @classmethod
    def joined(cls, several: "list[Answers]") -> Self:
        """Put answers one after the other."""
        return cls(*(torch.cat([vars(one)[name] for one in several]) for name in vars(several[0])))

    @property
    def margins(self) -> Tensor:
        """p(predicted class) - p(label), ``(N,)`` float32; 0 where the label is predicted."""
        return self.prediction_log_probs.exp() - self.label_log_probs.exp()

    def doubts(self) -> Tensor:
        """Return how much each label is doubted, ``(N,)`` float32: 0 if it is not, at most 1.

        It is the margin of images whose predicted class is another one, and at least as probable as
        it is on average for the images that are labeled so. Confident learning takes such images
        for labeled wrongly, and ranks them by this margin.

        Source: Northcutt et al., 2021, https://arxiv.org/abs/1911.00068, Eq. (2) and section 3.2

        >>> def answers(labels, predictions, label_probs, prediction_probs):
        ...     numbers = torch.tensor([label_probs, prediction_probs]).log()
        ...     return Answers(torch.tensor(labels), torch.tensor(predictions), *numbers)
        >>> found = answers([0, 0, 1, 1], [0, 0, 1, 0], [0.9, 0.7, 0.6, 0.1], [0.9, 0.7, 0.6, 0.9])
        >>> found.doubts().tolist()[:3], round(found.doubts().tolist()[3], 2)
        ([0.0, 0.0, 0.0], 0.8)
        """
        num_classes = int(torch.cat([self.labels, self.predictions]).max()) + 1
        totals = torch.zeros(num_classes, dtype=torch.float64)
        totals.index_add_(0, self.labels, self.label_log_probs.exp().double())
        usual = totals / torch.bincount(self.labels, minlength=num_classes)  # NaN without images
        is_usual = self.prediction_log_probs.exp() >= usual[self.predictions]
        return torch.where((self.predictions != self.labels) & is_usual, self.margins, 0.0)


class ClassificationKeeper(Keeper):
    """Keeps :class:`Answers`, and pictures of those images that are predicted worst.

    Args:
        labels: ``(N,)`` int64 of all test images.
    """

    kind = "classification"
    predictions: Tensor  # (N,) int64
    log_probs: Tensor  # (2, N) float32, of label and prediction

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.labels = labels  # no buffer: every process knows them
        self.register_buffer("predictions", torch.zeros_like(labels))
        log_probs = torch.zeros(2, len(labels), device=labels.device)
        self.register_buffer("log_probs", log_probs)

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor, positions: Tensor) -> None:
        """Look at a batch; see :meth:`Keeper.update`."""
        log_probs = outputs.float().log_softmax(dim=1)
        best, guesses = log_probs.max(dim=1)
        own = log_probs.gather(1, labels.unsqueeze(1)).squeeze(1)
        self.predictions[positions] = guesses
        self.log_probs[:, positions] = torch.stack([own, best])

    def arrays(self, pictures: Pictures) -> dict[str, Tensor]:
        """Return the answers, ``pictures`` and their positions ``shown``; see :class:`Keeper`."""
        table = self.labels, self.predictions, *self.log_probs
        answers = Answers(*(own.cpu() for own in table))
        ranks = -answers.label_log_probs, answers.margins
        order = [rank.argsort(descending=True, stable=True)[:_MOST_PICTURED] for rank in ranks]
        shown = torch.cat(order).unique()
        found = pictures(shown)
        if found is None:
            return vars(answers)
        return {**vars(answers), "shown": shown, "pictures": thumbnails(found)}


class MaskKeeper(Keeper):
    """Keeps truth and prediction of a few test images, evenly spread, made small.

    Args:
        labels: ``(N, H, W)`` of all test images, of which only N is asked.
    """

    kind = "segmentation"
    masks: Tensor  # (2, K + 1, S, S) int32, class of truth and prediction and 1 more; 0 for none
    sizes: Tensor  # (K + 1, 2) int64, height and width; the last image is all that are not shown

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        device = labels.device
        self.shown, rows = _spread(len(labels))
        self.rows, count = rows.to(device), len(self.shown)
        side = _LONGEST_SIDE_OF_MASKS
        masks = torch.zeros(2, count + 1, side, side, dtype=torch.int32, device=device)
        self.register_buffer("masks", masks)
        sizes = torch.zeros(count + 1, 2, dtype=torch.int64, device=device)
        self.register_buffer("sizes", sizes)

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor, positions: Tensor) -> None:
        """Look at a batch; see :meth:`Keeper.update`."""
        height, width = size_within(_LONGEST_SIDE_OF_MASKS, *labels.shape[1:])
        ids = torch.where((labels >= 0) & (labels < outputs.shape[1]), labels, -1)
        both = torch.stack([ids, outputs.argmax(dim=1)]).float() + 1
        small = F.interpolate(both, (height, width), mode="nearest-exact").int()
        rows = self.rows[positions]
        self.masks[:, rows, :height, :width] = small
        for column, side in enumerate((height, width)):
            self.sizes[:, column].index_fill_(0, rows, side)

    def arrays(self, pictures: Pictures) -> dict[str, Tensor]:
        """Return what was kept of images ``shown``, and their ``pictures``; see :class:`Keeper`."""
        masks, sizes = self.masks[:, :-1].cpu().short(), self.sizes[:-1].cpu()
        kept = {"shown": self.shown, "sizes": sizes, "truth": masks[0], "prediction": masks[1]}
        if (found := pictures(self.shown)) is None:
            return kept
        return kept | {"pictures": thumbnails(found, sizes.tolist())}


class PictureKeeper(Keeper):
    """Keeps pictures that a loop made of a few test images, evenly spread, made small.

    Args:
        num_images: N.
        columns: What the pictures of an image are, such as ``("image", "truth", "prediction")``.
    """

    kind = "pictures"
    pictures: Tensor  # (K, columns, S, S, 3) uint8
    sizes: Tensor  # (K, 2) int64, height and width; 0 of those that this process did not see

    def __init__(self, num_images: int, columns: Sequence[str]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.shown, self.rows = _spread(num_images)
        side, count = _LONGEST_SIDE_OF_PICTURES, len(self.shown)
        pictures = torch.zeros(count, len(columns), side, side, 3, dtype=torch.uint8)
        self.register_buffer("pictures", pictures)
        self.register_buffer("sizes", torch.zeros(count, 2, dtype=torch.int64))

    def wants(self, position: int) -> bool:
        """Whether pictures of an image are kept."""
        return int(self.rows[position]) < len(self.shown)

    @staticmethod
    def small(image: Tensor) -> Tensor:
        """Return an image ``(3, H, W)`` uint8 as large as it is kept, to draw on it."""
        size = size_within(_LONGEST_SIDE_OF_PICTURES, *image.shape[1:])
        return thumbnails([image], [size])[0].movedim(-1, 0)

    def update(self, outputs: Tensor, labels: Tensor, positions: Tensor) -> None:
        """Keep pictures of images that :meth:`wants` names.

        Args:
            outputs: ``(n, columns, h, w, 3)`` uint8, of the size of :meth:`small`.
            labels: Not used.
            positions: ``(n,)`` int64, places of the images among those of the test.
        """
        rows, (height, width) = self.rows[positions], outputs.shape[2:4]
        self.pictures[rows, :, :height, :width] = outputs
        self.sizes[rows] = torch.tensor([height, width])

    def arrays(self, pictures: Pictures) -> dict[str, Tensor]:
        """Return what was kept by column, of images ``shown``, and their ``sizes``."""
        height, width = self.sizes.amax(0).tolist() if len(self.shown) else (0, 0)
        columns = zip(self.columns, self.pictures.cpu().unbind(1), strict=True)
        kept = {name: own[:, :height, :width] for name, own in columns}
        return {"shown": self.shown, "sizes": self.sizes.cpu(), **kept}


def _spread(num_images: int) -> tuple[Tensor, Tensor]:
    """Choose a few images, evenly spread: their places, and of each image its row among them."""
    count = min(_MOST_MASKS, num_images)
    shown = torch.arange(count) * num_images // max(count, 1)
    rows = torch.full((num_images,), count)
    rows[shown] = torch.arange(count)
    return shown, rows


def thumbnails(images: Sequence[Tensor], sizes: Sequence[Sequence[int]] | None = None) -> Tensor:
    """Make images ``(1 or 3, H, W)`` uint8 small, in colors.

    Args:
        images: At least one.
        sizes: Height and width of each; None is at most 64 pixels a side.

    Returns:
        ``(n, h, w, 3)`` uint8 on the CPU; below and right of smaller ones it is black.
    """
    sizes = sizes or [size_within(_LONGEST_SIDE, *image.shape[1:]) for image in images]
    height, width = map(max, zip(*sizes, strict=True))
    shown = torch.zeros(len(images), 3, height, width, dtype=torch.uint8)
    for room, image, (rows, columns) in zip(shown, images, sizes, strict=True):
        wide = image[None].cpu().float()
        small = F.interpolate(wide, (rows, columns), mode="bilinear", antialias=True)
        room[:, :rows, :columns] = small[0].round().clamp(0, 255).byte()
    return shown.movedim(1, -1).contiguous()


def size_within(longest: int, height: int, width: int) -> tuple[int, int]:
    """Return height and width of an image that is made smaller, if it is longer."""
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))

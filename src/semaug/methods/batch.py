"""What a method takes and gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Batch", "Samples", "StepOutput", "Stream", "Term", "View"]


class Samples(NamedTuple):
    """Images of a stream as the network takes them, and what a method may know of them."""

    images: Tensor  # (N, 3, H, W) float32; (V, N, 3, H, W) where a method wants V > 1 views
    labels: Tensor | None = None  # (N,) or (N, H, W) int64, -100 is ignored; None: unlabeled
    targets: Tensor | None = None  # (N, C) soft targets of mixed images, instead of the labels
    positions: Tensor | None = None  # (N,) int64, places in the set, the same in all epochs

    @property
    def wanted(self) -> Tensor:
        """Soft targets of mixed images, else the labels."""
        wanted = self.labels if self.targets is None else self.targets
        assert wanted is not None, "an unlabeled stream has nothing to learn from a label"
        return wanted


class Batch(NamedTuple):
    """What one step sees: samples of each stream by name, and which step of the run it is."""

    streams: dict[str, Samples]
    # Optimizer steps done before, in the whole run. Compiled code gets an int64 scalar on the CPU,
    # or each step would be a graph of its own.
    step: int | Tensor = 0

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, targets: Tensor | None = None) -> "Batch":
        """Return a batch of one stream, ``"labeled"``."""
        return cls({"labeled": Samples(images, labels, targets)})

    @property
    def labeled(self) -> Samples:
        """The stream ``"labeled"``."""
        return self.streams["labeled"]

    @property
    def unlabeled(self) -> Samples:
        """The stream ``"unlabeled"``."""
        return self.streams["unlabeled"]


class Term(NamedTuple):
    """A part of the loss: its mean over the images of a stream, or over ``size`` of something else.

    Several processes weight it by their shares of the images, or of that size.
    """

    value: Tensor  # scalar
    stream: str = "labeled"
    size: Tensor | None = None  # scalar >= 0: how many the mean is over, such as pixels


class StepOutput(NamedTuple):
    """What one step computed."""

    terms: dict[str, Term]  # parts of the loss, which is their sum
    # (N, C, ...) logits of the labeled stream, or of several by name, each for a metric of its own.
    outputs: Tensor | Mapping[str, Tensor] | None = None
    # Scalars, means over the labeled stream or else the first; as terms, over another one.
    logs: Mapping[str, Tensor | Term] = {}
    kept: Any = None  # what `after_step` wants back

    @property
    def loss(self) -> Tensor:
        """The sum of all terms."""
        first, *others = (term.value for term in self.terms.values())
        return torch.stack([first, *others]).sum() if others else first

    def outputs_of_streams(self) -> Mapping[str, Tensor]:
        """Return the logits of each stream that has some, by its name."""
        outputs = {} if self.outputs is None else self.outputs
        return {"labeled": outputs} if isinstance(outputs, Tensor) else outputs


@dataclass(frozen=True, kw_only=True)
class View:
    """How one picture is made of an image.

    Args:
        augment: Spec of the augmentation; None is that of the recipe.
        shares: Names of random operations, such as ``"flip"``, that turn out as in the first
            view; see :attr:`semaug.augmentation.Augmentation.draw_names`.
    """

    augment: Any = None
    shares: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Images that a method wants of the training part, a batch of them at each step.

    Args:
        part: ``"train"``, with labels, ``"unlabeled"``, without, or one of
            the others of a :class:`semaug.data.DataSet`, with labels.
        batch_size: Images in a step; None is that of the recipe.
        views: How each image is shown.
        passes: How often an image passes through the networks; None is once for each view.
        epoch_batch_size: Images of a step by which epochs are counted, where other streams take
            the places of some of them: then this stream cycles too. None is its own.
    """

    part: str = "train"
    batch_size: int | None = None
    views: tuple[View, ...] = (View(),)
    passes: int | None = None
    epoch_batch_size: int | None = None

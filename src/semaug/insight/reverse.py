"""Reverse mapping: images whose deep features are those that augmentation draws.

A generator g makes images, a network sees features f(image). Gradient descent searches the input z
of the generator, first for an image x with features a, then for augmented features ã:

    step I     z  = argmin |f(g(ẑ)) - a|^2 / A + eta |g(ẑ) - x|^2 / P     Eq. (20)
    step II    z' = argmin |f(g(ẑ')) - ã|^2 / A, beginning at z           Eq. (21)
    with ẑ = (z - mean(z)) / std(z)

for A features and P values of pixels from -1 to 1. The paper writes squared norms and speaks of
mean square errors. Its learning rates are those of means: with norms, the first step of rate 10
takes z so far away that it hardly moves again. The objective does not change with the scale of z,
so every step lengthens z; weight decay is what shortens it.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, Appendix E
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from semaug._torch.checks import check_at_least, check_positive_int
from semaug.engine.seeding import make_generator
from semaug.errors import UserError
from semaug.generation.generator import Generator
from semaug.insight.files import Kept

__all__ = ["Inverter", "ReverseMapping", "Search"]

# N images, A features, Z numbers that an image is made of.

_PIXELS_AT_ONCE = 2**20  # of images through both networks


class Inverter(Protocol):
    """What finds images for features; images are from -1 for black to 1 for white."""

    name: ClassVar[str]  # for a person

    def reconstruct(self, images: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return codes ``(N, Z)`` of images ``(N, C, H, W)`` with features ``(N, A)``."""

    def augment(self, codes: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Return codes ``(N, Z)`` of images with the features ``(N, A)``, beginning at codes."""

    def make(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return the images ``(N, C, H, W)`` of codes."""

    def random(self, labels: Tensor, generator: torch.Generator) -> Tensor | None:
        """Return images of classes at random; None if it can make none."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How z is searched; all but the last three are the paper's values for CIFAR.

    Args:
        iterations: Of gradient descent in each step. The learning rate falls to a tenth after each
            quarter of them.
        reconstruction_lr: Learning rate of step I.
        augmentation_lr: Learning rate of step II.
        momentum: Of gradient descent.
        weight_decay: Of z.
        pixel_weight: Weight eta of pixels in step I. The paper does not print it. The released
            code for ImageNet has 5e-3 for sums over pixels of standard deviation 1; on images of
            32 x 32 pixels with 64 features that is 1 for means over pixels from -1 to 1.
        restarts: Searches in step I, of which the best is kept.
        starts: Each search begins at the best of so many z from N(0, 1).

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range.
    """

    iterations: int = 10_000
    reconstruction_lr: float = 10.0
    augmentation_lr: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    pixel_weight: float = 1.0
    restarts: int = 4
    starts: int = 64

    def __post_init__(self) -> None:
        counts = ("iterations", "restarts", "starts")
        check_positive_int("Search", **{name: getattr(self, name) for name in counts})
        for name in (
            "reconstruction_lr",
            "augmentation_lr",
            "momentum",
            "weight_decay",
            "pixel_weight",
        ):
            check_at_least("Search", name, getattr(self, name), 0)


class ReverseMapping:
    """Searches the inputs of a generator for features of a network.

    Args:
        generator: Makes images; one class stands for images without classes.
        see: Maps images ``(N, C, H, W)`` from -1 to 1 to features ``(N, A)``, each by itself, such
            as a network in evaluation mode, with gradients to the images.
        search: How.
        seed: Of the first z.
        kept: Where searches that were stopped are found.
        advance: Called with the number of iterations that were made; a part of one, where
            images are searched a part at a time.

    Raises:
        UserError: If the generator takes fewer than two numbers from N(0, 1).
    """

    name: ClassVar[str] = "generator"  # for a person

    def __init__(
        self,
        generator: Generator,
        see: Callable[[Tensor], Tensor],
        search: Search | None = None,
        *,
        seed: int = 0,
        kept: Kept | None = None,
        advance: Callable[[float], None] = lambda count: None,
    ) -> None:
        self.generator, self.see, self.search = generator, see, search or Search()
        self.seed, self.kept, self.advance = seed, kept or Kept(), advance
        self._noise = generator.z_size - generator.num_codes
        if self._noise < 2:
            raise UserError(
                f"{generator.name}: expected a generator of at least 2 numbers from N(0, 1), whose "
                f"mean and deviation Eq. (20) takes out, got {self._noise}"
            )
        height, width = generator.image[1:]
        self._at_once = max(1, _PIXELS_AT_ONCE // (height * width))

    def make(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return ``g(ẑ)`` of z ``(N, Z)`` and labels ``(N,)``, images from -1 to 1."""
        noise, others = codes.split([self._noise, self.generator.num_codes], dim=1)
        std, mean = torch.std_mean(noise, dim=1, keepdim=True)
        inputs = torch.cat([(noise - mean) / std, others.clamp(-1, 1)], dim=1)
        low, high = self.generator.value_range
        known = labels if self.generator.num_classes > 1 else torch.zeros_like(labels)
        return (self.generator(inputs, known).to(codes) - low) * (2 / (high - low)) - 1

    def objective(
        self, codes: Tensor, labels: Tensor, features: Tensor, images: Tensor | None = None
    ) -> Tensor:
        """Return what is minimized, ``(N,)``: Eq. (20) with images, Eq. (21) without."""
        made = self.make(codes, labels)
        loss = (self.see(made) - features).square().mean(dim=1)
        if images is None:
            return loss
        return loss + self.search.pixel_weight * (made - images).square().flatten(1).mean(dim=1)

    def reconstruct(self, images: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Step I: return z ``(N, Z)`` of the best restart for each image.

        Args:
            images: ``(N, C, H, W)`` from -1 to 1.
            features: ``(N, A)``, of the images.
            labels: ``(N,)`` int64.

        Raises:
            UserError: If all searches for an image diverged.
        """
        restarts, starts = self.search.restarts, self.search.starts
        random = make_generator(self.seed, "reverse mapping")
        drawn = self.generator.draw(restarts * starts, random).to(features)
        begin = []
        for *one, label in zip(features, images, labels, strict=True):
            wanted = [x.expand(starts, *x.shape) for x in (label, *one)]
            for tried in drawn.split(starts):
                with torch.no_grad():
                    begin.append(tried[self.objective(tried, *wanted).argmin()])
        wanted = [x.repeat_interleave(restarts, dim=0) for x in (labels, features, images)]
        found, losses = self._searched(torch.stack(begin), self.search.reconstruction_lr, *wanted)
        losses = losses.nan_to_num(nan=torch.inf).view(-1, restarts)
        self._check(losses.amin(dim=1))
        places = losses.argmin(dim=1) + restarts * torch.arange(len(losses), device=losses.device)
        return found[places]

    def augment(self, codes: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Step II: return z ``(N, Z)`` for features ``(N, A)``, beginning at codes ``(N, Z)``.

        Raises:
            UserError: If a search diverged.
        """
        found, losses = self._searched(codes, self.search.augmentation_lr, labels, targets)
        self._check(losses)
        return found

    def random(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return images of z drawn as in training."""
        codes = self.generator.draw(len(labels), generator).to(labels.device)
        with torch.no_grad():
            return self.make(codes, labels)

    def _check(self, losses: Tensor) -> None:
        if not losses.isfinite().all():
            raise UserError("reverse mapping: the search diverged; choose lower learning rates")

    def _searched(self, codes: Tensor, lr: float, *wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes and what they come to, of some images at a time."""
        parts = zip(*(x.split(self._at_once) for x in (codes, *wanted)), strict=True)
        found = torch.cat(
            [self._descend(*part, lr=lr, share=len(part[0]) / len(codes)) for part in parts]
        )
        parts = zip(*(x.split(self._at_once) for x in (found, *wanted)), strict=True)
        with torch.no_grad():
            return found, torch.cat([self.objective(*part) for part in parts])

    def _descend(self, codes: Tensor, *wanted: Tensor, lr: float, share: float) -> Tensor:
        """Minimize the objective of a share of all images by gradient descent with momentum."""
        search = self.search
        with torch.no_grad():
            name = _digest((search, lr), codes, *wanted, self.objective(codes, *wanted))
        state: dict[str, Any] = self.kept.get(name) or {
            "iteration": 0,
            "codes": codes,
            "velocity": torch.zeros_like(codes),
        }
        velocity, codes = (state[key].to(codes) for key in ("velocity", "codes"))
        self.advance(share * state["iteration"])
        try:
            for iteration in range(state["iteration"], search.iterations):
                codes = codes.requires_grad_()
                (gradient,) = torch.autograd.grad(self.objective(codes, *wanted).sum(), codes)
                codes = codes.detach()
                velocity = search.momentum * velocity + gradient + search.weight_decay * codes
                codes = codes - lr * 0.1 ** (4 * iteration // search.iterations) * velocity
                state = {"iteration": iteration + 1, "codes": codes, "velocity": velocity}
                self.kept.put(name, state)
                self.advance(share)
        finally:
            self.kept.put(name, state, now=True)
        return codes


def _digest(settings: object, *tensors: Tensor) -> str:
    """Name a search by all that decides it."""
    parts = [repr(settings).encode(), *(x.detach().cpu().numpy().tobytes() for x in tensors)]
    return hashlib.sha256(b"".join(parts)).hexdigest()

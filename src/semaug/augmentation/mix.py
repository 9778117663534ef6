"""Mixup and CutMix: an image and another one of its batch become one, and so do their labels.

Mixup lays one image over the other, transparently; CutMix puts a box of one into the other.

Sources: Zhang et al., ICLR 2018, https://arxiv.org/abs/1710.09412
         Yun et al., ICCV 2019, https://arxiv.org/abs/1905.04899, Algorithm 1
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from semaug._torch.checks import (
    check_at_least,
    check_channels_first,
    check_floating,
    check_labels,
    check_number,
    check_positive_int,
    check_shapes,
)
from semaug.augmentation.operator import check_probability

# N images of C channels, H and W pixels; K classes.


def mixup(images: Tensor, targets: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``lam * own + (1 - lam) * partner``, of images and of targets.

    The partner of an image is the one before it in the batch; that of the first is the last.

    Args:
        images: ``(N, C, H, W)``, floating-point.
        targets: ``(N, K)``, how much of each class an image is.
        lam: ``(N,)``, from 0 to 1: the share that an image keeps.

    Returns:
        Images and targets of the same shapes and dtypes.

    Raises:
        TypeError: If one of them does not hold floating-point numbers.
        ValueError: If shapes disagree.
    """
    _check("mixup", images=(images, "N C H W"), targets=(targets, "N K"), lam=(lam, "N"))
    return _mix(images, lam.view(-1, 1, 1, 1)), _mix(targets, lam.unsqueeze(1))


def cutmix(images: Tensor, targets: Tensor, lam: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Replace a box of each image by that of its partner, and as much of its targets.

    The box has ``1 - lam`` of the area and the shape of the image. Its middle may be any
    pixel, so that part of the box may lie outside: targets keep the share of the pixels that
    an image really keeps. The partner of an image is the one before it in the batch; that of
    the first is the last.

    Args:
        images: ``(N, C, H, W)``, floating-point.
        targets: ``(N, K)``, how much of each class an image is.
        lam: ``(N,)``, from 0 to 1.
        places: ``(N, 2)``, from 0 to below 1: row and column of the middle, in shares of
            height and width.

    Returns:
        Images and targets of the same shapes and dtypes.

    Raises:
        TypeError: If one of them does not hold floating-point numbers.
        ValueError: If shapes disagree.
    """
    rest = {"targets": (targets, "N K"), "lam": (lam, "N"), "places": (places, "N 2")}
    _check("cutmix", images=(images, "N C H W"), **rest)
    box, kept = _box(lam, places, height=images.shape[2], width=images.shape[3])
    return torch.where(box, images.roll(1, 0), images), _mix(targets, kept.unsqueeze(1))


@dataclass(frozen=True)
class Mix:
    """Mix every image of a batch with another one, by Mixup or by CutMix.

    With both, each image draws one of them. Partners come from the same batch, so unlike an
    :class:`~semaug.augmentation.Augmentation` the result depends on the batch. An image alone
    in its batch stays as it is.

    Args:
        mixup_alpha: Shares of Mixup follow a Beta(alpha, alpha) distribution; 0 is no Mixup.
        cutmix_alpha: Likewise for CutMix; 1, the value of the paper, is a uniform one.
        switch_probability: With both, how many of the images take CutMix.

    Raises:
        TypeError: If one is not a number.
        ValueError: If one is negative, both alphas are 0, or the probability is above 1.

    >>> mix = Mix(mixup_alpha=0.2, cutmix_alpha=1.0)
    >>> draws = mix.draw(8, torch.Generator().manual_seed(0))
    >>> images, targets = mix(torch.rand(8, 3, 4, 4), torch.arange(8), draws, num_classes=10)
    >>> targets.shape
    torch.Size([8, 10])
    """

    num_draws = 4  # lam, row and column of the box, which of the two

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    switch_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("mixup_alpha", "cutmix_alpha"):
            check_number("Mix", name, getattr(self, name))
            check_at_least("Mix", name, getattr(self, name), 0)
        if self.mixup_alpha == 0 and self.cutmix_alpha == 0:
            raise ValueError("Mix: expected `mixup_alpha` or `cutmix_alpha` > 0, got 0 for both")
        check_probability("Mix", "switch_probability", self.switch_probability)

    def draw(self, num_images: int, generator: torch.Generator) -> Tensor:
        """Draw the decisions of one epoch, one row for each image of the set.

        Args:
            num_images: Size of the set.
            generator: On the CPU.

        Returns:
            ``(num_images, 4)`` float32 on the CPU: lam, which follows the Beta distribution,
            and three uniform numbers.
        """
        draws = torch.rand(num_images, self.num_draws, generator=generator)
        is_cutmix = self._is_cutmix(draws)
        for alpha, rows in ((self.mixup_alpha, ~is_cutmix), (self.cutmix_alpha, is_cutmix)):
            if alpha > 0:
                draws[rows, 0] = _beta_quantile(alpha, draws[rows, 0])
        return draws

    def __call__(
        self, images: Tensor, labels: Tensor, draws: Tensor, num_classes: int
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: ``(N, C, H, W)``, floating-point.
            labels: ``(N,)`` int64, from 0 to below K.
            draws: ``(N, 4)``, the rows of :meth:`draw` for these images. On an accelerator
                they should lie there already: moving them makes the host wait.
            num_classes: K.

        Returns:
            ``(N, C, H, W)`` of the same dtype, and targets ``(N, K)``, float32 or better.

        Raises:
            TypeError: If a dtype is another one.
            ValueError: If shapes disagree, or ``num_classes`` is below 1.
        """
        check_shapes("Mix", images=(images, "N C H W"), labels=(labels, "N"), draws=(draws, "N 4"))
        check_channels_first("Mix", images)
        check_floating("Mix", images=images, draws=draws)
        check_labels("Mix", labels)
        check_positive_int("Mix", num_classes=num_classes)
        draws = draws.to(images.device)
        lam = draws[:, 0]
        is_cutmix = self._is_cutmix(draws)
        box, kept = _box(lam, draws[:, 1:3], height=images.shape[2], width=images.shape[3])
        # CutMix is a Mixup whose share is 0 in the box and 1 elsewhere.
        share = torch.where(is_cutmix.view(-1, 1, 1, 1), ~box, lam.view(-1, 1, 1, 1))
        kept = torch.where(is_cutmix, kept, lam)

        dtype = torch.promote_types(images.dtype, torch.float32)
        targets = torch.zeros(len(labels), num_classes, dtype=dtype, device=images.device)
        targets.scatter_(1, labels.unsqueeze(1), 1.0)
        return _mix(images, share), _mix(targets, kept.unsqueeze(1))

    def _is_cutmix(self, draws: Tensor) -> Tensor:
        if self.mixup_alpha > 0 and self.cutmix_alpha > 0:
            return draws[:, 3] < self.switch_probability
        return torch.full_like(draws[:, 3], self.cutmix_alpha > 0, dtype=torch.bool)


def _check(function: str, **tensors: tuple[Tensor, str]) -> None:
    check_shapes(function, **tensors)
    check_channels_first(function, tensors["images"][0])
    check_floating(function, **{name: tensor for name, (tensor, _) in tensors.items()})


def _mix(own: Tensor, share: Tensor) -> Tensor:
    """Return ``share * own + (1 - share) * partner``, exactly ``own`` if both are the same."""
    return torch.lerp(own.roll(1, 0), own, share.to(own.dtype))


def _box(lam: Tensor, places: Tensor, *, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return which pixels lie in the box, (N, 1, H, W) bool, and the share outside, (N,)."""
    side = 0.5 * (1 - lam).sqrt()  # half of it, in shares of the image
    rows, columns = _near(places[:, 0], side, height), _near(places[:, 1], side, width)
    area = rows.sum(dim=1) * columns.sum(dim=1)
    box = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
    return box, 1 - area.to(lam.dtype) / (height * width)


def _near(place: Tensor, side: Tensor, length: int) -> Tensor:
    """Tell which of ``length`` rows, or columns, the box covers, (N, length) bool."""
    middle, half = ((x * length).long() for x in (place, side))
    row = torch.arange(length, device=place.device)
    return (row >= (middle - half).unsqueeze(1)) & (row < (middle + half).unsqueeze(1))


def _beta_quantile(alpha: float, uniform: Tensor) -> Tensor:
    """Turn uniform numbers into such of a Beta(alpha, alpha) distribution."""
    if alpha == 1:
        return uniform
    from scipy.special import betaincinv  # the losses work without scipy

    quantile = betaincinv(alpha, alpha, uniform.double().numpy())
    return torch.from_numpy(quantile).to(uniform.dtype)

"""ZCA: whiten the pixels of images, and leave the images as recognizable as that allows.

    z = W (x - mean)    with W = (S + regularization I)^(-1/2), S the covariance of pixels

Source: Krizhevsky, 2009, "Learning multiple layers of features from tiny images", appendix A
"""

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import (
    check_bool,
    check_floating,
    check_number,
    check_positive_int,
    check_shapes,
)

# N images of C channels, H and W pixels; D = C * H * W.

_IMAGES_AT_ONCE = 1024  # of those whose moments are summed, to bound the memory
_SMALLEST_VARIANCE = 1e-8  # of images in 0..1; those of CIFAR-10 are above 1e-6
_GCN_NORM, _GCN_REGULARIZATION = 55, 0.1  # L2 norm of an image after contrast normalization


def fit_whitening(kind: bool | str, images: Tensor) -> Callable[[Tensor], Tensor]:
    """Fit one of the whitenings of semi-supervised learning.

    - ``True``: that of Laine and Aila, ``1 / sqrt(S + 1e-5)``.
    - ``"vat"``: that of Miyato et al., ``1 / sqrt(S) + 1e-6``.
    - ``"contrast"``: global contrast normalization, then ``1 / sqrt(S + 0.1)``; half the scale of
      the others.
    - ``"per_image"``: no ZCA; each image gets mean 0 and standard deviation 1 over all its values,
      as SVHN by Laine and Aila.

    Args:
        kind: Which.
        images: ``(N, C, H, W)``, all that are trained on.

    Returns:
        A function of images ``(N, C, H, W)``, bytes among them, to numbers of this shape.
    """
    if kind == "per_image":
        return standardized
    if kind == "vat":
        return ZCA.fit(images, regularization=1e-6, outside_root=True)
    if kind == "contrast":
        # (a^2 S + r I)^(-1/2) a = (S + r / a^2 I)^(-1/2), where a takes standard deviation 1 to 55.
        regularization = _GCN_REGULARIZATION * images[0].numel() / _GCN_NORM**2
        return ZCA.fit(images, regularization=regularization, contrast_normalization=True)
    return ZCA.fit(images)


def standardized(images: Tensor) -> Tensor:
    """Give each image mean 0 and standard deviation 1 over all its values; one color becomes 0."""
    pixels = images.flatten(1).to(torch.promote_types(images.dtype, torch.float32))
    centered = pixels - pixels.mean(dim=1, keepdim=True)
    deviation = centered.square().mean(dim=1, keepdim=True).sqrt_()
    return (centered / deviation.clamp_(min=1e-8)).view(images.shape)


class ZCA(nn.Module):
    """Whitening of images by the covariance of all their pixels, and its inverse.

    Common on CIFAR-10 in semi-supervised training, in place of
    :func:`~semaug.augmentation.normalize`. It is fitted once, and kept in buffers::

        whiten = ZCA.fit(data.train.images)
        images = whiten(data.train.images[:128])

    Built by hand, it changes nothing until a ``state_dict`` is loaded.

    Args:
        num_channels: C.
        height: H.
        width: W.
        contrast_normalization: Whether each image is first given mean 0 and standard
            deviation 1 over all its values, as by Laine & Aila, arXiv:1610.02242.

    Raises:
        TypeError: If a size is not an int, or ``contrast_normalization`` not a bool.
        ValueError: If a size is below 1.
    """

    mean: Tensor  # (C, H, W), of the images fitted
    whitening: Tensor  # (D, D), symmetric
    coloring: Tensor  # (D, D), its inverse

    def __init__(
        self, num_channels: int, height: int, width: int, *, contrast_normalization: bool = False
    ) -> None:
        super().__init__()
        check_positive_int("ZCA", num_channels=num_channels, height=height, width=width)
        check_bool("ZCA", "contrast_normalization", contrast_normalization)
        size = num_channels * height * width
        self.contrast_normalization = contrast_normalization
        self.register_buffer("mean", torch.zeros(num_channels, height, width))
        self.register_buffer("whitening", torch.eye(size))
        self.register_buffer("coloring", torch.eye(size))

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        images: Tensor,
        *,
        regularization: float = 1e-5,
        outside_root: bool = False,
        contrast_normalization: bool = False,
    ) -> Self:
        """Find the whitening of a set of images, in float64.

        Time is that of N D^2 operations for the covariance and about 10 D^3 for its
        eigenvectors, and memory that of a few D x D matrices.

        Args:
            images: ``(N, C, H, W)``; bytes are divided by 255.
            regularization: Added to all variances, so that directions in which images hardly
                differ are not blown up to noise.
            outside_root: Whether it is added to ``S^(-1/2)`` instead, where it does next to
                nothing.
            contrast_normalization: As of the class.

        Returns:
            A module on the device of the images.

        Raises:
            TypeError: If images are neither bytes nor floating-point numbers,
                ``regularization`` is not a number, or ``outside_root`` or
                ``contrast_normalization`` not a bool.
            ValueError: If there are none, or ``regularization`` is not positive.
        """
        check_shapes("ZCA.fit", images=(images, "N C H W"))
        check_number("ZCA.fit", "regularization", regularization)
        check_bool("ZCA.fit", "outside_root", outside_root)
        if not 0 < regularization < math.inf:
            raise ValueError(f"ZCA.fit: expected finite `regularization` > 0, got {regularization}")
        if len(images) == 0:
            raise ValueError("ZCA.fit: expected at least one of `images`, got none")
        zca = cls(*images.shape[1:], contrast_normalization=contrast_normalization)
        zca.to(images.device)

        mean, covariance = zca._moments(images)
        variance, directions = torch.linalg.eigh(covariance)
        if outside_root:  # pixels that never vary stay 0
            scale = 1 / (variance.clamp_(min=_SMALLEST_VARIANCE).rsqrt_() + regularization)
        else:
            scale = variance.clamp_(min=0).add_(regularization).sqrt_()
        zca.mean.copy_(mean.view_as(zca.mean))
        zca.whitening.copy_((directions / scale) @ directions.mT)
        zca.coloring.copy_((directions * scale) @ directions.mT)
        return zca

    def forward(self, images: Tensor) -> Tensor:
        """Whiten images.

        Args:
            images: ``(N, C, H, W)``; bytes are divided by 255.

        Returns:
            ``(N, C, H, W)`` of the dtype of the buffers, contiguous.

        Raises:
            TypeError: If images are neither bytes nor floating-point numbers.
            ValueError: If they are of another size than those fitted.
        """
        check_shapes("ZCA", fitted=(self.mean, "C H W"), images=(images, "N C H W"))
        with without_autocast(images.device):
            pixels = self._pixels(images, self.mean.dtype) - self.mean.flatten()
            return (pixels @ self.whitening).view(images.shape)

    def inverse(self, images: Tensor) -> Tensor:
        """Turn whitened images back, to look at them; their contrast stays normalized.

        Args:
            images: ``(N, C, H, W)``, whitened.

        Returns:
            ``(N, C, H, W)`` of the dtype of the buffers, bytes divided by 255.

        Raises:
            TypeError: If they are not floating-point numbers.
            ValueError: If they are of another size than those fitted.
        """
        check_shapes("ZCA.inverse", fitted=(self.mean, "C H W"), images=(images, "N C H W"))
        check_floating("ZCA.inverse", images=images)
        with without_autocast(images.device):
            pixels = images.flatten(1).to(self.mean.dtype) @ self.coloring
            return (pixels + self.mean.flatten()).view(images.shape)

    def extra_repr(self) -> str:
        """Show the size of images."""
        sizes = ", ".join(map(str, self.mean.shape))
        return f"{sizes}, contrast_normalization={self.contrast_normalization}"

    def _pixels(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the pixels of each image in a row, (N, D), before the mean is taken off."""
        pixels = images.flatten(1).to(dtype)
        if images.dtype == torch.uint8:
            pixels.div_(255)
        else:
            check_floating("ZCA", images=images)
        return standardized(pixels) if self.contrast_normalization else pixels

    def _moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) of the pixels, float64."""
        pieces = images.split(_IMAGES_AT_ONCE)
        totals = [self._pixels(piece, torch.float64).sum(dim=0) for piece in pieces]
        mean = torch.stack(totals).sum(dim=0) / len(images)
        scatter = mean.new_zeros(len(mean), len(mean))
        for piece in pieces:
            centered = self._pixels(piece, torch.float64) - mean
            scatter.addmm_(centered.mT, centered)
        return mean, scatter.div_(len(images))

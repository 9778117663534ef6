"""The four test sets of the AIT paper: images as they are, cropped, grey, in other colors.

They are drawn by a seed for each place in a set of images, so that every network is tested on the
same pixels. They depend on the images, the seed and ``hue`` alone: each machine draws the same
bytes, batch by batch or all at once, whenever a network is tested, and nothing is stored.

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 4.4, Table 5

The text says that training turns images grey with probability 0.1. Of the test set it says
"grayscale" only, and Table 5 shows that every image is grey there: networks that never saw a grey
image lose 20 points and more on it (63.77 to 42.51 with flips alone), of which one image in ten
would cost them 2. The colors of the paper do not change in hue; its released code turns hues by up
to 0.1 too (``hue=0.1``).
"""

import hashlib

import torch
from torch import Tensor

from semaug._torch.checks import check_at_least, check_int, check_number, check_shapes
from semaug.augmentation import Augmentation, ColorJitter, CropFlip, Grayscale
from semaug.engine.seeding import make_generator

# N images, H and W pixels.

# By name, with what people call them.
TEST_SETS = {
    "original": "original",
    "random_crop": "random crop",
    "grayscale": "grayscale",
    "random_color": "random color",
}

_PADDING_SHARE = 8  # the side of an image over its padding: 4 black pixels of 32 in the paper
_BIAS = 0.1  # the most that brightness, contrast and saturation change by


def random_color(hue: float = 0.0) -> ColorJitter:
    """Return the color jitter of section 4.4: brightness, contrast and saturation up to 0.1.

    Args:
        hue: As a share of a turn, at most one half; 0.1 is that of the released code.
    """
    return ColorJitter(_BIAS, _BIAS, _BIAS, hue)


def choose_padding(images: Tensor) -> int:
    """Return how many black pixels the random crop puts on each side: an eighth of the shorter one.

    That is 4 of 32, as in the paper, 1 of 8 and 28 of 224.

    Args:
        images: ``(..., H, W)``, as they are cropped.
    """
    return min(images.shape[-2:]) // _PADDING_SHARE


class SetMaker:
    """Makes the test sets of any batch of N images, by decisions drawn for all of them at once.

    What an image becomes depends on the seed and its place alone, not on the batch it is in.

    Args:
        num_images: N.
        seed: Decides crops and colors.
        hue: Most that ``random_color`` turns hues by; 0 in the paper.
        padding: See :func:`choose_padding`.

    Raises:
        TypeError: If an option is not a number.
        ValueError: If an option is out of range.

    >>> images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    >>> make = SetMaker(4, seed=0, padding=1)
    >>> whole, last = make(images, torch.arange(4)), make(images[3:], torch.tensor([3]))
    >>> all(torch.equal(whole[name][3:], last[name]) for name in TEST_SETS)
    True
    """

    def __init__(self, num_images: int, *, seed: int, padding: int, hue: float = 0.0) -> None:
        _check_options("SetMaker", seed, hue)
        self._changes: dict[str, Augmentation] = {
            "random_crop": CropFlip(padding, "zero", flip=False),
            "grayscale": Grayscale(1.0),
            "random_color": random_color(hue),
        }
        self._draws = {
            name: change.draw(num_images, make_generator(seed, f"test set {name}"))
            for name, change in self._changes.items()
        }

    def __call__(self, images: Tensor, places: Tensor) -> dict[str, Tensor]:
        """Make the test sets of a batch, where it lies.

        Args:
            images: ``(n, 3, H, W)`` uint8, as they are.
            places: ``(n,)`` int64, which of the N images they are.

        Returns:
            As :func:`make_test_sets`.
        """
        changed = {
            name: change(images, self._draws[name][places.cpu()].to(images.device)).contiguous()
            for name, change in self._changes.items()
        }
        return {"original": images, **changed}


def make_test_sets(images: Tensor, *, seed: int = 0, hue: float = 0.0) -> dict[str, Tensor]:
    """Draw the test sets, on the CPU.

    Args:
        images: ``(N, 3, H, W)`` uint8, as they are.
        seed: Decides crops and colors.
        hue: Most that ``random_color`` turns hues by; 0 in the paper.

    Returns:
        For each name in ``TEST_SETS`` ``(N, 3, H, W)`` uint8; image n is image n of ``images``.

    Raises:
        TypeError: If images are not bytes, or an option not a number.
        ValueError: If the shape is another one, images are too small, or an option is out of range.

    >>> sets = make_test_sets(torch.full((2, 3, 8, 8), 100, dtype=torch.uint8))
    >>> sets["grayscale"].unique(), sets["random_crop"].unique()
    (tensor([100], dtype=torch.uint8), tensor([  0, 100], dtype=torch.uint8))
    """
    _check_options("make_test_sets", seed, hue)
    check_shapes("make_test_sets", images=(images, "N 3 H W"))
    make = SetMaker(len(images), seed=seed, hue=hue, padding=choose_padding(images))
    return make(images.cpu(), torch.arange(len(images)))


def sum_of_images(images: Tensor) -> str:
    """Return the SHA-256 of images ``(N, 3, H, W)`` uint8, and of how many and how large they are.

    >>> sum_of_images(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))[:12]
    'ced2d71d3f70'
    """
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    digest.update(images.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _check_options(function: str, seed: int, hue: float) -> None:
    check_int(function, "seed", seed, 0)
    check_number(function, "hue", hue)
    check_at_least(function, "hue", hue, 0)
    if hue > 0.5:
        raise ValueError(f"{function}: expected `hue` <= 0.5, got {hue}")

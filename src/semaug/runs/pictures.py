"""Pictures that a run writes while it trains, such as samples of a generator, as PNG files."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from semaug.runs.files import write_atomically

_FOLDER = "pictures"  # in the folder of a run
_GAP = 2  # pixels between images
_SMALLEST = 32  # smaller images are enlarged to it


def grid(images: Tensor, columns: int) -> Tensor:
    """Put images side by side, small ones enlarged, on white.

    Args:
        images: ``(N, 1 or 3, H, W)`` uint8.
        columns: Images in a row.

    Returns:
        ``(h, w, 3)`` uint8 on the CPU.

    >>> grid(torch.zeros(5, 3, 32, 32, dtype=torch.uint8), columns=3).shape
    torch.Size([70, 104, 3])
    """
    factor = max(1, _SMALLEST // max(images.shape[2:]))
    large = images.cpu().repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    count, (height, width) = len(large), large.shape[2:]
    rows = -(-count // columns)
    size = 3, rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP
    picture = torch.full(size, 255, dtype=torch.uint8)
    for place, image in enumerate(large):
        row, column = divmod(place, columns)
        top, left = row * (height + _GAP) + _GAP, column * (width + _GAP) + _GAP
        picture[:, top : top + height, left : left + width] = image
    return picture.movedim(0, -1)


def write_picture(path: Path, picture: Tensor) -> None:
    """Write ``(h, w, 3)`` uint8 as a PNG.

    Raises:
        OSError: If the disk does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture.contiguous().numpy())
    write_atomically(path, lambda file: image.save(file, "PNG"))


def picture_of_step(folder: Path, step: int) -> Path:
    """Return the file of the picture that a run writes after a step.

    >>> picture_of_step(Path("runs/digits_wgan/seed0"), 500).as_posix()
    'runs/digits_wgan/seed0/pictures/step-0000500.png'
    """
    return folder / _FOLDER / f"step-{step:07d}.png"


def pictures_of(folder: Path) -> dict[int, Path]:
    """Return the pictures of a run by their step, in order."""
    found = sorted((folder / _FOLDER).glob("step-*.png"))
    return {int(path.stem.removeprefix("step-")): path for path in found}

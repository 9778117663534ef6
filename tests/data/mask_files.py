"""Small photographs with masks for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pair(image: Path, mask: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Write a photograph whose left part is dark (class 0) and whose right part is light (1).

    The middle column of the mask has no class. Returns the mask, ``(H, W)`` uint8.
    """
    rng = np.random.default_rng(seed)
    edge = int(rng.integers(1, width - 1))
    numbers = np.zeros((height, width), np.uint8)
    numbers[:, edge:] = 1
    pixels = 60 + 120 * numbers[..., None] + rng.integers(0, 20, (height, width, 3))
    numbers[:, edge] = 255
    for path, content in ((image, pixels.astype(np.uint8)), (mask, numbers)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(path)
    return numbers


def write_masks(root: Path, sizes: dict[str, list[tuple[int, int]]]) -> None:
    """Write parts by their names, with a photograph of each size, and ``classes.txt``."""
    for part, wanted in sizes.items():
        for place, (height, width) in enumerate(wanted):
            folder, name = root / part, f"{place}.png"
            write_pair(folder / "images" / name, folder / "masks" / name, height, width, place)
    (root / "classes.txt").write_text("dark\nlight\n", encoding="utf-8")

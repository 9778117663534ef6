"""Small files of images for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, height: int = 8, width: int = 8, seed: int = 0) -> np.ndarray:
    """Write random pixels and return them, ``(H, W, 3)``; a JPEG holds something close."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def write_folders(root: Path, layout: dict[str, list[str]]) -> None:
    """Write empty files, whose names are all that matters: folder to names."""
    for folder, names in layout.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).touch()

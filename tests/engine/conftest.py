"""Images in files, for tests of the engine."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photographs(tmp_path):
    """Return a function that makes a folder of photographs of several sizes."""
    numbers = np.random.default_rng(0)

    def make(*classes, name="photographs", train=5, test=3):
        for part, count in (("train", train), ("val", test)):
            for kind in classes or ("cat", "dog"):
                folder = tmp_path / name / part / kind
                folder.mkdir(parents=True)
                for place in range(count):
                    pixels = numbers.integers(256, size=(18 + 2 * place, 24, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{place}.png")
        return tmp_path / name

    return make

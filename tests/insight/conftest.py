"""Runs that are trained once for all tests of this folder; nothing may change them."""

import numpy as np
import pytest
from PIL import Image

from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from tests.tiny import tiny_run, train_quietly

CPU = TrainOptions(device="cpu", workers=0)


def trained_on(root, *arguments, **options):
    run = tiny_run(root, *arguments)
    train_quietly(run, **options)
    return load_trained(run.folder, CPU)


@pytest.fixture(scope="session")
def with_isda(tmp_path_factory):
    root = tmp_path_factory.mktemp("isda")
    return trained_on(root, "digits_resnet8_isda", "strength=1", keep_checkpoints=2)


@pytest.fixture(scope="session")
def without(tmp_path_factory):
    return trained_on(tmp_path_factory.mktemp("baseline"), "digits_resnet8", "epochs=1")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Return a folder of three photographs of other sizes than the digits, and a file beside."""
    folder = tmp_path_factory.mktemp("photographs")
    numbers = np.random.default_rng(0)
    for place in range(3):
        pixels = numbers.integers(256, size=(10 + place, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")
    (folder / "note.txt").touch()
    return folder

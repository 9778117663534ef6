"""Runs that are trained once for all tests of this folder."""

import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.recipes import find_recipe
from semaug.runs.run import Run

CPU = TrainOptions(device="cpu")
TINY = "train_per_class=10,test_images=60,batch_size=32,evaluation_batch_size=25"


def files_of(root):
    """Return how images in files are read in tests: by one process."""
    return TrainOptions(root, "cpu", workers=0)


def train_run(name, recipe, root, seed=0, options=CPU):
    """Train a run and return its folder."""
    run = Run(name, recipe, seed, root=root)
    train(run, options, console=Console(quiet=True))
    return run.folder


@pytest.fixture(scope="session")
def _trained(tmp_path_factory):
    """Train two recipes with two seeds each, and return the folder that holds them."""
    root = tmp_path_factory.mktemp("trained") / "runs"
    for name in ("digits_resnet8", "digits_resnet8_isda"):
        for seed in (0, 1):
            train_run(name, find_recipe(f"{name},{TINY},epochs=3"), root, seed)
    return root


@pytest.fixture
def runs(_trained, tmp_path, monkeypatch):
    """Return a copy of these runs, with an empty data root beside it."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("SEMAUG_DATA", str(tmp_path / "data"))
    return shutil.copytree(_trained, tmp_path / "runs")


@pytest.fixture
def run(runs):
    """Return the folder of one of them."""
    return runs / "digits_resnet8" / "seed0"


@pytest.fixture(scope="session")
def _together(tmp_path_factory):
    """Train two networks together, and return the folder of the run."""
    recipe = find_recipe(f"digits_resnet8,{TINY},epochs=2,method=multi_ait,peers=resnet8_cifar")
    return train_run("digits_pair", recipe, tmp_path_factory.mktemp("together") / "runs")


@pytest.fixture
def pair(_together, tmp_path, monkeypatch):
    """Return a copy of this folder."""
    monkeypatch.setenv("SEMAUG_DATA", str(tmp_path))
    return shutil.copytree(_together, tmp_path / "runs" / "digits_pair" / "seed0")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Return a folder with images of many sizes: train/ and val/, two classes each."""
    root = tmp_path_factory.mktemp("photographs")
    numbers = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 5)):
        for name in ("black cat", "dog"):  # no word after a space is left out
            (root / part / name).mkdir(parents=True)
            for place in range(count):
                shape = (20 + 3 * place, 30, 3)
                pixels = numbers.integers(256, size=shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{place}.png")
    return root


@pytest.fixture(scope="session")
def _photographed(tmp_path_factory, photographs):
    """Train on these images, seen as 16 x 16 pixels, and return the folder of the run."""
    root = tmp_path_factory.mktemp("photographed") / "runs"
    changes = "network=resnet8_cifar,image_size=16,epochs=1,warmup_epochs=0"
    recipe = find_recipe(f"folder_resnet18,{changes},batch_size=6,evaluation_batch_size=4")
    return train_run("photographs", recipe, root, options=files_of(photographs))


@pytest.fixture
def in_files(_photographed, tmp_path):
    """Return a copy of this folder."""
    return shutil.copytree(_photographed, tmp_path / "runs" / "photographs" / "seed0")

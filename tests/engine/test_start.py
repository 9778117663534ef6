"""Tests of semaug.engine.start."""

import io

import torch
from rich.console import Console

from semaug.data import Subset
from semaug.engine.options import TrainOptions
from semaug.engine.processes import Processes
from semaug.engine.start import Start
from semaug.recipe.recipe import BaseRecipe
from semaug.runs.run import Run

CPU = torch.device("cpu")


def test_a_loop_is_started_with_run_recipe_and_images(tmp_path):
    recipe = BaseRecipe(data="digits", subset=Subset(train_per_class=3), epochs=1)
    run = Run("own", recipe, seed=7, root=tmp_path)
    options = TrainOptions(device="cpu")
    start = Start(run, CPU, Processes(CPU, "32"), options, Console(quiet=True), lambda state: None)
    assert (start.recipe, start.seed, start.images) == (recipe, 7, None)
    assert start.fabric is start.processes.fabric
    data = start.load_data()
    assert len(data.train) == 30
    assert start.images is not None
    assert start.images[0] is data


def test_what_a_person_should_know_is_said_once_a_console(photographs, make_run):
    root = photographs("ant", "bee", train=3, test=2)
    (root / "train/ant/1.heic").touch()
    run = make_run("folder_resnet18", "train_per_class=2", "test_images=none")
    console, options = Console(file=io.StringIO(), width=20), TrainOptions(data_root=root)
    for _ in range(2):
        processes = Processes(CPU, "32")
        Start(run, CPU, processes, options, console, lambda state: None).load_data()
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "training images in train/, test images in val/"
    assert lines[1].startswith(f"passed over in {str(root / 'train')!r}: .heic (1)")
    assert lines[2:] == ["4 images to train on, of 2 classes: ant (2), bee (2)"]

"""Steps and runs of detectors in one of several processes; test_processes starts them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from semaug.detection import detector as detector_module
from semaug.detection import rpn as rpn_module
from semaug.detection.boxes import Target
from semaug.engine.interrupt import InterruptedRunError
from semaug.recipes import make_run
from tests.detection.signs import recipe_of
from tests.detection.toys import rectangles, toy_detector
from tests.engine.ranks import stop_at
from tests.tiny import train_quietly

SIZES = [(64, 64), (60, 50), (64, 40)]
PIECES = ([0, 1], [2])
NOTHING = Target(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0, 64, 40).bool())
# How many objects the images have; those of one process, or of all, have none.
COUNTS = {"two each": (2, 2, 2), "one process has none": (3, 2, 0), "none": (0, 0, 0)}


def few_samples(patch):
    """Let less be drawn than there is."""
    patch(rpn_module, "_SAMPLED", 32)
    patch(detector_module, "_SAMPLED", 14)


def step(name, counts, places, wrap=lambda module: module):
    """Return losses of some of three images, and the gradients of all parameters by name."""
    draws = torch.Generator().manual_seed(1)
    images, targets = torch.zeros(3, 3, 64, 64, dtype=torch.float64), []
    for image, (height, width), count in zip(images, SIZES, counts, strict=True):
        picture, target = rectangles(draws, (height, width), count=count)
        image[:, :height, :width] = picture
        targets.append(target)
    detector = toy_detector(name).double()
    generators = [torch.Generator().manual_seed(place) for place in places]
    own = [[of[place] for place in places] for of in (SIZES, targets)]
    wrapped = wrap(detector)  # lives until gradients are averaged
    losses = wrapped(images[places], *own, generators)
    sum(losses.values()).backward()
    trained = {key: x.grad for key, x in detector.named_parameters() if x.requires_grad}
    return {key: loss.detach() for key, loss in losses.items()}, trained


def describe(folder, name="mask_rcnn"):
    """Describe a run of two epochs of two steps, three images in each, whose norms stay."""
    weights = Path(folder).parent / "backbone.pt"
    recipe = recipe_of(
        name, weights=str(weights), batch_size=3, evaluation_batch_size=3, precision="64"
    )
    recipe = replace(recipe, detector=replace(recipe.detector, norm_eval=True))
    return make_run(recipe, {}, 0, False, Path(folder), name=name)


def write_weights(folder):
    """Write the weights that backbones begin with."""
    torch.manual_seed(3)
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), folder / "backbone.pt")


def train(folder, **options):
    run = describe(folder)
    data_root = Path(folder).parent / "signs"
    train_quietly(run, data_root=data_root, threads=1, workers=0, **options)
    return run


def run_rank(rank, size, folder):
    """Do the steps, train a run, and two more that a process is told to stop; one goes on."""
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ |= {key: str(value) for key, value in names.items()}
    os.environ |= {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "tests"}  # as torchrun does
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "0"}  # not asked
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size
    )
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        few_samples(patch.setattr)
        for name in ("mask_rcnn", "cascade_rcnn"):
            for kind, counts in COUNTS.items():
                losses, grads = step(name, counts, PIECES[rank], DistributedDataParallel)
                for loss in losses.values():
                    dist.all_reduce(loss)
                    loss /= size
                found[name, kind] = losses, grads
    if rank == 0:
        torch.save(found, f"{folder}/steps.pt")
    train(f"{folder}/two")
    undo = stop_at(3, rank=1)
    for name in ("stopped", "handed_on"):
        with pytest.raises(InterruptedRunError, match="epoch 2 of 2 after step 1 of 2, saved"):
            train(f"{folder}/{name}")
    undo()
    train(f"{folder}/stopped", resume=True)
    dist.barrier()
    dist.destroy_process_group()

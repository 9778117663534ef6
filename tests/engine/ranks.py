"""Train runs in one of several processes, which torchrun starts.

Run as: torchrun --nproc-per-node K ranks.py TASK=FOLDER...
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from rich.console import Console
from torch import nn

from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.loop import train
from semaug.engine.session import Session
from semaug.errors import UserError
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import Subset, find_recipe
from semaug.runs.run import Run


class Plain(nn.Module):
    """A network without batch norm, whose gradient is that of the joint batch."""

    def __init__(self, num_classes=10, drop_rate=0.0):
        super().__init__()
        self.num_features = 12
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(54, 12), nn.Tanh()
        )
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(12, num_classes)

    def get_classifier(self):
        return self.fc

    def forward(self, images):
        return self.fc(self.drop(self.body(images)))


def plain(pretrained=False, num_classes=10, **kwargs):
    return Plain(num_classes)


def plain_dropout(pretrained=False, num_classes=10, **kwargs):
    return Plain(num_classes, drop_rate=0.5)


def make_run(folder, *changes):
    """Describe a run of three epochs of four steps, of 100 images in batches of 32."""
    recipe = replace(
        find_recipe("digits_resnet8_isda"),
        network="plain",
        precision="64",
        epochs=3,
        batch_size=32,
        subset=Subset(train_per_class=10, test_images=61),
    )
    return Run("run", override(recipe, split_overrides(changes)), root=Path(folder))


# What is trained, by name.
RUNS = {
    "isda": [],
    "baseline": ["loss=cross_entropy"],
    "averaged, clipped": ["ema_decay=0.9", "clip_norm=0.5", "warmup_epochs=1"],
    "diagonal, epoch": ["covariance=diagonal", "memory=epoch"],
    "ait": ["method=ait", "views=3", "ai_layer=features", "ai_metric=both"],
    "multi_ait": ["method=multi_ait", "peers=plain", "peer_weight_decay=0.01"],
    "dropout": ["network=plain_dropout"],
    "batch norm": ["network=resnet8_cifar", "precision=32"],
}


def stop_at(step, rank):
    """Send a signal to one process alone after so many steps of the run."""
    count_step = Session.count_step

    def count_and_stop(self, *arguments):
        count_step(self, *arguments)
        if self.total_step == step and int(os.environ.get("RANK", "0")) == rank:
            signal.raise_signal(signal.SIGTERM)

    Session.count_step = count_and_stop
    return lambda: setattr(Session, "count_step", count_step)


def go(run, **options):
    return train(run, device="cpu", threads=1, console=Console(quiet=True), **options)


def train_whole(folder):
    """Train each run to its end."""
    for name, changes in RUNS.items():
        go(make_run(Path(folder, name), *changes))


def stop_and_resume(folder):
    """Train runs that one process is told to stop in the middle of an epoch, and go on."""
    for name in ("isda", "dropout"):
        run = make_run(Path(folder, name), *RUNS[name])
        stop(run, rank=1)
        go(run, resume=True)


def stop(run, rank=0):
    """Train a run up to the middle of its second epoch, where one process gets a signal."""
    undo = stop_at(6, rank)
    with pytest.raises(InterruptedRunError, match="after step 2 of 4, saved") as caught:
        go(run)
    assert caught.value.signal_number == signal.SIGTERM
    undo()


def refuse(folder):
    """Ask for what several processes cannot do."""
    with pytest.raises(UserError, match="a step has 1 of 100 training images"):
        go(make_run(folder, "batch_size=33"))
    with pytest.raises(UserError, match="`sync_batch_norm` needs GPUs"):
        go(make_run(folder, "sync_batch_norm=true"))


TASKS = {
    "train_whole": train_whole,
    "stop_and_resume": stop_and_resume,
    "stop": lambda folder: stop(make_run(folder)),
    "resume": lambda folder: go(make_run(folder), resume=True),
    "refuse": refuse,
}

timm.models.register_model(plain)
timm.models.register_model(plain_dropout)

if __name__ == "__main__":
    torch.set_num_threads(1)
    for argument in sys.argv[1:]:
        task, folder = argument.split("=")
        TASKS[task](folder)

"""Train runs in one of several processes, which torchrun starts.

Run as: torchrun --nproc-per-node K ranks.py TASK=FOLDER...
"""

import os
import signal
import sys
from dataclasses import replace

import pytest
import torch

from semaug.engine import fsdp
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.session import Session
from semaug.errors import UserError
from semaug.methods.segmentation import SegmentationMethod
from tests.engine.toys import Consistent, Pixelwise, Plain, Squares
from tests.tiny import tiny_run, train_quietly

PEERS = "peers=tests.engine.toys:Plain"
STREAMS = {"network": Plain(), "method": Consistent(unlabeled_batch_size=21)}
LABELED = ["loss=cross_entropy", "labeled_per_class=7"]  # batches of 32, 32 and 6

HOSTS = ("pi_model", "temporal_ensembling", "mean_teacher", "vat", "fixmatch")
HOST = ["labeled_per_class=7", "unlabeled_loss=semantic_consistency", "input_noise=0.1"]
HOST += ["unlabeled_batch_size=31"]  # of 100 images; each process has its share

# Pixels whose weights add up to another sum in each process.
MASKS = ["train_per_class=none", "test_images=none", "batch_size=5"]
PIXELS = {
    "data": Squares(),
    "network": Pixelwise(),
    "method": SegmentationMethod(class_weights=(1.0, 3.0)),
}

# What is trained, by name: changes, and specs of their own.
RUNS = {
    "isda": ([], {}),
    "baseline": (["loss=cross_entropy"], {}),
    "averaged, clipped": (["ema_decay=0.9", "clip_norm=0.5", "warmup_epochs=1"], {}),
    "diagonal, epoch": (["covariance=diagonal", "memory=epoch"], {}),
    "ait": (["method=ait", "views=3", "ai_layer=features", "ai_metric=both"], {}),
    "multi_ait": (["method=multi_ait", PEERS, "peer_weight_decay=0.01"], {}),
    "streams": (LABELED, STREAMS),
    "streams, steps": ([*LABELED, "epochs=none", "steps=10", "evaluate_every_steps=4"], STREAMS),
    **{name: ([f"method={name}", *HOST], {}) for name in HOSTS},
    "pixels": (MASKS, PIXELS),
    "dropout": ([], {"network": Plain(drop_rate=0.5)}),
    "frozen": (["network=resnet8_cifar", "freeze=backbone", "passes=3"], {}),
    "drawn labels": (["loss=disturb_label", "rate=0.5", "method=ait"], {}),
    "centers, drawn features": (
        ["method=multi_ait", PEERS, "loss=distribution_net", "threshold=2"],
        {},
    ),
    "batch norm": (["network=resnet8_cifar", "precision=32"], {}),
    "adamw": (["optimizer=adamw"], {}),
}


def make_run(folder, name="isda", *more):
    """Describe a run of three epochs of four steps, of 100 images in batches of 32."""
    changes, specs = RUNS[name]
    plain = ["network=tests.engine.toys:Plain"] if "network=" not in "".join(changes) else []
    small = ["precision=64", "test_images=61", *plain]
    given = {change.partition("=")[0]: change for change in (*small, *changes, *more)}
    run = tiny_run(folder, "digits_resnet8_isda", *given.values())
    return replace(run, recipe=replace(run.recipe, **specs))


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
    return train_quietly(run, threads=1, **options)


def train_whole(folder):
    """Train each run to its end."""
    for name in RUNS:
        go(make_run(f"{folder}/{name}", name))


STOPPED = ("isda", "dropout", "streams, steps")


def stop_and_resume(folder):
    """Train runs that one process is told to stop in the middle of an epoch, and go on."""
    for name in STOPPED:
        run = make_run(f"{folder}/{name}", name)
        stop(run, rank=1)
        go(run, resume=True)


def stop(run, rank=0, **options):
    """Train a run up to the middle of its second epoch, where one process gets a signal."""
    undo = stop_at(6, rank)
    with pytest.raises(InterruptedRunError, match="after step 2 of 4, saved") as caught:
        go(run, **options)
    assert caught.value.signal_number == signal.SIGTERM
    undo()


def share_out(folder):
    """Train runs whose parameters are shared out; one of them stops, for one process to go on."""
    fsdp.SMALLEST = 10  # so that blocks are gathered by themselves
    for name in SHARED_OUT:
        go(make_run(f"{folder}/{name}", name), fsdp=True)
    stop(make_run(f"{folder}/stopped/isda"), rank=1, fsdp=True)
    with pytest.raises(UserError, match=r"of networks, got 'criterion.*' outside of them"):
        go(make_run(f"{folder}/refused", "isda", "covariance=learned"), fsdp=True)


def refuse(folder):
    """Ask for what several processes cannot do."""
    with pytest.raises(UserError, match="a step has 1 of 100 training images"):
        go(make_run(folder, "isda", "batch_size=33"))
    with pytest.raises(UserError, match="`sync_batch_norm` needs GPUs"):
        go(make_run(folder, "isda", "sync_batch_norm=true"))


SHARED_OUT = ("isda", "averaged, clipped", "multi_ait", "mean_teacher", "vat", "adamw")
MOVED = ("isda", "streams, steps")


def stop_each(folder):
    """Train runs up to where another number of processes is to go on."""
    for name in MOVED:
        stop(make_run(f"{folder}/{name}", name))


def resume_each(folder):
    """Go on with them."""
    for name in MOVED:
        go(make_run(f"{folder}/{name}", name), resume=True)


TASKS = {
    task.__name__: task
    for task in (train_whole, stop_and_resume, stop_each, resume_each, share_out, refuse)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for argument in sys.argv[1:]:
        task, folder = argument.split("=")
        TASKS[task](folder)
    sys.stdout.flush()
    os._exit(0)  # threads of torch's process groups may abort a process that shuts down

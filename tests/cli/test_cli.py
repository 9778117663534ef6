"""Tests of semaug.cli and semaug.__main__."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from semaug import __version__
from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.errors import how_to_install
from semaug.methods import Supervised
from semaug.recipes import TABLES, make_run

TINY = ["epochs=2", "train_per_class=10", "test_images=60", "batch_size=32"]


def test_the_process_of_a_command_keeps_freed_memory(semaug, monkeypatch):
    asked = []
    monkeypatch.setattr("semaug.cli.keep_freed_memory", lambda: asked.append(True))
    assert semaug("--version")[0] == 0
    assert asked


def test_train_prints_the_error_and_where_everything_is(semaug, tmp_path):
    status, output, _ = semaug("train", "digits_resnet8_isda", *TINY, "--device", "cpu")
    assert status == 0
    assert re.search(r"test error \d+\.\d\d % \(mean of last 2 epochs\), .* \(last epoch\)", output)
    assert re.search(r"\n2 epochs in \d", output)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == (
        "digits_resnet8_isda,batch_size=32,epochs=2,test_images=60,train_per_class=10"
    )
    assert str(folder.relative_to(tmp_path) / "seed0") in output


def test_train_prints_the_other_metrics_with_unit_and_direction(semaug):
    status, output, _ = semaug(
        "train", "digits_resnet8", *TINY, "metrics=error,balanced_accuracy,nll", "--device", "cpu"
    )
    assert status == 0
    accuracy = r"balanced_accuracy \d+\.\d\d % \(higher is better\)"
    nll = r"nll \d\.\d{3} nats \(lower is better\)"
    assert re.search(rf"\n  mean of last 2 epochs of other metrics: {accuracy}, {nll}\n", output)


def test_a_run_that_counts_steps_is_told_in_steps(semaug):
    tiny = [change for change in TINY if not change.startswith("epochs=")]
    command = ["train", "digits_resnet8", "steps=6", "evaluate_every_steps=2", "report=best"]
    status, output, errors = semaug(*command, *tiny, "--device", "cpu")
    assert status == 0, errors
    number = r"\d+\.\d\d %"
    reports = rf"{number} \(best test\), {number} \(mean of last 3 tests\), {number} \(last test\)"
    assert re.search(rf"test error {reports}\n6 steps in \d", output)


def test_quick_runs_lie_apart(semaug, tmp_path):
    status, _, _ = semaug("train", "digits_resnet8", "--quick", "seed=4", "--runs", "elsewhere")
    assert status == 0
    assert (tmp_path / "elsewhere" / "digits_resnet8,quick" / "seed4" / "summary.json").exists()


@pytest.mark.parametrize("seed", [["seed=2"], ["--seed", "2"]])
def test_seeds_are_given_both_ways(semaug, tmp_path, seed):
    assert semaug("train", "digits_resnet8", "--quick", *seed)[0] == 0
    assert (tmp_path / "runs" / "digits_resnet8,quick" / "seed2").exists()


def test_a_run_that_is_there_needs_resume_which_shows_its_summary(semaug):
    command = ["train", "digits_resnet8", "--quick"]
    first = semaug(*command)[1]
    status, _, error = semaug(*command)
    assert status == 2
    assert "add --resume" in error
    assert "--runs" in error
    status, output, _ = semaug(*command, "--resume")
    assert status == 0
    assert "was finished before" in output
    assert output.splitlines()[-3:] == first.splitlines()[-3:]


def test_compare_trains_pairs_and_explains_the_difference(semaug, tmp_path):
    command = ["compare", "digits_resnet8", "digits_resnet8_isda", *TINY, "strength=0.25"]
    status, output, _ = semaug(*command, "--seeds", "2", "--device", "cpu")
    assert status == 0
    assert "run 4 of 4: digits_resnet8_isda" in output
    assert "mean of last" in output
    assert output.count("±") >= 7
    assert re.search(r"95 % confidence interval [+-]\d+\.\d\d to [+-]\d+\.\d\d", output)
    assert "pairs of runs" in output
    for path in re.findall(r"wrote (.*)", output):
        assert (tmp_path / path).exists()
    # The option of ISDA reached ISDA alone.
    assert len(list((tmp_path / "runs").glob("*,strength=0.25,*"))) == 1

    again = semaug(*command, "--seeds", "2")[1]
    assert "finished before" not in again  # nothing was left to train
    assert again.splitlines() == output.splitlines()[-len(again.splitlines()) :]


def test_compare_of_two_settings_of_one_recipe(semaug, tmp_path):
    arms = ["digits_resnet8_isda,strength=0.25", "digits_resnet8,loss=isda,strength=1"]
    changes = [change for change in TINY if not change.startswith("strength=")]
    status, output, errors = semaug("compare", *arms, *changes, "momentum=0.8", "--seeds", "1")
    assert status == 0, errors
    assert "digits_resnet8_isda," in output
    assert "strength=0.25" in output
    files = (tmp_path / "runs").rglob("recipe.json")
    recipes = [json.loads(path.read_text())["recipe"] for path in files]
    assert {(one["loss"]["strength"], one["optimizer"]["momentum"]) for one in recipes} == {
        (0.25, 0.8),
        (1, 0.8),
    }


def test_compare_of_accuracies_says_that_higher_is_better(semaug, tmp_path):
    tiny = ["epochs=4", "train_per_class=20", "test_images=60", "batch_size=16", "--device", "cpu"]
    command = ["compare", "digits_resnet8,lr=1e-9", "digits_resnet8", "metrics=accuracy,error"]
    status, output, errors = semaug(*command, *tiny, "--seeds", "2")
    assert status == 0, errors
    assert "Test accuracy in percent, higher is better, 2 seeds each" in output
    gain = re.search(r"second - first: \+(\d+\.\d\d), 95 %", output)[1]
    (path,) = (tmp_path / "runs" / "compare").rglob("compare.json")
    written = json.loads(path.read_text())
    assert written["conclusion"].startswith(
        f"digits_resnet8,batch_size=16,epochs=4,metrics=accuracy,error,test_images=60,"
        f"train_per_class=20 is {gain} points better than digits_resnet8,"
    )
    assert "in test accuracy" in written["conclusion"]
    assert written["conclusion"] in " ".join(output.split("\n"))


def test_compare_of_one_seed_says_so(semaug):
    status, output, _ = semaug(
        "compare", "digits_resnet8", "digits_resnet8_isda", "--quick", "--seeds", "1"
    )
    assert status == 0
    assert "in 1 pair of runs: too few pairs for a verdict" in output
    assert "interval" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "digits_resnet"],
            "unknown recipe 'digits_resnet'; did you mean 'digits_resnet8'?",
        ),
        (
            ["train", "digits_resnet8", "learning_rate=1"],
            "recipe digits_resnet8: unknown field 'learning_rate'; did you mean 'lr'? "
            "see: semaug list recipe digits_resnet8",
        ),
        (
            ["compare", "digits_resnet8", "digits_resnet8_isda", "qqqqqq=1"],
            "recipe digits_resnet8: unknown field 'qqqqqq'; see: semaug list recipe digits_resnet8",
        ),
        (
            ["show", "digits_resnet8,epochs=2", "epoch=1"],
            "recipe digits_resnet8: unknown field 'epoch'; did you mean 'epochs'?",
        ),
        (
            ["train", "digits_resnet8", "network=zzzqqq"],
            "recipe digits_resnet8: unknown network 'zzzqqq'; all ",
        ),
        (["train", "zzzqqq"], "are printed by: semaug list recipes"),
        (["train", "lost/recipe.json"], "expected the recipe.json of a run, got no such file"),
        (["show", "digits_wgan_gp"], "expected a recipe that augments images, got one of a gene"),
        (
            ["train", "digits_resnet8", "epochs=fast"],
            "`epochs` to be a whole number or 'none', got 'fast'",
        ),
        (["train", "digits_resnet8", "strength=1"], "no field 'strength'; add loss=isda"),
        (["train", "digits_resnet8", "seed=one"], "`seed` to be a whole number >= 0, got 'one'"),
        (["train", "digits_resnet8", "seed=1", "--seed", "2"], "expected one seed, got several"),
        (
            ["train", "digits_resnet8", "--device", "gpu"],
            "`device` to be auto, cpu, cuda, or one GPU",
        ),
        (["train", "cifar10_resnet32", "--data-root", "none"], "no file 'none/cifar-10-batches-py"),
        (
            ["train", "digits_resnet8", "network=vit_tiny_patch16_224", "--device", "cpu"],
            "cannot take data=digits of 3 x 8 x 8 pixels",
        ),
        (["list", "recipies"], "list: unknown kind 'recipies'; did you mean 'recipes'?"),
        (["train", "digits_resnet8", "lr=1e30", "--device", "cpu"], "expected a finite loss, got"),
        (
            ["compare", "digits_resnet8", "digits_resnet8"],
            "two recipes, got 'digits_resnet8' twice",
        ),
        (["compare", "digits_resnet8", "digits_resnet8_isda", "seed=1"], "choose with --seeds"),
        (["compare", "digits_resnet8,seed=1", "digits_resnet8"], "choose with --seeds"),
        (
            ["compare", "digits_resnet8", "cifar10_resnet32"],
            "tested on the same images by the same metric, got data=digits and data=cifar10",
        ),
        (
            ["compare", "cifar10_resnet32", "cifar10_resnet32_isda", "--data-root", "none"],
            "no file 'none/cifar-10-batches-py",
        ),
        (
            ["compare", "digits_resnet8", "cifar10_resnet32", "strength=1"],
            "no field 'strength'; add loss=isda",
        ),
        (
            ["compare", "digits_resnet8,metrics=error", "digits_resnet8,metrics=accuracy,error"],
            "by the same metric, got metrics=error and metrics=accuracy",
        ),
        (
            ["compare", "digits_resnet8", "digits_resnet8,metrics=accuracy"],
            "by the same metric, got metrics=error and metrics=accuracy",
        ),
        (["train", "digits_resnet8,seed=1"], "train takes seed=1 as a word of its own"),
        (
            ["compare", "digits_resnet8,epochs=1", "digits_resnet8,epochs=2", "epochs=3"],
            "`epochs` has no effect; each recipe that has it has a value of its own",
        ),
    ],
)
def test_mistakes_end_in_one_line(semaug, arguments, message):
    status, _, error = semaug(*arguments)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["trian"], ["train"], ["compare", "a"], ["train", "--sed"]])
def test_mistakes_of_typing_show_no_traceback(semaug, arguments):
    status, _, error = semaug(*arguments)
    assert status == 2
    assert "Traceback" not in error


def test_files_that_cannot_be_written_end_in_one_line(semaug, tmp_path):
    (tmp_path / "runs").touch()
    status, _, error = semaug("train", "digits_resnet8", "--quick")
    assert status == 2
    assert "Not a directory" in error


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeError, ZeroDivisionError])
def test_errors_of_our_own_making_show_where_they_are(semaug, monkeypatch, error):
    def fail(*arguments, **options):
        raise error("a mistake of ours")

    monkeypatch.setattr("semaug.cli.train.make_run", fail)
    with pytest.raises(error, match="a mistake of ours"):
        semaug("train", "digits_resnet8")


def test_too_little_memory_ends_in_one_line(semaug, monkeypatch):
    def fail(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(Supervised, "loss", fail)
    status, _, error = semaug("train", "digits_resnet8", "--quick", "--device", "cpu")
    assert status == 2
    assert "too little memory for batch_size=64" in error
    assert error.count("\n") == 1


def test_arms_of_unequal_precision_are_told(semaug):
    arguments = ["digits_resnet8", "--quick", "--device", "cpu"]
    changed = {"precision": "bf16"}
    run = make_run("digits_resnet8", changed, 0, True, Path("runs"))
    train(replace(run, overrides={}), TrainOptions(device="cpu"), console=Console(quiet=True))
    status, output, _ = semaug("compare", *arguments, "digits_resnet8_isda", "--seeds", "1")
    assert status == 0
    assert "warning: the arms differ in precision: digits_resnet8,quick on bf16;" in output


def test_version_is_that_of_the_package(semaug):
    assert semaug("--version") == (0, f"semaug {__version__}\n", "")


@pytest.mark.parametrize(
    ("package", "extra"),
    [("timm", "train"), ("lightning_fabric.fabric", "train"), ("matplotlib.axes", "report")],
)
def test_a_missing_extra_says_how_to_install_it(semaug, monkeypatch, package, extra):
    def fail(*arguments, **options):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr("semaug.cli.train.make_run", fail)
    status, _, error = semaug("train", "digits_resnet8")
    assert status == 2
    assert error.endswith(f"; install what this command needs with: {how_to_install(extra)}\n")


def test_other_missing_modules_are_not_explained_away(semaug, monkeypatch):
    def fail(*arguments, **options):
        raise ModuleNotFoundError("No module named 'semaug.lost'", name="semaug.lost")

    monkeypatch.setattr("semaug.cli.train.make_run", fail)
    with pytest.raises(ModuleNotFoundError, match=r"semaug\.lost"):
        semaug("train", "digits_resnet8")


def test_list_tells_every_name(semaug):
    status, output, _ = semaug("list")
    assert status == 0
    names = output.split()
    recipes = [name for table in TABLES.values() for name in table]
    for name in (*recipes, "isda", "cross_entropy", "resnet32_cifar", "cifar100", "digits"):
        assert name in names


def test_list_of_one_kind_tells_no_other(semaug):
    output = semaug("list", "losses")[1]
    assert "isda" in output
    assert "resnet8" not in output


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"], ["compare", "-h"]])
def test_help_teaches_by_example(semaug, command):
    status, output, _ = semaug(*command)
    assert status == 0
    assert "semaug compare digits" in output or "semaug train digits" in output


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.full)],
)
def test_a_stopped_run_says_how_to_go_on(tmp_path, number, status):
    command = [sys.executable, "-m", "semaug", "train", "digits_resnet8", "--device", "cpu"]
    options = ["epochs=1000", "--threads", "1", "--runs", str(tmp_path)]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    checkpoint = tmp_path / "digits_resnet8,epochs=1000" / "seed0" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert "stopped in epoch" in error
    assert (
        f"continue with: semaug train digits_resnet8 --device cpu epochs=1000 --threads 1 "
        f"--runs {tmp_path} --resume" in error
    )


def test_show_draws_a_picture(semaug, tmp_path):
    arguments = ["show", "digits_resnet8", "cutout=2", "--images", "2", "--epochs", "2"]
    status, output, _ = semaug(*arguments, "-o", "seen.png")
    assert (status, output) == (0, "wrote seen.png\n")
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
    status, _, errors = semaug("show", "digits_resnet8", "cutoff=2")
    assert status == 2
    assert "did you mean 'cutout'" in errors


def test_compare_is_no_command_for_torchrun(semaug, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, errors = semaug("compare", "digits_resnet8", "digits_resnet8_isda")
    assert status == 2
    assert "expected one process, got several from torchrun" in errors


@pytest.mark.full
def test_compare_trains_side_by_side_what_it_trains_one_by_one(semaug):
    arguments = ["compare", "digits_resnet8", "digits_resnet8_isda", *TINY]
    arguments += ["--seeds", "1", "--device", "cpu", "--threads", "1"]
    status, one_by_one, _ = semaug(*arguments, "--runs", "a")
    assert status == 0
    status, side_by_side, errors = semaug(*arguments, "--runs", "b", "--jobs", "2")
    assert status == 0, errors
    tables = [
        [line for line in output.splitlines() if line.startswith("│ digits")]
        for output in (one_by_one, side_by_side)
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 2

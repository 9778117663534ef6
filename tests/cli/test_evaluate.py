"""Tests of semaug.cli.evaluate."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from semaug.cli.group import COMMANDS
from semaug.engine.options import TrainOptions
from semaug.engine.session import Session
from semaug.engine.train import train
from semaug.recipe import BaseRecipe
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.runs.run import Run

SMALL = ["--quick", "--device", "cpu"]
READING = (
    "directions", "evaluate", "export", "features", "generate", "predict", "quality", "table",
    "tightness", "train", "transfer", "visualize",
)  # fmt: skip


@pytest.fixture
def threads():
    number = torch.get_num_threads()
    yield number
    torch.set_num_threads(number)


def last(folder, predictor="", metric="error"):
    """Return what a run recorded of its last epoch."""
    summary = json.loads((folder / "summary.json").read_text())
    return summary["results"][predictor][metric]["last"]


def test_predictors_are_tested_again(semaug, tmp_path, threads):
    mutual = ["method=dml", "peers=resnet20_cifar", "network=resnet8_cifar"]
    assert semaug("train", "digits_resnet8", *mutual, *SMALL)[0] == 0
    assert semaug("train", "digits_resnet8", "hold_out=20", "test_images=none", *SMALL)[0] == 0
    metrics = "metrics=accuracy,nll"
    assert semaug("train", "digits_resnet8", metrics, *SMALL)[0] == 0
    folders = sorted(path.parent for path in tmp_path.glob("runs/*/seed0/summary.json"))
    held, both, accuracy = (folder.relative_to(tmp_path) for folder in folders)
    assert "hold_out" in str(held)
    command = ["evaluate", *map(str, (both, held, accuracy)), "--device", "cpu"]
    command += ["--threads", str(threads)]
    status, output, _ = semaug(*command)
    assert status == 0
    assert output.splitlines() == [
        f"{both}: test error {last(both):.2f} %, as recorded",
        f"{both}: test error, network 2 {last(both, 'network 2'):.2f} %, as recorded",
        f"{held}: held-out error {last(held):.2f} %, as recorded",
        f"{accuracy}: test accuracy {last(accuracy, metric='accuracy'):.2f} %, as recorded",
        f"{accuracy}: test nll {last(accuracy, metric='nll'):.3f} nats, as recorded",
    ]

    tested = ["evaluate", str(accuracy), "--device", "cpu", "--threads", str(threads)]
    status, output, _ = semaug(*tested, "metrics=error,accuracy", "evaluation_batch_size=7")
    assert status == 0
    value = last(accuracy, metric="accuracy")
    wide = "with metrics=error,accuracy evaluation_batch_size=7"
    assert output.splitlines() == [
        f"{accuracy}: error {100 - value:.3f} {wide}",
        f"{accuracy}: accuracy {value:.2f} % {wide}; the run recorded {value:.2f} %",
    ]
    status, _, error = semaug(*tested, "epochs=9", "data=cifar10")
    assert status == 2
    assert error == (
        "evaluate: expected changes of how a run is tested (evaluation, evaluation_batch_size, "
        "metrics), got one of data, epochs, which decides how it was trained\n"
    )

    summary = json.loads((both / "summary.json").read_text())
    summary["results"]["network 2"]["error"]["last"] = 99.0
    del summary["results"][""]["error"]["last"]
    (both / "summary.json").write_text(json.dumps(summary))
    earlier = json.loads((accuracy / "summary.json").read_text())
    del earlier["other_metrics"]  # an earlier version kept no unit
    (accuracy / "summary.json").write_text(json.dumps(earlier))
    status, output, _ = semaug(*command)
    lines = output.splitlines()
    assert status == 1
    assert lines[0].endswith(f" %, recorded were nothing on {summary['device']}")
    assert lines[1].endswith(f" %, recorded were 99.00 % on {summary['device']}")
    assert lines[4].endswith(f"test nll {last(accuracy, metric='nll'):.2f}, as recorded")
    assert lines[5].startswith("a result may be another on another device")


def test_a_folder_without_a_finished_run_is_refused(semaug):
    status, _, error = semaug("evaluate", "nowhere")
    assert status == 2
    assert error == "nowhere: expected the folder of a run, got no such folder\n"


def _train(start):
    """Train a number by a loop of its own."""
    model = nn.Linear(1, 1)
    plan = make_plan(start.recipe, {"labeled": StreamPlan(4, 4)})
    with Session(start, plan, {"model": model}, measures=[("distance", "m", "lower")]) as session:
        for _ in session.epochs():
            for _ in session.steps():
                session.count_step({"loss": torch.tensor(1.0)})
            session.finish_epoch({"": {"distance": 3.0}})
        return session.summary()


@dataclass(frozen=True, kw_only=True)
class Plain(BaseRecipe):
    """A recipe of a kind that does not say how it is tested again."""

    loop: ClassVar = staticmethod(_train)


@dataclass(frozen=True, kw_only=True)
class Repeatable(Plain):
    """A recipe of a kind that says how it is tested again."""

    def evaluate(self, start, state):
        assert list(state) == ["model"]
        assert start.load_data().name == "digits"
        assert start.device.type == "cpu"
        return {"": {"distance": 3.0}}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Repeatable, "test distance 3.000 m, as recorded"),
        (Plain, "a run of other cannot be tested again: Plain has no `evaluate`"),
    ],
)
def test_runs_of_other_kinds_are_tested_as_they_say(semaug, tmp_path, kind, told):
    run = Run("other", kind(data="digits", epochs=1), root=tmp_path / "runs")
    train(run, TrainOptions(device="cpu"))
    status, output, error = semaug("evaluate", str(run.folder), "--device", "cpu")
    assert (status, error) == (0, "")
    assert output.splitlines()[-1] == f"{run.folder}: {told}"


def test_runs_of_other_kinds_are_not_tested_on_other_images(semaug, tmp_path):
    run = Run("other", Repeatable(data="digits", epochs=1), root=tmp_path / "runs")
    train(run, TrainOptions(device="cpu"))
    facts = {"data": "digits", "sha256": {"test_labels": "0"}, "train_images": 3}
    (run.folder / "images.json").write_text(json.dumps(facts))
    status, _, error = semaug("evaluate", str(run.folder), "--device", "cpu")
    assert status == 2
    told = " ".join(error.split())
    assert "the run saw other images than data=digits has now: 3 to train on then and" in told


CODE = """
from dataclasses import dataclass
from pathlib import Path

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Smooth:
    share: float = 0.1

    def build(self, sizes):
        Path("executed").write_text({version!r})
        return nn.CrossEntropyLoss(label_smoothing=self.share)
"""


def test_the_copy_of_changed_code_is_executed_if_it_is_trusted(semaug, tmp_path, forget):
    file, executed = tmp_path / "smooth.py", tmp_path / "executed"
    file.write_text(CODE.format(version="old"))
    status, _, error = semaug("train", "digits_resnet8", "loss=smooth.py:Smooth", *SMALL)
    assert (status, error) == (0, "")
    (run,) = tmp_path.glob("runs/*/seed0")
    command = ["evaluate", str(run), "--device", "cpu"]

    forget()
    assert semaug(*command)[1].endswith("as recorded\n")
    for change in (lambda: file.write_text(CODE.format(version="new")), file.unlink):
        change()
        forget()
        executed.unlink()
        status, _, error = semaug(*command)
        assert (status, error.count("\n")) == (2, 1)
        assert f"{file}, was changed, moved or removed" in error
        assert f"add --trust-code to execute the copy {run / 'code' / 'smooth.py'}" in error
        assert not executed.exists()
        status, output, _ = semaug(*command, "--trust-code")
        assert status == 0
        assert output.endswith("as recorded\n")
        assert executed.read_text() == "old"


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_read_run_folders_have_the_option(semaug, name):
    output = semaug(name, "--help")[1]
    assert ("--trust-code" in output) == (name in READING)

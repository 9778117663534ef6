"""Every command that examples/README.md shows is run here, with fewer epochs."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch.testing import assert_close

from semaug import ISDALoss

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
INDEX = (ROOT / "examples" / "README.md").read_text()
COMMANDS = re.findall(r"`((?:python|torchrun) [^`]+)`", INDEX)
NUM_TRAIN = 1000

DEAR = ("torchrun", "timm_", "torchvision_", "lightning_", "hugging_face", "accelerate_")
OPTIONAL = ("accelerate", "pytorch_lightning", "transformers")  # `.[dev]` installs them

try:
    from timm.task import TrainingTask
except ModuleNotFoundError:
    TrainingTask = None
WITH_TASK_STATE = pytest.mark.skipif(
    not hasattr(TrainingTask, "get_task_state"), reason="needs a timm whose tasks have a state"
)

# What the libraries say about themselves or about a machine, whatever is trained.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}")
    for text in (
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6, in its own code
        r"The '\w+' does not have many workers",  # Lightning, where there are more than two cores
        "'pin_memory' argument is set as true but no accelerator is found",  # the Trainer's loader
    )
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the examples write to `runs`


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command line and return the test error that it prints."""

    def run(command):
        program, *arguments = shlex.split(command)
        arguments = [str(ROOT / a) if a.startswith("examples/") else a for a in arguments]
        if program == "torchrun":
            torchrun = [sys.executable, "-m", "torch.distributed.run"]
            subprocess.run([*torchrun, *arguments], check=True, timeout=300)
        else:  # in this process, which has imported the libraries already
            monkeypatch.setattr(sys, "argv", arguments)
            try:
                runpy.run_path(arguments[0], run_name="__main__")
            except ModuleNotFoundError as error:
                if error.name not in OPTIONAL:
                    raise
                pytest.skip(f"needs {error.name}")
        (error,) = re.findall(r"^test error (\S+) %$", capfd.readouterr().out, re.MULTILINE)
        return float(error)

    return run


def loss_of(state):
    """Load what a checkpoint holds under ``isda.`` into a new loss."""
    own = {name.partition("isda.")[2]: state[name] for name in state if "isda." in name}
    isda = ISDALoss(*own["estimator.mean"].shape, strength=0.5)
    isda.load_state_dict(own)
    return isda


def assert_saw_each_image(isda, *, epochs, batch_size=50):
    assert isda.step == epochs * NUM_TRAIN // batch_size
    assert isda.estimator.count.sum() == epochs * NUM_TRAIN


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_short_and_in_the_index(script):
    assert len(script.read_text().splitlines()) < 60
    assert f"[{script.name}]({script.name})" in INDEX
    assert any(f"examples/{script.name}" in command for command in COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            command,
            marks=[WITH_TASK_STATE] * ("timm_task" in command)
            + [pytest.mark.full] * any(name in command for name in DEAR),
        )
        for command in COMMANDS
    ],
)
def test_a_command_trains_a_model_that_learns(run, command):
    assert run(f"{command} --epochs 3") < 15  # guessing makes 90


def test_the_checkpoint_of_the_plain_loop_holds_the_loss(run):
    run("python examples/plain_loop.py --epochs 1 --checkpoint here.pt")
    assert_saw_each_image(loss_of(torch.load("here.pt")["criterion"]), epochs=1)


def test_accelerate_saves_and_loads_the_loss(run):
    run("python examples/accelerate_loop.py --epochs 1")
    accelerate = pytest.importorskip("accelerate")
    isda, accelerator = ISDALoss(10, 64, strength=0.5), accelerate.Accelerator()
    accelerator.register_for_checkpointing(torch.nn.ModuleDict({"isda": isda}))
    accelerator.load_state("runs/accelerate")
    assert_saw_each_image(isda, epochs=1)


def test_lightning_resumes_the_loss(run, monkeypatch):
    pl = pytest.importorskip("pytorch_lightning")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(pl.LightningModule, "on_train_epoch_end", stop)
        run("python examples/lightning_module.py --epochs 2")
    (checkpoint,) = Path("runs").rglob("*.ckpt")
    assert_saw_each_image(loss_of(torch.load(checkpoint)["state_dict"]), epochs=1)
    checkpoint = checkpoint.rename("interrupted.ckpt")
    run(f"python examples/lightning_module.py --epochs 2 --resume {checkpoint}")
    (checkpoint,) = Path("runs").rglob("*.ckpt")
    assert_saw_each_image(loss_of(torch.load(checkpoint)["state_dict"]), epochs=2)


def stop(module):
    module.trainer.should_stop = True


def test_the_trainer_resumes_and_ends_where_it_would_have_ended(run):
    run("python examples/hugging_face_trainer.py --epochs 2")
    last = Path("runs/hugging_face/checkpoint-40")
    weights, criterion = load_file(last / "model.safetensors"), torch.load(last / "criterion.pt")
    assert_saw_each_image(loss_of(criterion), epochs=2, batch_size=25)
    assert not [name for name in weights if "isda" in name]  # the model alone
    shutil.rmtree(last)
    run("python examples/hugging_face_trainer.py --epochs 2 --resume")
    assert_close(load_file(last / "model.safetensors"), weights, rtol=0, atol=0)
    assert_close(torch.load(last / "criterion.pt"), criterion, rtol=0, atol=0)


def test_the_trainer_validates_by_plain_cross_entropy(run):
    run("python examples/hugging_face_trainer.py --epochs 1")
    last = Path("runs/hugging_face/checkpoint-20")
    history = json.loads((last / "trainer_state.json").read_text())["log_history"]
    (told,) = [row["eval_loss"] for row in history if "eval_loss" in row]
    transformers = pytest.importorskip("transformers")
    model = transformers.ResNetForImageClassification.from_pretrained(last).eval()
    pixels, digits = (torch.tensor(x[NUM_TRAIN:]) for x in load_digits(return_X_y=True))
    images = F.interpolate(pixels.float().view(-1, 1, 8, 8) / 16, scale_factor=4)
    with torch.no_grad():
        assert told == pytest.approx(F.cross_entropy(model(images).logits, digits).item(), 1e-4)


@WITH_TASK_STATE
def test_timm_resumes_and_ends_where_it_would_have_ended(run):
    run("python examples/timm_task.py --epochs 2")
    last = Path("runs/timm/last.pth.tar")
    expected = torch.load(last)
    assert_saw_each_image(loss_of(expected["task_state"]["criterion"]), epochs=2)
    halfway = torch.load("runs/timm/checkpoint-0.pth.tar")["task_state"]["criterion"]
    assert_saw_each_image(loss_of(halfway), epochs=1)
    last.unlink()
    run("python examples/timm_task.py --epochs 2 --resume runs/timm/checkpoint-0.pth.tar")
    resumed = torch.load(last)
    for name in ("state_dict", "task_state", "optimizer"):
        assert_close(resumed[name], expected[name], rtol=0, atol=0)


@WITH_TASK_STATE
def test_timm_refuses_a_checkpoint_without_the_criterion(run):
    run("python examples/timm_task.py --epochs 1")
    path = Path("runs/timm/last.pth.tar")
    torch.save({**torch.load(path), "task_state": {}}, path)
    with pytest.raises(KeyError, match="criterion"):
        run(f"python examples/timm_task.py --epochs 2 --resume {path}")

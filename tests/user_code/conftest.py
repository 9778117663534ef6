"""A folder of a stranger's files, and runs of their recipes, trained once for all tests."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = (
    "adversarial",
    "calibration",
    "center_loss",
    "frozen_features",
    "mean_teacher",
    "my_recipe",
    "roll",
    "segmentation",
    "stripes",
)
collect_ignore = [f"{name}.py" for name in FILES]  # they import each other as scripts do

# Recipes of my_recipe.py, and what makes a run of each a matter of a second or two.
SMALL = {
    "center": ["train_per_class=10", "test_images=100", "epochs=3", "batch_size=32"],
    "teacher": ["test_images=100", "steps=12", "evaluate_every_steps=4", "unlabeled_batch_size=30"],
    "segment": ["train_images=24", "data.test_images=12", "epochs=3", "batch_size=8"],
    "stripes": ["train_images=100", "data.test_images=50", "epochs=3", "batch_size=32"],
    "frozen": ["train_per_class=10", "test_images=100", "epochs=3", "batch_size=32"],
    "gan": ["epochs=3", "batch_size=300"],
}


ON_CPU = ("--device", "cpu", "--threads", "1")


class Stranger:
    """A folder with files and runs of somebody else, and the command line of semaug there."""

    def __init__(self, folder):
        self.folder = folder
        self.elsewhere, self.page = folder / "elsewhere", folder / "page"
        self.elsewhere.mkdir()
        self.page.mkdir()
        for name in FILES:
            for place in (folder, self.page):
                shutil.copy(HERE / f"{name}.py", place)
        environment = {
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "SEMAUG_DATA": str(folder / "data"),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "forks.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def run(self, *arguments, folder=None, die_at_save=0):
        """Run a command, or a script; return its exit status and what it printed."""
        output = self.folder / "output.txt"
        command = [list(map(str, arguments)), str(folder or self.folder), str(output), die_at_save]
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        return status, output.read_text()

    def __call__(self, *arguments, **options):
        """Run a command that must work, and return what it printed."""
        status, output = self.run(*arguments, **options)
        assert status == 0, output
        return output

    def train(self, name, *more, runs="runs", die_at_save=0):
        """Train a small run of a recipe, and return its folder."""
        arguments = [f"my_recipe.py:{name}", *SMALL[name], *more, *ON_CPU, "--runs", runs]
        status, output = self.run("train", *arguments, die_at_save=die_at_save)
        assert status == (-signal.SIGKILL if die_at_save else 0), output
        (run,) = (self.folder / runs).glob(f"my_recipe.py:{name},*/seed0")
        return run

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    with_files = Stranger(tmp_path_factory.mktemp("stranger"))
    yield with_files
    with_files.close()


@pytest.fixture(scope="session")
def trained(stranger):
    """Return a function from the name of a recipe to a finished run of it."""
    runs = {}

    def run_of(name):
        if name not in runs:
            runs[name] = stranger.train(name)
        return runs[name]

    return run_of

"""A run folder from somebody else executes nothing, whatever it says, unless it is trusted."""

import hashlib
import json
import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.user_code.conftest import ON_CPU

pytestmark = pytest.mark.slow
LIBRARY = Path(sysconfig.get_path("stdlib"))


class Attack:
    """A run folder from somebody else, who wants ``code`` executed; it would leave a marker."""

    def __init__(self, stranger, run, folder):
        self.stranger, self.folder, self.marker = stranger, folder, folder / "marker"
        self.runs, self.elsewhere = folder / "theirs" / "runs", folder / "elsewhere"
        self.elsewhere.mkdir()
        self.run = self.runs / "label" / "seed0"
        shutil.copytree(run, self.run)
        own = (stranger.folder / "stripes.py").read_text()
        self.code = f"from pathlib import Path\nPath({str(self.marker)!r}).touch()\n{own}"
        self.summary = json.loads((self.run / "summary.json").read_text())
        self.recipe = self.summary["recipe"]

    def write(self, path):
        path.write_text(self.code)
        return path

    def record(self, place, key="evil.py"):
        digest = hashlib.sha256(Path(place).read_bytes()).hexdigest()
        self.summary["code"][key] = {"place": str(place), "sha256": digest}
        self.recipe["network"]["name"] = f"{key}:StripeNet"

    def evaluate(self, *more, folder=None):
        (self.run / "summary.json").write_text(json.dumps(self.summary))
        arguments = ["evaluate", self.run, *ON_CPU, *more]
        return self.stranger.run(*arguments, folder=folder or self.elsewhere)


@pytest.fixture
def attack(stranger, trained, tmp_path):
    return Attack(stranger, trained("stripes"), tmp_path)


def a_file_by_its_path(attack):
    attack.recipe["network"]["name"] = f"{attack.write(attack.folder / 'evil.py')}:StripeNet"


def a_file_in_the_working_directory(attack):
    attack.write(attack.elsewhere / "evil.py")
    attack.recipe["network"]["name"] = "evil.py:StripeNet"


def a_file_of_the_run(attack):
    attack.record(attack.write(attack.run / "evil.py"))


def a_file_among_the_runs(attack):
    attack.record(attack.write(attack.runs / "evil.py"))


def a_copy_instead_of_the_file(attack):
    attack.record(attack.write(attack.run / "code" / "stripes.py"), "stripes.py")


def a_file_relative_to_the_working_directory(attack):
    attack.write(attack.elsewhere / "evil.py")
    attack.record(attack.elsewhere / "evil.py")
    attack.summary["code"]["evil.py"]["place"] = "evil.py"


def a_link_into_the_runs(attack):
    link = attack.folder / "evil.py"
    link.symlink_to(attack.write(attack.runs / "evil.py"))
    attack.record(link)


def a_linked_folder_of_the_runs(attack):
    (attack.folder / "linked").symlink_to(attack.runs)
    attack.write(attack.runs / "evil.py")
    attack.record(attack.folder / "linked" / "evil.py")


def a_way_round(attack):
    attack.write(attack.runs / "evil.py")
    attack.record(attack.elsewhere / ".." / "theirs" / "runs" / "evil.py")


def a_file_of_another_name(attack):
    attack.record(attack.write(attack.folder / "good.py"))


def a_file_that_changed(attack):
    attack.write(attack.folder / "evil.py")
    attack.record(attack.folder / "evil.py")
    (attack.folder / "evil.py").write_text(attack.code + "# changed\n")


def a_function_of_python(attack):
    attack.recipe["network"]["name"] = "os:abort"


def a_module_of_python(attack):  # prints a poem when it is executed
    attack.recipe["network"]["name"] = "this:s"


def a_recorded_module_of_python(attack):
    attack.record(LIBRARY / "this.py", "this.py")
    attack.recipe["network"]["name"] = "this:s"


def a_recorded_file_of_python(attack):
    attack.record(LIBRARY / "this.py", "this.py")


def an_installed_module(attack):
    attack.recipe["network"]["name"] = "timm.models:ResNet"


def a_network_to_download(attack):
    attack.recipe["network"]["name"] = "hf-hub:timm/resnet18.a1_in1k"


def a_kind_of_recipe(attack):
    attack.recipe["kind"] = f"{attack.write(attack.elsewhere / 'evil.py').name}:StripeNet"


def a_metric_among_others(attack):
    attack.write(attack.elsewhere / "evil.py")
    attack.recipe["metrics"].append({"name": "evil.py:StripeNet", "width": 4})


def a_name_instead_of_a_spec(attack):
    attack.write(attack.elsewhere / "evil.py")
    attack.recipe["network"] = "evil.py:StripeNet"


ATTACKS = [
    a_file_by_its_path,
    a_file_in_the_working_directory,
    a_file_of_the_run,
    a_file_among_the_runs,
    a_copy_instead_of_the_file,
    a_file_relative_to_the_working_directory,
    a_link_into_the_runs,
    a_linked_folder_of_the_runs,
    a_way_round,
    a_file_of_another_name,
    a_file_that_changed,
    a_function_of_python,
    a_module_of_python,
    a_recorded_module_of_python,
    a_recorded_file_of_python,
    an_installed_module,
    a_network_to_download,
    a_kind_of_recipe,
    a_metric_among_others,
    a_name_instead_of_a_spec,
]


@pytest.mark.parametrize("prepare", ATTACKS, ids=lambda prepare: prepare.__name__)
def test_nothing_is_executed_by(attack, prepare):
    prepare(attack)
    status, output = attack.evaluate()
    assert status == 2, output
    assert len(output.splitlines()) == 1, output
    assert not attack.marker.exists()


def test_the_same_file_apart_from_the_runs_would_be_executed(attack):
    attack.record(attack.write(attack.folder / "evil.py"))
    status, output = attack.evaluate()
    assert status == 0, output
    assert "as recorded" in output
    assert attack.marker.exists()


def test_a_copy_is_executed_when_it_is_trusted(attack):
    attack.record(attack.write(attack.run / "code" / "stripes.py"), "stripes.py")
    status, output = attack.evaluate("--trust-code")
    assert status == 0, output
    assert attack.marker.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda summary: summary.pop("code"),
        lambda summary: summary.update(code=["stripes.py"]),
        lambda summary: summary["code"].update({"stripes.py": "here"}),
        lambda summary: summary["code"]["stripes.py"].update(place=3),
        lambda summary: summary["code"]["stripes.py"].update(place="/\0/stripes.py"),
        lambda summary: summary["recipe"]["network"].update(name=None),
        lambda summary: summary.update(recipe=[1]),
        lambda summary: summary.update(seed="zero"),
    ],
)
def test_a_damaged_record_is_an_error_of_one_line(attack, damage):
    damage(attack.summary)
    status, output = attack.evaluate()
    assert status == 2, output
    assert len(output.splitlines()) == 1, output
    assert str(attack.run) in output


# Files beside others.


def test_a_file_that_has_the_name_of_an_installed_module_is_named(stranger, tmp_path):
    (tmp_path / "rich.py").write_text("EPOCHS = 1\n")
    (tmp_path / "mine.py").write_text("from rich import EPOCHS\n")
    status, output = stranger.run("train", "mine.py:recipe", folder=tmp_path)
    assert status == 2
    assert f"{tmp_path / 'rich.py'}: expected a name that no module has" in output


def test_modules_of_python_come_before_files_beside(stranger, tmp_path):
    (tmp_path / "random.py").write_text("raise RuntimeError\n")
    (tmp_path / "mine.py").write_text(
        "import random\n\nfrom semaug.recipes import find_recipe\n\n\n"
        "def recipe():\n    assert random.Random\n    return find_recipe('digits_resnet8')\n"
    )
    arguments = ["mine.py:recipe", "train_per_class=10", "epochs=1", *ON_CPU]
    stranger("train", *arguments, folder=tmp_path)
    (code,) = tmp_path.glob("runs/*/seed0/code")
    assert [path.name for path in code.iterdir()] == ["mine.py"]

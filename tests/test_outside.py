"""Tests of semaug.outside."""

import hashlib
import json
import os
import pickle
import py_compile
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from semaug.errors import UserError
from semaug.outside import (
    check_code,
    code_of,
    files_of,
    find,
    keep_code,
    load_files,
    load_recorded,
    name_of,
    names_from,
)
from semaug.recipe.plain import recipe_from_plain_data, recipe_to_plain_data
from semaug.recipes import find_recipe, make_run

LOSS = """
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class Half:
        \"\"\"Half of the cross-entropy.\"\"\"

        share: float = 0.5
"""
RECIPE = """
    from dataclasses import replace

    from half_loss import Half

    from semaug.recipes import find_recipe

    def half():
        return replace(find_recipe("digits_resnet8"), loss=Half())

    def by_name():
        return replace(find_recipe("digits_resnet8"), loss="half_loss.py:Half")
"""


pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def write(tmp_path):
    def to(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    return to


@pytest.fixture
def files(write):
    """A recipe and the loss beside it that it imports."""
    write("ours/half_loss.py", LOSS)
    return write("ours/my_recipe.py", RECIPE)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Names.


def test_a_file_is_executed_once_whatever_it_is_called_by(write, tmp_path, monkeypatch):
    path = write("ours/counts.py", "calls = []\nclass Center: pass\n")
    center = find(f"{path}:Center")
    monkeypatch.chdir(tmp_path)
    assert find("ours/counts.py:Center") is center
    assert find("counts.py:Center") is center  # of a file that was executed before
    assert name_of(center) == "counts.py:Center"
    assert find(f"{path}:Center.__name__") == "Center"


def test_a_file_that_python_imported_is_the_same(write, tmp_path, monkeypatch):
    path = write("ours/plain.py", "class Center: pass\n")
    monkeypatch.syspath_prepend(path.parent)
    import plain  # type: ignore[import-not-found]

    assert find(f"{path}:Center") is plain.Center


def test_files_import_what_lies_beside_them(files):
    half = find(f"{files}:half")().loss
    assert half == find(f"{files.parent / 'half_loss.py'}:Half")()
    assert name_of(type(half)) == "half_loss.py:Half"


def test_what_lies_beside_a_file_comes_before_the_working_directory(files, write, monkeypatch):
    monkeypatch.chdir(write("elsewhere/half_loss.py", "raise RuntimeError\n").parent)
    monkeypatch.syspath_prepend("")
    assert find_recipe(f"{files}:half").loss.share == 0.5
    assert find_recipe(f"{files}:by_name").loss.share == 0.5


def test_two_recipes_import_each_its_own_file(write):
    paths = [write(f"{name}/of_{name}.py", "from share import SHARE\n") for name in "ab"]
    for share, path in enumerate(paths):
        (path.parent / "share.py").write_text(f"SHARE = {share}\n")
        assert find(f"{path}:SHARE") == share
    with pytest.raises(
        UserError, match=r"b/share\.py: expected one file of this name, got .*a/sha"
    ):
        code_of(["of_a.py:SHARE", "of_b.py:SHARE"])


def test_a_file_may_have_the_name_of_a_module(write):
    assert find(f"{write('ours/queue.py', 'SIZE = 3')}:SIZE") == 3
    assert find(f"{write('ours/pytest.py', 'SIZE = 4')}:SIZE") == 4
    import queue

    assert hasattr(queue, "Queue")


def test_modules_of_packages_are_found(write, monkeypatch):
    write("beside/own_package/__init__.py", "")
    path = write("beside/own_package/losses.py", "from own_package.more import Center\n")
    write("beside/own_package/more.py", "class Center: pass\n")
    write("beside/own_package/unused.py", "")
    monkeypatch.syspath_prepend(path.parent.parent)
    center = find("own_package.losses:Center")
    assert name_of(center) == "own_package.more:Center"
    keys = ["own_package/__init__.py", "own_package/losses.py", "own_package/more.py"]
    assert list(code_of(["own_package.losses:Center"])) == keys
    assert find("json:JSONDecoder") is json.JSONDecoder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:Center", "nowhere.py: expected a Python file, got no such file"),
        ("nowhere.losses:Center", "nowhere.losses: expected a module that can be imported: No mod"),
        ("{folder}/half_loss.py:Hafl", "unknown name 'Hafl'; did you mean 'Half'"),
        ("{folder}/wrong.py:Half", "wrong.py: cannot be executed: invalid syntax"),
        ("{folder}/lacks.py:Half", "lacks.py: cannot be executed: No module named 'nowhere'"),
    ],
)
def test_names_that_lead_nowhere_are_named(files, write, name, message):
    write("ours/wrong.py", "def\n")
    write("ours/lacks.py", "import nowhere\n")
    with pytest.raises(UserError) as error:
        find(name.format(folder=files.parent))
    assert message in str(error.value)


def test_two_files_of_one_name_clash(write):
    find(f"{write('a/loss.py', 'A = 1')}:A")
    with pytest.raises(UserError, match=r"b/loss\.py: expected one file of this name in a process"):
        find(f"{write('b/loss.py', 'A = 1')}:A")


def test_classes_that_another_process_could_not_find_are_refused():
    class Inside:
        pass

    for kind in (Inside, type("Typed", (), {"__module__": "of_a_notebook"})):
        with pytest.raises(UserError, match=f"{kind.__name__}: expected a class at the top of a"):
            name_of(kind)


# What a run records.


def test_code_is_what_a_file_imports_and_nothing_else_that_was_executed(files, write):
    find(f"{write('ours/other.py', 'A = 1')}:A")
    find(f"{files}:half")
    code = code_of(["my_recipe.py:half", "cross_entropy"])
    assert code == {
        name: {"place": str(files.parent / name), "sha256": digest(files.parent / name)}
        for name in ("half_loss.py", "my_recipe.py")
    }


def test_imports_inside_of_functions_and_from_packages_are_code(write):
    path = write(
        "ours/late.py",
        """
        def late():
            import helpers.tools
            from . import never
            return helpers.tools.A
        """,
    )
    write("ours/helpers/__init__.py", "")
    write("ours/helpers/tools.py", "from .deep import A\n")
    write("ours/helpers/deep.py", "A = 5\n")
    late = find(f"{path}:late")
    keys = ["helpers/__init__.py", "helpers/deep.py", "helpers/tools.py", "late.py"]
    assert list(code_of(["late.py:late"])) == keys
    path.write_text("def late(): return 6\n")
    with pytest.raises(ImportError):
        late()  # has no package for the relative import, but has found the other


def test_copies_are_of_what_was_executed(files, tmp_path):
    find(f"{files}:half")
    before = files.read_bytes()
    files.write_text("changed = True\n")
    keep_code(tmp_path / "run", code_of(["my_recipe.py:half"]))
    assert (tmp_path / "run" / "code" / "my_recipe.py").read_bytes() == before
    keep_code(tmp_path / "run", code_of(["my_recipe.py:half"]))  # as on resuming


def test_changed_code_is_named(files):
    find(f"{files}:half")
    code = code_of(["my_recipe.py:half"])
    check_code(Path("run"), code, code)
    for other in ({}, code | {"half_loss.py": {"sha256": "0"}}):
        with pytest.raises(UserError, match=r"run: its code half_loss\.py was changed since the"):
            check_code(Path("run"), code, other)


def test_runs_find_their_code_in_another_process(files, forget):
    run = make_run(f"{files}:half", {"share": "0.25"}, 1, False, Path("runs"))
    assert run.label == "my_recipe.py:half,share=0.25"
    pickled = pickle.dumps(run)
    forget()
    assert pickle.loads(pickled).recipe.loss.share == 0.25
    forget()
    (files.parent / "half_loss.py").write_text(dedent(LOSS) + "# changed\n")
    with pytest.raises(UserError, match="was changed since this command began; give it again"):
        pickle.loads(pickled)


def test_another_process_notices_a_change(files):
    find(f"{files}:half")
    ((place, code),) = files_of(["my_recipe.py:half", "isda"]).items()
    load_files({place: code})
    with pytest.raises(UserError, match=r"my_recipe\.py: was changed since this command began"):
        load_files({place: code | {"my_recipe.py": {}}})


# What is executed of a run.


@pytest.fixture
def recorded(files, tmp_path, forget):
    """A run folder, its code and plain data of its recipe, as another process left them."""
    recipe = find_recipe(f"{files}:half")
    folder = tmp_path / "runs" / "my_recipe.py:half" / "seed0"
    code = code_of(["my_recipe.py:half", "half_loss.py:Half"])
    keep_code(folder, code)
    plain = recipe_to_plain_data(recipe)
    forget()
    return folder, code, plain


NAMES = ["half_loss.py:Half"]


def touch(path):
    return f"from pathlib import Path; Path({str(path)!r}).touch()\n"


def test_unchanged_code_is_executed_where_it_was(recorded, files):
    folder, code, plain = recorded
    load_recorded(folder, code, NAMES)
    assert recipe_from_plain_data(plain).loss.share == 0.5
    half = find("half_loss.py:Half")
    assert sys.modules[half.__module__].__file__ == str(files.parent / "half_loss.py")
    load_recorded(folder, code, NAMES)
    assert find("half_loss.py:Half") is half  # executed once


@pytest.mark.parametrize("change", ["edit", "move", "name"])
def test_changed_code_is_executed_from_the_copy_if_that_is_trusted(recorded, files, change):
    folder, code, plain = recorded
    path = files.parent / "half_loss.py"
    if change == "edit":
        path.write_text("raise RuntimeError\n")
    elif change == "move":
        path.rename(path.with_name("third_loss.py"))
    else:
        code["half_loss.py"]["place"] = "half_loss.py"  # of whatever directory
    with pytest.raises(UserError, match=r"half_loss\.py, was changed, moved .*--trust-code"):
        load_recorded(folder, code, NAMES)
    load_recorded(folder, code, NAMES, trusted=True)
    assert recipe_from_plain_data(plain).loss.share == 0.5
    place = sys.modules[find("half_loss.py:Half").__module__].__file__
    assert Path(place).is_relative_to(folder)


def test_a_run_folder_executes_nothing_by_itself(recorded, tmp_path):
    folder, code, plain = recorded
    marker = tmp_path / "executed"
    attack = folder / "code" / "half_loss.py"
    attack.write_text(touch(marker) + attack.read_text())
    beside = folder.parent.parent / "half_loss.py"
    beside.write_bytes(attack.read_bytes())
    for path in (attack, beside):  # all of these came with the run
        code["half_loss.py"] = {"place": str(path), "sha256": digest(path)}
        with pytest.raises(UserError, match="add --trust-code"):
            load_recorded(folder, code, NAMES)
    for name in (f"{attack}:Half", "antigravity:geohash"):
        with pytest.raises(UserError, match="expected code that was executed before"):
            recipe_from_plain_data(plain | {"loss": {"name": name}})
    assert not marker.exists()
    load_recorded(folder, code, NAMES, trusted=True)
    assert marker.exists()


def test_names_of_other_code_are_refused(recorded, write):
    folder, code, _ = recorded
    write("other.py", "raise RuntimeError\n")
    for name in ("other.py:Half", "antigravity:geohash"):
        with pytest.raises(UserError, match="expected names of recorded code, got"):
            load_recorded(folder, code, [name], trusted=True)


def test_a_compiled_file_in_a_run_folder_is_not_executed(recorded, files, tmp_path):
    folder, code, plain = recorded
    copy = folder / "code" / "half_loss.py"
    harmless = copy.read_bytes()
    marker = tmp_path / "executed"
    attack = touch(marker).encode()
    assert len(attack) < len(harmless)
    copy.write_bytes(attack + b"#" * (len(harmless) - len(attack)))  # of the same size
    times = copy.stat().st_atime_ns, copy.stat().st_mtime_ns
    py_compile.compile(str(copy))
    copy.write_bytes(harmless)
    os.utime(copy, ns=times)
    files.unlink()
    load_recorded(folder, code, NAMES, trusted=True)
    assert not marker.exists()
    assert recipe_from_plain_data(plain).loss.share == 0.5


def test_runs_of_two_versions_are_read_in_one_process(recorded, files):
    folder, code, plain = recorded
    path = files.parent / "half_loss.py"
    path.write_text(path.read_text().replace("0.5", "0.75"))
    now = find(f"{path}:Half")
    assert now().share == 0.75
    load_recorded(folder, code, NAMES, trusted=True)
    del plain["loss"]["share"]
    assert recipe_from_plain_data(plain).loss.share == 0.5
    newer = {"half_loss.py": {"place": str(path), "sha256": digest(path)}}
    load_recorded(folder, newer, NAMES)
    assert recipe_from_plain_data(plain).loss.share == 0.75


def test_code_that_was_not_kept_is_named(recorded, files):
    folder, code, _ = recorded
    files.unlink()
    (folder / "code" / "half_loss.py").unlink()
    with pytest.raises(UserError, match=r"seed0: cannot read its code: .*No such file"):
        load_recorded(folder, code, NAMES, trusted=True)


def test_packages_are_executed_where_they_were(write, tmp_path, monkeypatch, forget):
    write("beside/own_package/__init__.py", "")
    path = write("beside/own_package/losses.py", "class Center: pass\n")
    monkeypatch.syspath_prepend(path.parent.parent)
    name = name_of(find("own_package.losses:Center"))
    code = code_of([name])
    forget()
    load_recorded(tmp_path / "runs" / "label" / "seed0", code, [name])
    with names_from(None):
        assert find(name).__name__ == "Center"
        with pytest.raises(UserError, match="json: expected code that was executed before"):
            find("json:JSONDecoder")

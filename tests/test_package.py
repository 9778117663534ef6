"""Tests of the package as a whole."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import semaug


def modules_after(statement):
    """Return what a fresh interpreter has imported after a statement."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_core_needs_torch_alone():
    core = "import semaug; semaug.ISDALoss; semaug.attach; semaug.ClassCovariance"
    added = modules_after(core) - modules_after("import torch")
    ours = {name for name in added if name.partition(".")[0] == "semaug"}
    known = {name for name in added - ours if name.partition(".")[0] in sys.stdlib_module_names}
    known |= {name for name in added if name.partition(".")[0] == "torch"}
    assert added - ours - known == set()
    assert not {name for name in ours if name.startswith(("semaug.engine", "semaug.data"))}


def test_the_command_line_starts_without_torch():
    assert "torch" not in modules_after("import semaug.cli")


def test_training_on_digits_imports_nothing_that_it_does_not_need():
    added = modules_after(
        "import gc, sys\n"
        "from semaug.cli.group import load_command; load_command('train')\n"
        "assert gc.isenabled() and 'torchmetrics' not in sys.modules\n"
        "from semaug.data import load_data; load_data('digits')"
    )
    assert not added & {"matplotlib", "scipy", "sklearn", "torchmetrics", "transformers"}


def test_every_public_name_is_there_and_listed():
    for name in semaug.__all__:
        assert getattr(semaug, name).__name__ == name
        assert name in dir(semaug)
    with pytest.raises(AttributeError, match="module 'semaug' has no attribute 'ISDA'"):
        _ = semaug.ISDA


ROOT = Path(__file__).parents[1]


def test_citation_and_readme_name_the_same_papers():
    bibtex = (ROOT / "README.md").read_text().partition("```bibtex")[2]
    titles = re.findall(r" title = \{([^}]*)\}", bibtex)
    assert len(titles) == 3
    citation = (ROOT / "CITATION.cff").read_text()
    assert {f"title: {title}" in citation for title in titles} == {True}


def test_ci_runs_on_every_python_that_the_package_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    ci = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.search(r"python: \[(.*)\]", ci)[1] == ", ".join(f'"{one}"' for one in named)
    assert project["requires-python"] == f">={named[0]}"

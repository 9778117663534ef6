"""Everything the README and the method cards show is run here.

Python blocks run as they are. A ``diff`` block runs twice, before and after. Commands of
``semaug`` run in an empty folder, those that train with ``--quick`` added. Other commands are
checked for existence: what they would do, installing and running the tests, is going on already.
"""

import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from semaug.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    """Return (name, text) of every fenced block of a language."""
    found = []
    for page in PAGES:
        texts = re.findall(
            rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
        )
        found += [pytest.param(text, id=f"{page.name}-{n}") for n, text in enumerate(texts)]
    return found


def images_and_labels():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(4, 3, 64, 64, generator=generator), torch.tensor([0, 1, 1, 9]))
        for _ in range(2)
    ]


@pytest.mark.parametrize("text", blocks("python"))
def test_python_blocks_run(text):
    exec(compile(text, "README", "exec"), {})


@pytest.mark.parametrize("text", blocks("diff"))
@pytest.mark.parametrize("side", ["-", "+"])
def test_both_sides_of_a_diff_train(text, side):
    code = "\n".join(line[1:] for line in text.splitlines() if line[:1] in (" ", side, ""))
    names = {"loader": images_and_labels()}
    exec(compile(code, "README", "exec"), names)
    assert names["loss"].isfinite()


COMMANDS = [
    pytest.param(line, id=line)
    for block in blocks("sh")
    for line in block.values[0].strip().splitlines()
]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_work(line, tmp_path, monkeypatch):
    program, *arguments = shlex.split(line)
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        assert line == 'pip install ".[train]"'
        assert re.search(r"^train = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    else:
        assert program == "semaug"
        monkeypatch.chdir(tmp_path)
        if arguments[0] == "report":  # of something
            CliRunner().invoke(app, ["train", "digits_resnet8", "--quick"])
        quick = ["--quick"] if arguments[0] in ("train", "compare") else []
        result = CliRunner().invoke(app, [*arguments, *quick])
        assert result.exit_code == 0, result.output


def test_every_language_of_the_readme_was_run():
    assert blocks("python")
    assert blocks("diff")
    assert {shlex.split(c.values[0])[0] for c in COMMANDS} == {"pip", "semaug", "make"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target

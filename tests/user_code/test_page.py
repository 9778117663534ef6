"""What docs/extending.md shows is what the files of the stranger hold, and its commands work."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "extending.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def without_layout(code):
    """Leave out what a formatter changes: the page may break lines elsewhere than a file."""
    return "".join(code.split()).replace(",)", ")")


def test_every_excerpt_is_in_a_file():
    files = [without_layout(path.read_text()) for path in HERE.glob("*.py")]
    assert blocks("py")
    for excerpt in blocks("py"):
        assert any(without_layout(excerpt) in text for text in files), excerpt


def test_names_are_where_the_page_says():
    rows = re.findall(r"^\| (`semaug\.[^|]*) \| ([^|]*) \|$", PAGE, re.M)
    assert len(rows) > 10
    for modules, names in rows:
        for module, own in zip(modules.split(", "), names.split("; "), strict=True):
            found = importlib.import_module(module.strip("`"))
            for name in re.findall(r"`(\w+)`", own):
                assert hasattr(found, name), f"{module} has no {name}"


@pytest.mark.full
@pytest.mark.slow
def test_commands_and_scripts_of_the_page_work_in_their_order(stranger):
    done = []
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.M | re.S):
        if language == "python":
            (stranger.page / "script.py").write_text(block)
            done.append(stranger("script.py", folder=stranger.page))
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "semaug"
            done.append(stranger(*arguments, folder=stranger.page))
    assert len(done) > 5
    for line in re.findall(r"`semaug (list [^`]*)`", PAGE):
        assert "loss.lr=" in stranger(*line.split(), folder=stranger.page)

"""Each loss says where its equation is from, and where it stands number by number."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import semaug.losses

ROOT = Path(__file__).parents[2]
NAMES = [
    module.name
    for module in pkgutil.iter_modules(semaug.losses.__path__)
    if module.name[0] != "_" and module.name != "cross_entropy"  # which is torch's
]
OF_NO_LITERAL_FORM = {"diagnostics"}  # what tests of it compute by other losses


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_names_its_source_and_its_literal_form(name):
    text = importlib.import_module(f"semaug.losses.{name}").__doc__
    assert re.search(r"^Source: .*?(Eqs?\. \(|Proposition|section)", text, re.M | re.S)
    if name in OF_NO_LITERAL_FORM:
        return
    form = text[text.index("\nLiteral form: ") :]
    places = re.findall(r"(tests/\S+\.py), (``\w+``(?: and ``\w+``)?)", form)
    assert places
    for file, functions in places:
        for function in re.findall(r"``(\w+)``", functions):
            assert f"def {function}(" in (ROOT / file).read_text()

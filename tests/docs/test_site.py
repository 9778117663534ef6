"""Tests of what the documentation is built from; `make docs` builds it, with warnings as errors."""

import ast
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import semaug
from semaug.cli.group import COMMANDS
from semaug.published import find_published
from semaug.published.table import find_table
from semaug_site.api import api_pages, comment_on, documented_names
from semaug_site.commands import commands_page
from semaug_site.markdown import table
from semaug_site.sources import SECTIONS, lead_to_pages, menu
from semaug_site.tables import read_records, table_section

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def described():
    """Return the names that the pages of the API describe, in their order."""
    text = "\n".join(text for _, text in api_pages())
    return re.findall(r"^\.\. (?:autoclass|autofunction|py:data):: (\S+)$", text, re.M)


def test_every_public_name_is_described_once(described):
    modules = [import_module(one.name) for one in iter_modules(semaug.__path__, "semaug.")]
    public = {f"{m.__name__}.{n}" for m in modules for n in getattr(m, "__all__", ())}
    chosen = documented_names()
    assert len(public) > 100
    assert {chosen[name] for name in public} <= set(described)
    assert {f"semaug.{name}" for name in semaug.__all__} <= set(described)
    assert len(described) == len(set(described))


def imported(path):
    """Return the names that a file imports from semaug."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("semaug"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_what_examples_import_is_described(described):
    chosen = documented_names()
    for path in sorted(ROOT.glob("examples/*.py")):
        for name in imported(path):
            assert name in described or chosen[name] in described


def test_public_data_has_a_comment():
    assert comment_on("semaug.registry", "losses") == "What loss= takes."
    with pytest.raises(LookupError, match=r"semaug\.data\.Nothing is public and has no comment"):
        comment_on("semaug.data", "Nothing")


def test_every_command_has_its_options():
    page = commands_page()
    titles = re.findall(r"^##+ semaug (.*)$", page, re.M)
    assert set(COMMANDS) <= set(titles)
    assert {"data list", "data fetch", "data check"} <= set(titles)
    (train,) = re.findall(r"^## semaug train\n.*?(?=^## )", page, re.M | re.S)
    assert "semaug train [OPTIONS] RECIPE" in train
    assert "semaug train digits_resnet8_isda\nsemaug train cifar100_resnet32_isda" in train
    for option in ("`--resume`", "With `--resume` it continues", "[default: runs]"):
        assert option in train


def test_a_table_has_what_is_published_beside_what_is_measured():
    (number,) = find_published("isda", 4, row="CIFAR-10, Wide-ResNet-28-10", column="Cutout")
    lines = table_section("isda-4", {}).splitlines()
    (row,) = [line for line in lines if line.startswith(f"| {number.row} |")]
    assert row.replace("\N{NO-BREAK SPACE}", " ").count(f"| {number} (5)<br>*not run* |") == 1


def test_every_recorded_result_has_its_place():
    records = read_records(ROOT / "results")
    assert records
    for name, files in records.items():
        places = {(entry.row, entry.column) for entry in find_table(name)}
        section = table_section(name, files).replace("\N{NO-BREAK SPACE}", " ")
        for file, cells in files.items():
            assert f"[{file}](../results/{file})" in section
            for cell in cells:
                assert (cell["row"], cell["column"]) in places
                assert f"*{cell['measured']}*" in section


def test_cells_may_hold_what_divides_them():
    assert table(["a", "b"], [["x | y", "1\n2"]]) == "| a | b |\n| --- | --- |\n| x \\| y | 1 2 |\n"


def test_links_to_code_and_folders_lead_to_pages():
    text, files = lead_to_pages(ROOT / "docs" / "extending.md")
    assert "](../tests/user_code/center_loss.py.md)" in text
    assert "](../tests/user_code.md)" in text
    assert {ROOT / "tests/user_code", ROOT / "tests/user_code/roll.py"} <= files
    text, files = lead_to_pages(ROOT / "README.md")
    assert "](results/digits_resnet8.json)" in text
    assert {ROOT / "results/digits_resnet8.json", ROOT / "LICENSE"} <= files


def test_links_to_the_readme_and_to_nothing(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"[a]({ROOT}/README.md#install) [b](nothing.md) [c](https://arxiv.org/abs/1)")
    assert lead_to_pages(page) == (page.read_text().replace("README", "index"), set())


def test_a_new_page_appears_in_the_menu_once():
    named = {name for section in SECTIONS.values() for name in section if "*" not in name}
    sections = [*menu({*named, "docs/methods/new", "docs/other", "somewhere/else"})]
    listed = [re.sub(r".*<(.*)>", r"\1", line) for text in sections for line in text.splitlines()]
    assert listed.count("docs/methods/new") == listed.count("docs/other") == 1
    assert listed.count("docs/features") == 1
    assert "docs/methods/new" in sections[list(SECTIONS).index("Methods")]
    assert "somewhere/else" not in listed

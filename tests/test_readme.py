"""Everything the README and the documentation show is run here, or looked up.

Python blocks run as they are. A ``diff`` block runs twice, before and after. Commands in ``sh``
blocks run in the order of their page, in one empty folder, those that train with ``--quick``
added; with ``--full`` those of the README as they stand, too. All other commands, in the text and
in other files, are parsed: their names, options, recipes, changes of recipes and tables must exist.
"""

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from semaug.cli import app
from semaug.cli.group import COMMANDS, load_command
from semaug.cli.options import changes_for, split_seed
from semaug.engine.device import cpu_threads
from semaug.published.table import find_table
from semaug.recipe.overrides import takes_list
from semaug.recipes import find_recipe
from semaug.runs.environment import describe_device

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = [ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("[ber]*/*.md"))]  # benchmarks, examples, ...
LINKING = [*PAGES, *OTHERS, ROOT / "CHANGELOG.md"]
TRAINING = ("train", "compare", "search")


def texts(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def blocks(language):
    """Return (name, text) of every fenced block of a language."""
    return [
        pytest.param(text, id=f"{page.name}-{n}")
        for page in PAGES
        if page.name != "extending.md"  # runs beside its files: tests/user_code/test_page.py
        for n, text in enumerate(texts(page, language))
    ]


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


def expanded(argument):
    """Return the paths that a shell would put in place of a pattern."""
    return sorted(map(str, Path().glob(argument))) if "*" in argument else [argument]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.full] * (page.name == "commands.md"))
        for page in PAGES
        if texts(page, "sh")
    ],
    ids=lambda page: page.name,
)
def test_commands_of_a_page_work_in_their_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in "".join(texts(page, "sh")).splitlines():
        program, *arguments = shlex.split(line)
        if program == "pip":
            assert line == 'pip install ".[report]"'
            assert re.search(r"^report = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
            continue
        assert program == "semaug"
        if arguments[0] == "report" and not Path("runs").exists():
            CliRunner().invoke(app, ["train", "digits_resnet8", "--quick"])
        quick = ["--quick"] if arguments[0] in TRAINING else []
        words = [word for argument in arguments for word in expanded(argument)]
        result = CliRunner().invoke(app, [*words, *quick])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


NUMBER = r"[-+]?\d+\.\d\d"


def shown():
    """Return (words, lines that it prints) for each command of the README that shows its output."""
    parts = r"^```sh\nsemaug ([^\n]*)\n```\n\n```\n(.*?)^```"
    found = re.findall(parts, PAGES[0].read_text(), re.MULTILINE | re.DOTALL)
    return [(shlex.split(words), lines.splitlines()) for words, lines in found]


def test_numbers_of_the_readme_are_those_of_its_table():
    (row,) = re.findall(r"\(results/digits_resnet8\.json\) (.*)", PAGES[0].read_text())
    first, second, difference, _ = shown()[1][1]
    printed = [re.findall(NUMBER, line) for line in (first, second, difference)]
    numbers = [*printed[0][:2], *printed[1][:2], printed[2][0], *printed[2][1:]]
    assert numbers == re.findall(NUMBER, row.replace("\N{MINUS SIGN}", "-"))


@pytest.mark.full  # six runs of digits
def test_commands_of_the_readme_print_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    recorded = (ROOT / "results" / "digits_resnet8.json").read_text()
    exact = describe_device(torch.device("cpu")).partition(",")[0] in recorded
    assert len(shown()) == 2
    for words, lines in shown():
        with cpu_threads(2):  # as on a computer with two cores
            result = CliRunner().invoke(app, [*words, "--device", "cpu"])
        assert result.exit_code == 0, result.output
        assert "warning" not in result.output
        for line in lines:
            parts = [line] if exact else re.split(NUMBER, line)  # another processor rounds so
            pattern = NUMBER.join(re.escape(part).replace(r"\.\.\.", ".*") for part in parts)
            assert re.search(pattern, result.output), f"{line}\n{result.output}"


def named_commands():
    """Return (page, words) of every command in code of any page, but for placeholders."""
    found = {}
    for page in [*PAGES, *OTHERS]:
        text = page.read_text().replace("\\\n", " ")
        fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in fenced for line in block.splitlines()]
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
        for line in lines:
            if re.match(r"(semaug|python|make|torchrun) [\w.-]", line):
                found.setdefault(line, page)
    return [pytest.param(line, id=f"{page.name}: {line}") for line, page in found.items()]


def is_placeholder(word):
    return "..." in word or ".py:" in word or re.search(r"\b[A-Z]{3,}\b", word)


@pytest.mark.parametrize("line", named_commands())
def test_named_commands_exist(line):
    program, *words = shlex.split(line, comments=True)
    if program == "torchrun":
        words = words[words.index("semaug") + 1 :] if "semaug" in words else words[2:]
        program = "semaug" if "-m" in line else "python"
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "python" and words[0] != "-m":
        script = ROOT / words[0]
        known = script.read_text() + (ROOT / "benchmarks" / "measure.py").read_text()
        assert all(f'"{word}"' in known for word in words if word.startswith("--"))
    elif program == "semaug" and words[0] not in ("COMMAND", "--help", "--install-completion"):
        check_command(words)


def check_command(words):
    name, *arguments = words
    assert name in COMMANDS
    command = load_command(name)
    if name == "data" and arguments:
        name, command, arguments = command.resolve_command(typer.Context(command), arguments)
    if not arguments or "--help" in arguments:
        return
    given = command.make_context(name, [a for a in arguments if a != "..."]).params
    recipes = [given[part] for part in ("recipe", "first", "second") if part in given]
    if any(is_placeholder(word) for word in [*recipes, *(given.get("overrides") or [])]):
        return
    changes, _ = split_seed([*(given.get("overrides") or [])], None)
    if name == "search":
        base = find_recipe(recipes[0])
        lists = [field for field in changes if not takes_list(base, changes, field)]
        changes |= {field: changes[field].partition(",")[0] for field in lists}
    if name == "table" and not is_placeholder(given["name"]):
        entries = find_table(given["name"], given["rows"] or ())
        recipes = [entry.recipe for entry in entries if entry.recipe is not None]
    if recipes:
        changes_for(recipes, changes)


def test_every_language_of_the_readme_was_run():
    assert blocks("python")
    assert blocks("diff")
    readme = "".join(texts(ROOT / "README.md", "sh"))
    assert {shlex.split(line)[0] for line in readme.splitlines()} == {"pip", "semaug"}
    assert set(COMMANDS) <= {c.values[0].split()[1] for c in named_commands()}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_links_to_headings_lead_to_one(page):
    for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        lines = (page.parent / target if target else page).read_text().splitlines()
        titles = [line.lstrip("# ") for line in lines if line.startswith("#")]
        anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
        assert heading in anchors, f"{target}#{heading}"

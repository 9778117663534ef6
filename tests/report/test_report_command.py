"""Tests of semaug.cli.report."""

import pytest
import typer
from typer.testing import CliRunner

from semaug.cli.report import report_command
from semaug.errors import UserError


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs the command and returns its lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    app = typer.Typer()
    app.command()(report_command)

    def run(*arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output.splitlines()

    return run


def test_it_writes_a_page_beside_no_leftovers(run, two_recipes, tmp_path):
    assert run(two_recipes) == ["wrote report.html, about 4 runs"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "runs"]


def test_page_and_pictures_go_where_they_are_wanted(run, write_run, tmp_path):
    folder = write_run()
    lines = run(folder, "-o", "some/page.html", "--plots", "some/pictures")
    assert lines == ["wrote some/page.html, about 1 run", "wrote 8 pictures in some/pictures"]
    assert (tmp_path / "some" / "page.html").exists()
    assert len(list((tmp_path / "some" / "pictures").iterdir())) == 8


def test_notes_are_printed_too(run, write_run):
    folder = write_run()
    (folder / "recipe.json").write_text("{")
    note, written = run(folder)
    assert note.startswith(f"note: {folder}/recipe.json: expected JSON, got a damaged file")
    assert written == "wrote report.html, about 1 run"


def test_a_report_of_nothing_is_refused_and_leaves_the_old_page(run, tmp_path):
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(UserError, match="expected folders with runs"):
        run(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"

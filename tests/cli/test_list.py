"""Tests of semaug.cli.list."""

import pytest

from semaug.recipes import RECIPES, TABLES


@pytest.mark.parametrize("columns", ["80", "200"])
def test_recipes_stand_once_under_the_table_they_belong_to(semaug, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    status, output, _ = semaug("list", "recipes")
    assert status == 0
    words = output.split()
    assert all(words.count(name) == 1 for name in RECIPES)
    for title, table in TABLES.items():
        _, _, below = output.partition(f"{title}\n")
        assert below.split()[: len(table)] == list(table)


def test_help_tells_every_kind(semaug):
    status, output, _ = semaug("list", "--help")
    assert status == 0
    text = " ".join(output.replace("│", " ").split())
    assert "What to list: recipes, tables, fields, methods, losses, networks, data, all" in text

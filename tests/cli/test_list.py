"""Tests of semaug.cli.list."""

import re

import pytest

from semaug import registry
from semaug.losses import ISDA
from semaug.recipes import TABLES, find_recipe


@pytest.mark.parametrize("columns", ["80", "200"])
def test_recipes_stand_once_under_the_table_they_belong_to(semaug, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    status, output, _ = semaug("list", "recipes")
    assert status == 0
    words = output.split()
    for title, table in TABLES.items():
        assert all(words.count(name) == 1 for name in table)
        _, _, below = output.partition(title)
        names = [word for word in below.split() if word in table]
        assert names == list(table)


def test_every_name_has_one_with_isda_as_the_list_says(semaug):
    first = semaug("list", "recipes")[1].splitlines()[0]
    assert first == "NAME_isda is NAME with ISDA; all other changes are NAME,field=value"
    for name in (name for table in TABLES.values() for name, row in table.items() if row.isda):
        assert isinstance(find_recipe(f"{name}_isda").loss, ISDA)


def test_each_kind_lists_the_members_of_its_registry(semaug):
    for kind in ("methods", "losses", "networks", "generators", "optimizers", "schedules"):
        status, output, _ = semaug("list", kind)
        assert status == 0
        assert set(getattr(registry, kind).names()) <= set(output.split())
        assert "digits_resnet8" not in output
    assert "cifar100" in semaug("list", "data")[1]
    assert "isda-8-small" in semaug("list", "tables")[1]


def test_fields_are_those_of_a_recipe(semaug):
    assert "method.ai_weight" not in semaug("list", "recipe")[1]
    output = semaug("list", "recipe", "cifar10_resnet32_ait,loss=isda,strength=1")[1]
    assert "method.ai_weight" in output
    assert "loss.strength" in output


def test_help_tells_every_kind(semaug):
    status, output, _ = semaug("list", "--help")
    assert status == 0
    text = " ".join(output.replace("│", " ").split())
    assert "What to list: recipes, tables, recipe, methods, losses, networks, gener" in text


def test_fields_have_value_type_and_default(semaug, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    output = " ".join(semaug("list", "recipe", "digits_resnet8_isda,clip_norm=2")[1].split())
    assert "batch_size=64 Images in a step" in output
    assert "may have fewer. (a whole number; default: 128)" in output
    assert "loss=isda Loss, see semaug list losses. (the name of a loss; default: cross" in output
    assert "clip_norm=2 " in output
    assert "(a number or 'none'; default: none)" in output


def test_fields_that_differ_from_those_of_the_baseline_say_what_is_there(semaug, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    output = " ".join(semaug("list", "recipe", "digits_resnet8_isda")[1].split())
    marked = re.findall(r"(\S+)=\S+ (?:(?!=).)*? In digits_resnet8: ", output)
    assert "In digits_resnet8: cross_entropy" in output
    assert "In digits_resnet8: no such field" in output
    assert {"loss", "loss.strength"} < {*marked}
    assert all(name.startswith("loss") for name in marked)
    output = " ".join(semaug("list", "recipe", "digits_resnet8_isda,lr=0.2")[1].split())
    assert output.count("In digits_resnet8_isda: ") == output.count("In digits_resnet8_isda: 0.1")
    assert "In digits" not in semaug("list", "recipe", "digits_resnet8")[1]

"""A run folder whose files are JSON, and hold anything at any place."""

import copy
import json
import shutil
import sys

import pytest

from semaug.report import collect, render

ODD = (None, "x", [], {"a": 1}, 10**400)


def places_in(value, place=()):
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[key], (*place, key))


def changed(content, place, value):
    if not place:
        return value
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


@pytest.mark.parametrize("name", ["summary.json", "recipe.json", "environment.json", "images.json"])
def test_no_such_file_stops_a_report(write_run, tmp_path, monkeypatch, name):
    good = write_run(done=None if name == "summary.json" else 2, by_class={"cat": 1.0})
    content = json.loads((good / name).read_text())
    count = 0
    for place in places_in(content):
        for value in ODD:
            folder = tmp_path / "runs" / "odd" / f"seed{count}"
            shutil.copytree(good, folder)
            (folder / name).write_text(json.dumps(changed(content, place, value)))
            count += 1
    report = collect([tmp_path / "runs"])
    assert count >= len(ODD) * 4
    assert len(report.notes) > count / 8
    monkeypatch.setattr(
        sys.modules["semaug.report.render"], "plots_of", lambda report: [[]] * len(report.groups)
    )
    assert "digits_resnet8, seed 0" in render(report)

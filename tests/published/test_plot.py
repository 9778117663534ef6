"""Tests of semaug.published.plot."""

import json
from dataclasses import replace

import pytest

from semaug.errors import UserError
from semaug.published.figures import CURVES, FIGURES
from semaug.published.plot import draw_table
from semaug.published.table import Cell, find_table
from semaug.recipes import find_recipe, make_run


class Told(Cell):
    """A cell with values as if runs had told them."""

    def values(self):
        return VALUES.get((self.entry.row, self.entry.column), {})


VALUES = {
    ("M = 1", "CIFAR-100 + Cutout"): {0: 17.0, 1: 18.0},
    ("M = ∞ (ISDA)", "CIFAR-100 + Cutout"): {0: 16.0},
    ("M = 2", "CIFAR-100 + Cutout, learned"): {0: 17.5},
}


def test_rows_are_places_and_columns_lines_of_means():
    figure = draw_table("isda-fig10", [Told(entry, ()) for entry in FIGURES["isda-fig10"]])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "∞ (ISDA)"]
    assert axes.get_xlabel() == "M"
    assert axes.get_ylabel() == "error in percent, lower is better"
    lines = {one.get_label(): one for one in axes.containers}
    assert lines.keys() == {"CIFAR-100 + Cutout", "CIFAR-100 + Cutout, learned"}
    line, _, (bars,) = lines["CIFAR-100 + Cutout"].lines
    assert line.get_xydata().tolist() == [[0, 17.5], [2, 16]]
    first, last = (segment[:, 1].tolist() for segment in bars.get_segments())
    assert first == pytest.approx([17.5 - 0.5**0.5, 17.5 + 0.5**0.5])
    assert last == [16, 16]  # one run has no spread


def test_printed_numbers_are_rings():
    figure = draw_table("isda-8", [Cell(entry, ()) for entry in find_table("isda-8")])
    (axes,) = figure.axes
    rings = [line for line in axes.get_lines() if line.get_markerfacecolor() == "none"]
    assert len(rings) == 18
    assert (rings[0].get_xydata().tolist(), axes.get_xlabel()) == ([[0, 3.82]], "")


@pytest.mark.parametrize("name", ["isda-fig10", *CURVES])
def test_nothing_to_draw_is_said(name):
    with pytest.raises(UserError, match=f"table: expected runs of {name} to draw, got none; --run"):
        draw_table(name, [Cell(entry, ()) for entry in FIGURES[name]])


def test_figure_5_has_a_curve_for_each_row(tmp_path):
    entries = FIGURES["isda-fig5-small"]
    assert [entry.row for entry in entries] == [
        "ResNet-20", "ResNet-20 + ISDA", "ResNet-20 + AA", "ResNet-20 + AA + ISDA",
    ]  # fmt: skip
    augment, loss = (getattr(find_recipe(entries[3].recipe), x) for x in ("augment", "loss"))
    assert (augment.policy, augment.cutout, loss.strength) == ("autoaugment_cifar10", 16, 0.5)
    assert find_recipe(FIGURES["isda-fig5"][2].recipe).augment.fill == augment.fill
    cells = []
    for entry in entries[:2]:
        run = make_run(entry.recipe, {}, 0, False, tmp_path)
        run.folder.mkdir(parents=True)
        metric = {"name": "error", "unit": "%", "better": "lower", "report": "last"}
        about = {"format": 2, "name": run.name, "overrides": {}, "quick": False, "code": {}}
        about |= {"metric": metric, "other_metrics": [], **run.plain()}
        (run.folder / "recipe.json").write_text(json.dumps(about))
        rows = [{"epoch": k, "step": k, "test_error": 9.0 - k} for k in (1, 2)]
        run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        cells.append(Cell(entry, [run, replace(run, seed=1)]))  # of which one has not begun
    (axes,) = draw_table("isda-fig5-small", cells).axes
    assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[8.0, 7.0]] * 2

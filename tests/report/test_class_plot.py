"""Tests of semaug.report.class_plot."""

from xml.etree import ElementTree

import pytest

from semaug.report import collect
from semaug.report.class_plot import ClassPlot
from semaug.report.picture import SERIES
from semaug.report.plots import plots_of
from semaug.runs.read import Measure

SVG = "{http://www.w3.org/2000/svg}"


def plot_of(folder):
    (plots,) = plots_of(collect([folder]))
    (plot,) = (plot for plot in plots if isinstance(plot, ClassPlot))
    return plot


@pytest.fixture
def plot(write_run, tmp_path):
    write_run("_a", by_class={"$cat$": 10.0, "d" * 90: 20.0, "eel": 5.0})
    write_run("b_isda", by_class={"$cat$": 12.0, "d" * 90: 16.0})
    return plot_of(tmp_path)


def test_dots_are_values_with_the_largest_gain_at_the_top(plot):
    (axes,) = plot.draw(legend=False).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["d" * 27 + "…", "$cat$", "eel"]
    top, bottom = sorted(axes.get_ylim())
    assert axes.get_ylim() == (bottom, top)
    assert axes.get_xlabel() == "error in percent"
    rings, dots = axes.lines
    assert list(rings.get_xdata()) == [20, 10, 5]
    assert list(dots.get_xdata())[:2] == [16, 12]
    assert [line.get_fillstyle() for line in axes.lines] == ["none", "full"]
    assert [line.get_color() for line in axes.lines] == list(SERIES[:2])


def test_a_page_gets_its_colors_and_words(plot):
    root = ElementTree.fromstring(plot.svg())
    assert root.find(f"{SVG}title").text == "test error by class"
    assert (
        f"{'d' * 90}: _a 20, b_isda 16. $cat$: _a 10, b_isda 12. eel: _a 5."
        in root.find(f"{SVG}desc").text
    )
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert "var(--series-1)" in styles
    assert not any(color in styles for color in SERIES)


def test_a_file_has_a_legend(plot):
    (legend,) = plot.draw(legend=True).legends
    assert [text.get_text().lstrip("\u200b") for text in legend.get_texts()] == ["_a", "b_isda"]


def test_of_many_recipes_the_first_are_drawn(write_run, tmp_path):
    for place in range(10):
        write_run(f"recipe{place}", by_class={"cat": 1.0 * place})
    (axes,) = plot_of(tmp_path).draw(legend=True).axes
    assert len(axes.lines) == len(SERIES)


def test_colors_are_those_of_the_curves(write_run, tmp_path):
    write_run("a")
    write_run("b_isda", by_class={"cat": 1.0})
    (axes,) = plot_of(tmp_path).draw(legend=True).axes
    assert [line.get_color() for line in axes.lines] == [SERIES[1]]


def test_where_higher_is_better_the_largest_rise_is_at_the_top(write_run, tmp_path):
    miou = Measure("miou", "%", "higher")
    write_run("a", by_class={"car": 50.0, "road": 90.0}, measure=miou)
    write_run("b_isda", by_class={"car": 60.0, "road": 85.0}, measure=miou)
    plot = plot_of(tmp_path)
    assert plot.title == "test miou by class"
    (axes,) = plot.draw(legend=False).axes
    assert axes.get_xlabel() == "miou in percent"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["car", "road"]

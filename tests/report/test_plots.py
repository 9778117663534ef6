"""Tests of semaug.report.plots."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from semaug.report import collect, export_plots, render
from semaug.report.picture import SERIES
from semaug.report.plots import plots_of, series
from semaug.runs.read import Measure

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def plots(two_recipes):
    (plots,) = plots_of(collect([two_recipes]))
    return {plot.title: plot for plot in plots}


def test_errors_come_first_and_every_other_column_is_drawn(write_run):
    folder = write_run(columns={"bound_gap": 0.5, "mean_penalty": -1.0})
    (plots,) = plots_of(collect([folder]))
    assert [plot.title for plot in plots] == [
        "test error and training error",
        "learning rate",
        "training loss",
        "bound_gap",
        "mean_penalty",
        "images/s",
    ]
    assert [plot.columns for plot in plots][:2] == [("test_error", "train_error"), ("lr",)]


def test_a_curve_passes_through_the_means(plots, two_recipes):
    figure = plots["test error and training error"].draw(legend=False)
    lines = {line.get_label().lstrip("\u200b"): line for line in figure.axes[0].lines}
    assert list(lines) == [
        "digits_resnet8, test error",
        "digits_resnet8, training error",
        "digits_resnet8_isda, test error",
        "digits_resnet8_isda, training error",
    ]
    line = lines["digits_resnet8, test error"]
    assert list(line.get_xdata()) == [2, 4]
    assert list(line.get_ydata()) == [25.25, 12.625]


def test_the_picture_of_a_page_takes_its_colors_and_has_words(plots):
    plot = plots["test error and training error"]
    root = ElementTree.fromstring(plot.svg())
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert not root.get("width")
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == plot.title
    assert "digits_resnet8, test_error: 25.25 at epoch 2, 12.62 at epoch 4." in description.text
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert "var(--series-0)" in styles
    assert "var(--series-1)" in styles
    assert "currentColor" in styles
    assert not any(color in styles for color in SERIES)
    assert root.find(f".//{SVG}metadata") is None
    assert root.find(f".//{SVG}style") is None


def test_references_in_a_picture_lead_to_its_own_ids(plots):
    ids = set()
    for plot in plots.values():
        root = ElementTree.fromstring(plot.svg())
        own = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(own) == len(set(own))
        assert not ids & set(own)
        ids |= set(own)
        for element in root.iter():
            for key, value in element.attrib.items():
                if key.endswith("href"):
                    assert value.removeprefix("#") in own
                if "url(#" in value:
                    assert value.partition("url(#")[2].partition(")")[0] in own


def test_the_same_runs_make_the_same_picture(plots):
    plot = plots["learning rate"]
    assert plot.svg() == plot.svg()


@pytest.mark.parametrize(
    ("scale", "better", "axis"),
    [
        (1.0, "lower", "linear"),
        (0.0, "lower", "linear"),
        (0.01, "lower", "log"),
        (-0.01, "lower", "linear"),
        (0.01, "higher", "linear"),
    ],
)
def test_only_errors_far_apart_share_a_logarithm(write_run, tmp_path, scale, better, axis):
    measure = Measure("frechet", "nats", better)
    write_run(seed=0, measure=measure)
    if scale != 1:
        write_run("digits_resnet8_isda", scale=scale, measure=measure)
    ((plot, *_),) = plots_of(collect([tmp_path]))
    (axes,) = plot.draw(legend=False).axes
    assert axes.get_yscale() == axis
    assert axes.get_ylabel() == f"frechet in nats {'↓' if better == 'lower' else '↑'}"


def test_other_predictors_have_pictures_of_their_own(write_run, tmp_path):
    measure = Measure("miou", "", "higher")
    write_run(measure=measure, predictors=("", "teacher", "network 2"))
    write_run(seed=1, done=2, measure=measure, predictors=("", "teacher", "network 2"))
    (plots,) = plots_of(collect([tmp_path]))
    columns = {plot.title: plot.columns for plot in plots if hasattr(plot, "columns")}
    assert columns["test miou and training miou"] == ("test_miou", "train_miou")
    assert columns["test miou, teacher"] == ("test_miou_teacher",)
    assert columns["test miou, network 2"] == ("test_miou_network_2",)
    assert plots[0].draw(legend=False).axes[0].get_ylabel() == "miou ↑"


def test_a_name_is_no_formula_and_no_markup(write_run):
    folder = write_run("_a$\\frac$<b>&amp;", columns={"<i>$x$": 1.0})
    for plots in plots_of(collect([folder])):
        for plot in plots:
            plot.draw(legend=True).savefig("/dev/null", format="png")
            assert "<b>" not in plot.svg()
            assert "<i>" not in plot.svg()


def test_many_recipes_are_told_apart_by_dashes(write_run, tmp_path):
    assert len({series(place, wide=True) for place in range(32)}) == 32
    assert len({series(place, wide=False) for place in range(32)}) == 32
    for place in range(9):
        write_run(f"recipe{place}")
    ((plot, *_),) = plots_of(collect([tmp_path]))
    assert plot.columns == ("test_error",)
    styles = {
        (line.get_color(), line.get_linestyle()) for line in plot.draw(legend=True).axes[0].lines
    }
    assert len(styles) == 9


def test_pictures_are_written_as_files(two_recipes, tmp_path):
    files = export_plots(collect([two_recipes]), tmp_path / "new" / "pictures")
    assert sorted(path.name for path in files) == [
        f"plot-digits-{column}.{format}"
        for column in ("error", "images-per-second", "lr", "strength", "train-loss")
        for format in ("png", "svg")
    ]
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(p.name for p in files)
    for path in files:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            text = "".join(ElementTree.parse(path).getroot().itertext())
            assert "digits_resnet8" in text
            assert "currentColor" not in path.read_text()


def test_every_picture_of_the_page_is_written_in_both_formats(two_recipes, write_run, tmp_path):
    write_run(seed=5, by_class={"cat": 1.0}, columns={"peak_memory_mib": 5.0})
    report = collect([two_recipes])
    names = re.findall(r'<figure[^>]*>.*?<title id="(.*?)-title">', render(report), re.DOTALL)
    assert len(names) == 7
    files = {path.name for path in export_plots(report, tmp_path / "pictures")}
    assert files == {f"{name}.{format}" for name in names for format in ("png", "svg")}


def test_names_of_files_do_not_clash(write_run):
    folder = write_run(columns={"a b": 1.0, "a/b": 2.0, "A-B": 3.0, "λ": 4.0, "μ": 5.0})
    (plots,) = plots_of(collect([folder]))
    names = [plot.name.lower() for plot in plots]
    assert len(names) == len(set(names))


def test_long_curves_are_thinned_out_and_keep_their_end(write_run, tmp_path):
    write_run(epochs=1501)
    ((plot, *_),) = plots_of(collect([tmp_path]))
    training = plot.draw(legend=False).axes[0].lines[1].get_xdata()
    assert len(training) <= 500
    assert training[-1] == 1501
    assert set(np.diff(training)) == {4}


@pytest.mark.parametrize("value", [1e308, -1e308, 1e99, 1e-320, 0, -1])
def test_no_number_is_too_large_or_small_to_draw(write_run, tmp_path, value):
    write_run(columns={"x": value})
    write_run(seed=1, columns={"x": 1, "test_error": abs(value)})
    assert export_plots(collect([tmp_path / "runs"]), tmp_path / "pictures")


@pytest.mark.parametrize(("far", "scale"), [(100.0, "log"), (1e9, "linear")])
def test_a_run_that_goes_far_makes_a_logarithm_of_an_axis_that_shows_the_others(
    write_run, tmp_path, far, scale
):
    for seed, columns in enumerate(({}, {}, {"train_loss": far})):
        write_run(seed=seed, epochs=20, columns=columns)
    ((_, *plots),) = plots_of(collect([tmp_path / "runs"]))
    (loss,) = [plot for plot in plots if plot.title == "training loss"]
    assert loss.draw(legend=False).axes[0].get_yscale() == scale


def test_a_page_has_the_values_of_a_curve_and_where_its_axis_begins_and_ends(plots):
    root = ElementTree.fromstring(plots["test error and training error"].svg())
    shown = json.loads(root.get("data-curves"))
    assert shown["curves"][0] == ["digits_resnet8, test error", [[2, 25.25], [4, 12.62]]]
    (first, last), width = shown["ends"], float(root.get("viewBox").split()[2])
    line = root.find(f".//{SVG}g[@id='{root.get('aria-labelledby').split()[0][:-6]}-line2d_1']")
    assert 0 < shown["left"] < shown["right"] < 1
    assert first < 1 < 4 < last
    assert width > 0
    assert line is not None

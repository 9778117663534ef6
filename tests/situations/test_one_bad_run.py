"""One run whose numbers are far beyond those of all others."""

import pytest

from semaug.report import collect
from semaug.report.plots import axis_ends, plots_of


def draw(folder, title):
    (plots,) = plots_of(collect([folder]))
    (plot,) = (plot for plot in plots if plot.title == title)
    return plot.draw(legend=False).axes[0], plot.describe()


def test_others_keep_their_height_and_the_page_says_what_is_cut(write_run, tmp_path):
    for seed in range(3):
        write_run("a", seed, columns={"gap": 0.1 * seed})
        write_run("b", seed, columns={"train_loss": 1e6} if seed == 2 else {})
    axes, words = draw(tmp_path, "training loss")
    low, high = axes.get_ylim()
    assert 0.3 < low < 0.5 < 2.0 < high < 2.2
    assert axes.get_xlabel() == "epoch\ncut: b, which goes to 1e+06"
    assert words.endswith("cut: b, which goes to 1e+06.")
    axes, words = draw(tmp_path, "learning rate")
    assert (axes.get_xlabel(), "cut" in words) == ("epoch", False)


def test_what_falls_far_below_is_cut_too(write_run, tmp_path):
    for name in "ab":
        write_run(name, columns={"train_loss": None})
        write_run(f"{name}2", columns={"train_loss": None, "gap": -1e9})
    assert axis_ends([(0, 1), (-1e9, -1e9 + 3), (0, 2)]) == (0, 2)


@pytest.mark.parametrize(
    ("ranges", "ends"),
    [
        ([(0.0, 1.0)], (0.0, 1.0)),
        ([(0.0, 1.0), (0.0, 19.0)], (0.0, 19.0)),
        ([(0.0, 1.0), (0.0, 22.0)], (0.0, 1.0)),
        ([(0.1, 0.1), (0.1, 0.1), (0.5, 0.5)], (0.1, 0.5)),  # constants flatten nothing
        ([(0.1, 2.0), (0.2, 2.5), (90.0, 91.0), (80.0, 1e9)], (0.1, 2.5)),
    ],
)
def test_the_axis_is_that_of_runs_near_the_middle_one(ranges, ends):
    assert axis_ends(ranges) == ends

"""Tests of semaug.report.curves."""

import pytest

from semaug.report import plots
from semaug.report.curves import draw_curves


@pytest.mark.parametrize("error", [0.0, 1.5])
def test_curves_are_those_of_a_report(tmp_path, monkeypatch, error):
    """At 0 % too, which has no place on a logarithmic axis."""
    drawn = []

    def write_plot(plot, path):
        drawn.append(plot.draw(legend=True))
        write(plot, path)

    write = plots.write_plot
    monkeypatch.setattr(plots, "write_plot", write_plot)
    rows = [
        {"epoch": epoch, "test_error": None if epoch == 1 else error, "train_error": 90 * error}
        for epoch in (1, 2, 3)
    ]
    draw_curves(tmp_path / "curves.png", {"a": [rows, rows], "b": [rows, rows]})
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    (axes,) = figure.axes
    assert axes.get_yscale() == ("log" if error else "linear")
    assert "mean of 2 runs, band from lowest to highest" in axes.get_title()
    lines = {line.get_label().strip("\N{ZERO WIDTH SPACE}"): line for line in axes.get_lines()}
    assert set(lines) == {f"{arm}, {kind} error" for arm in "ab" for kind in ("test", "training")}
    assert lines["a, test error"].get_xdata().tolist() == [2, 3]
    assert lines["b, training error"].get_ydata().tolist() == [90 * error] * 3

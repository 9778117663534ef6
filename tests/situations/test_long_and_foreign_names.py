"""Names in pictures that are longer than the picture, or in letters that the first font lacks."""

import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from semaug.report import collect, export_plots, picture
from semaug.report.picture import add_legend, save, settings, wrapped
from semaug.report.plots import plots_of
from semaug.transfer import PAIRS, Transfer
from semaug.transfer.plots import draw_variation

CHANGES = {"corrupt_percent": "20", "cutout": "2", "ema_decay": "0.99", "policy": "randaugment"}


def edges_are_white(path):
    pixels = np.asarray(Image.open(path).convert("L"))
    return min(part.min() for part in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])) == 255


def lines_inside(figure):
    """Return how far names of a legend reach beyond it, in pixels: below 0 is inside."""
    figure.draw_without_rendering()
    (legend,) = figure.legends
    frame = figure.bbox
    boxes = [text.get_window_extent() for text in legend.get_texts()]
    return max(max(frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0) for box in boxes)


def test_nothing_is_cut_from_pictures_of_a_report(write_run, tmp_path):
    for name in ("digits_resnet8", "digits_resnet8_isda", *(f"other{k}_isda" for k in range(6))):
        write_run(name, overrides=CHANGES, by_class={"x" * 90: 1.0})
    report = collect([tmp_path / "runs"])
    for path in export_plots(report, tmp_path / "pictures"):
        if path.suffix == ".png":
            assert edges_are_white(path), path.name
        else:
            text = re.sub(r"\s|\u200b|<[^>]*>", "", path.read_text())
            assert (
                "digits_resnet8_isda,corrupt_percent=20,cutout=2,ema_decay=0.99,policy=ra" in text
            )


def test_nothing_is_cut_from_pictures_of_transfer(tmp_path):
    found = Transfer({}, {",".join(pair): 1.0 for pair in PAIRS}, None)
    label = "cifar10_5k_resnet20," + ",".join(f"{name}={CHANGES[name]}" for name in CHANGES)
    figure = draw_variation({f"{label} {k}": [found] for k in range(12)}, f"cifar10, {label}")
    assert lines_inside(figure) < 0
    save(figure, tmp_path / "a.png")
    assert edges_are_white(tmp_path / "a.png")


def test_a_legend_leaves_the_axes_their_height():
    figure = Figure((5, 3), layout="constrained")
    axes = figure.subplots()
    lines = [axes.plot([0, 1], label=f"{'long_name,' * 20}{k}")[0] for k in range(30)]
    add_legend(figure, lines)
    figure.draw_without_rendering()
    assert axes.bbox.height > 1.5 * figure.dpi
    assert lines_inside(figure) < 0


def test_wide_letters_count_twice():
    assert wrapped("猫" * 10, 10).split("\n") == ["猫" * 5] * 2
    assert wrapped("a,b", 10) == "a,b"


def test_letters_that_no_font_has_are_boxes_without_a_warning(write_run, tmp_path):
    write_run("デジット", by_class={"猫": 1.0, "개": 2.0})
    report = collect([tmp_path / "runs"])
    export_plots(report, tmp_path / "pictures")  # a warning would be an error
    assert "デジット" in (tmp_path / "pictures" / "plot-digits-error.svg").read_text()
    (plots,) = plots_of(report)
    assert any("猫" in plot.svg() for plot in plots)


def test_letters_are_taken_from_the_first_installed_font_that_has_them(tmp_path, monkeypatch):
    def draw(*fonts):
        monkeypatch.setattr(picture, "_FALLBACKS", fonts)
        with matplotlib.rc_context(settings("a")):
            figure = Figure((1, 1))
            figure.text(0.5, 0.5, "\u1d81")  # which DejaVu Sans lacks, and STIX has
        save(figure, tmp_path / "a.png")
        return (tmp_path / "a.png").read_bytes()

    assert draw("No Such Font") == draw()
    assert draw("No Such Font", "STIXGeneral") != draw()

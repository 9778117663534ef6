"""Tests of masks in reports."""

import json

import pytest
import torch

from semaug.report.collect import collect
from semaug.report.masks import DIFFERENCES, masked_images, pictured_images
from semaug.report.masks_plot import MasksPlot
from semaug.report.picture import export
from semaug.report.plots import plots_of
from semaug.report.render import render
from semaug.runs.kept import Kept, write_kept

FOUND = {
    "shown": torch.tensor([0, 2]),
    "sizes": torch.tensor([[2, 3], [1, 2]]),
    "truth": torch.tensor([[[1, 1, 2], [2, 0, 2], [0, 0, 0]], [[0, 0, 0]] * 3], dtype=torch.int16),
    "prediction": torch.tensor([[[1, 2, 2], [2, 2, 1], [0, 0, 0]], [[1, 1, 0]] * 3]).short(),
    "pictures": torch.full((2, 3, 3, 3), 50, dtype=torch.uint8),
}
NAMES, CLASSES = ["a.png", "b.png", "sub/c.png"], ["cat", "dog"]


def test_pictures_have_the_colors_of_classes_and_of_differences():
    found = masked_images(NAMES, CLASSES, FOUND, [[1, 2, 3], [4, 5, 6]])
    first, second = found.images
    assert found.legends == ({"cat": (1, 2, 3), "dog": (4, 5, 6)}, DIFFERENCES)
    assert first.pictures["truth"].tolist() == [
        [[1, 2, 3], [1, 2, 3], [4, 5, 6]],
        [[4, 5, 6], [0, 0, 0], [4, 5, 6]],
    ]
    right, wrong, none = map(list, DIFFERENCES.values())
    assert first.pictures["difference"].tolist() == [[right, wrong, right], [right, none, wrong]]
    assert first.note == "60.0 % of pixels right"
    assert (first.name, second.name, second.note) == ("a.png", "sub/c.png", "")
    assert second.pictures["image"].shape == second.pictures["prediction"].shape == (1, 2, 3)
    assert found.columns == ["image", "truth", "prediction", "difference"]


@pytest.mark.parametrize(
    ("changes", "colors", "error"),
    [
        ({}, [[1, 2, 3]], ValueError),
        ({"pictures": torch.zeros(2, 3, 3, 3)}, None, ValueError),
        ({"shown": torch.tensor([0, 9])}, None, LookupError),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, colors, error):
    with pytest.raises(error):
        masked_images(NAMES, CLASSES, FOUND | changes, colors)


def test_pictures_that_a_loop_made_are_shown_as_they_are():
    bytes_of = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3)
    kept = {
        "shown": torch.tensor([0, 2]),
        "sizes": torch.tensor([[4, 2], [3, 5]]),
        "truth": bytes_of,
    }
    found = pictured_images(NAMES, CLASSES, kept)
    assert (found.columns, [one.name for one in found.images]) == (
        ["truth"],
        ["a.png", "sub/c.png"],
    )
    assert torch.equal(found.images[0].pictures["truth"], bytes_of[0, :, :2])
    with pytest.raises(ValueError, match="pictures of bytes"):
        pictured_images(NAMES, CLASSES, kept | {"truth": bytes_of.float()})


def test_a_report_shows_masks_and_writes_them_as_a_picture(write_run, tmp_path):
    folder = write_run()
    write_kept(folder / "tested.npz", Kept("segmentation", tuple(NAMES), ("<cat>", "dog"), FOUND))
    path = folder / "images.json"
    facts = json.loads(path.read_text()) if path.exists() else {"sha256": {}}
    facts["input"] = {"masks": {"colors": [[1, 2, 3], [4, 5, 6]], "ids": None}}
    path.write_text(json.dumps(facts))
    report = collect([folder])
    page = render(report)
    assert "60.0 % of pixels right" in page
    assert "rgb(1, 2, 3)" in page
    assert "&lt;cat&gt;" in page
    assert page.count('alt="prediction"') == 2
    (plot,) = (plot for plot in plots_of(report)[0] if isinstance(plot, MasksPlot))
    assert plot.describe() == "a.png: 60.0 % of pixels right."
    export([(plot.name, plot.draw(legend=True))], tmp_path)
    assert (tmp_path / f"{plot.name}.png").exists()


def test_damaged_masks_are_left_out_with_a_note(write_run):
    folder = write_run()
    damaged = {**FOUND, "sizes": torch.tensor([[2, 3]])}
    write_kept(folder / "tested.npz", Kept("segmentation", tuple(NAMES), tuple(CLASSES), damaged))
    report = collect([folder])
    assert report.groups[0].recipes[0].masks is None
    assert any("arrays do not fit" in note for note in report.notes)

"""Tests of semaug.report.mistakes, its pictures, and its part of a page."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from semaug.report import collect, export_plots, render
from semaug.report.mistakes import gather
from semaug.report.plots import plots_of
from semaug.runs.kept import Kept, read_kept, write_kept
from tests.report.test_render import Page, cells


def probs(*rows):
    return [[math.log(p) for p in row] for row in rows]


# Three classes; images 1 and 3 are predicted wrongly, and 3 with the confidence of its class.
LABELS = [0, 0, 1, 1, 2, 0]
ROWS = probs(
    [0.8, 0.1, 0.1],
    [0.4, 0.1, 0.5],
    [0.1, 0.8, 0.1],
    [0.9, 0.05, 0.05],
    [0.1, 0.1, 0.8],
    [0.6, 0.2, 0.2],
)


def only_recipe(report):
    ((recipe,),) = (group.recipes for group in report.groups)
    return recipe


def test_a_run_tells_what_it_predicts_wrongly(write_run, keep):
    found = only_recipe(collect([keep(write_run(), LABELS, ROWS)])).mistakes
    assert found.confusion.tolist() == [[2, 0, 1], [1, 1, 0], [0, 0, 1]]
    assert (found.num_runs, found.num_images, found.num_doubted) == (1, 6, 1)
    pairs = [(x.label, x.prediction, x.count, x.percent) for x in found.confused()]
    assert pairs == [
        ("class 0", "class 2", 1, pytest.approx(100 / 3)),
        ("class 1", "class 0", 1, 50),
    ]
    (doubtful,) = found.doubtful
    assert (doubtful.name, doubtful.label, doubtful.prediction) == ("image 3", "class 1", "class 0")
    numbers = doubtful.label_prob, doubtful.prediction_prob, doubtful.loss
    assert numbers == pytest.approx((0.05, 0.9, -math.log(0.05)))
    assert (doubtful.picture == 3).all()
    assert [image.name for image in found.worst] == [f"image {k}" for k in (1, 5, 0, 2, 4)]


def test_seeds_are_averaged_and_their_numbers_of_images_add_up(write_run, keep, tmp_path):
    keep(write_run(seed=0), LABELS, ROWS)
    keep(write_run(seed=1), LABELS, [*ROWS[:3], ROWS[2], *ROWS[4:]])  # knows image 3
    write_run(seed=2)  # of an earlier version
    found = only_recipe(collect([tmp_path])).mistakes
    assert found.confusion.tolist() == [[4, 0, 2], [1, 3, 0], [0, 0, 2]]
    assert (found.num_runs, found.num_images) == (2, 6)
    (doubtful,) = found.doubtful
    assert (doubtful.name, doubtful.label_prob) == ("image 3", pytest.approx((0.05 + 0.8) / 2))
    assert doubtful.loss == pytest.approx(-(math.log(0.05) + math.log(0.8)) / 2)


def test_what_most_runs_predict_is_shown(write_run, keep, tmp_path):
    rows = probs([0.1, 0.2, 0.7], [0.1, 0.6, 0.3], [0.2, 0.7, 0.1])
    for seed, row in enumerate(rows):
        keep(write_run(seed=seed), [0], [row])
    (image,) = only_recipe(collect([tmp_path])).mistakes.worst
    assert image.prediction == "class 1"
    assert image.prediction_prob == pytest.approx((0.6 + 0.7) / 2)


def test_folds_test_each_image_once(write_run, keep, tmp_path):
    subset = {"subset": {"name": "standard", "folds": 2, "subset_seed": 0}}
    for seed, half in enumerate((slice(0, 3), slice(3, 6))):
        names = [f"image {place}" for place in range(6)][half]
        keep(write_run(seed=seed, recipe=subset), LABELS[half], ROWS[half], names)
    found = only_recipe(collect([tmp_path])).mistakes
    assert (found.num_runs, found.num_images) == (2, 6)
    assert found.confusion.tolist() == [[2, 0, 1], [1, 1, 0], [0, 0, 1]]
    assert [image.name for image in found.doubtful] == ["image 3"]  # by the mean over both folds
    assert (found.doubtful[0].picture == 0).all()  # the first of its fold


def test_runs_of_other_classes_are_left_out(write_run, keep):
    first = only_recipe(collect([keep(write_run(), LABELS, ROWS)])).runs[0].tested
    assert gather([first, replace(first, classes=("a", "b", "c"))]).num_runs == 1
    assert gather([]) is None


def test_unfinished_runs_and_other_kinds_tell_nothing(write_run, keep, tmp_path):
    keep(write_run(done=2), LABELS, ROWS)
    folder = keep(write_run(seed=1), LABELS, ROWS)
    kept = read_kept(folder / "tested.npz")
    write_kept(folder / "tested.npz", replace(kept, kind="of a user"))
    report = collect([tmp_path])
    assert only_recipe(report).mistakes is None
    assert report.notes == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(5).int()}, "expected one number for each of 6 images"),
        ({"labels": torch.full((6,), 3).int()}, "expected classes below 3"),
        ({"predictions": torch.full((6,), -1).int()}, "expected classes below 3"),
        ({"pictures": torch.zeros(6, 4, 4).byte()}, "expected pictures of bytes"),
        ({"pictures": torch.zeros(2, 4, 4, 3).byte()}, "zip"),
        ({"shown": torch.tensor([9, 9, 9, 9, 9, 9]).int()}, "index out of range"),
        ({"shown": torch.zeros(6)}, "indices must be integers"),
    ],
)
def test_arrays_that_do_not_fit_are_named_and_left_out(write_run, keep, change, message):
    path = keep(write_run(), LABELS, ROWS) / "tested.npz"
    kept = read_kept(path)
    write_kept(path, replace(kept, arrays={**kept.arrays, **change}))
    report = collect([path.parent])
    (note,) = report.notes
    assert note.startswith(f"{path}: left out, for its arrays do not fit: ")
    assert message in note
    assert only_recipe(report).mistakes is None
    assert only_recipe(report).finished


def test_a_missing_array_and_a_damaged_file_are_named(write_run, keep):
    path = keep(write_run(), LABELS, ROWS) / "tested.npz"
    kept = read_kept(path)
    write_kept(path, Kept(kept.kind, kept.names, kept.classes, {}))
    assert "'labels'" in collect([path.parent]).notes[0]
    path.write_bytes(b"damaged")
    assert "damaged file" in collect([path.parent]).notes[0]


EVIL = "<script>alert(1)</script>"


def test_the_page_shows_it_all(write_run, keep):
    names = ["a/1.jpg", "a/2.jpg", "b/1.jpg", f"b/{EVIL}.jpg", "c/1.jpg", "a/3.jpg"]
    folder = keep(write_run(), LABELS, ROWS, names, ["ant", "bee", EVIL])
    html = render(collect([folder]))
    page = Page(html)
    assert "What is predicted wrongly" in page.texts_of("h3")
    assert page.texts_of("h5") == [
        "Confused classes",
        "Doubtful labels",
        "Other images with the highest loss",
    ]
    assert cells(html, "Classes confused most often")[1:] == [
        ["ant", "&lt;script&gt;alert(1)&lt;/script&gt;", "1", "33.3"],
        ["bee", "ant", "1", "50.0"],
    ]
    items = [text for text in page.texts_of("li") if "loss" in text]
    assert items[0] == f"b/{EVIL}.jpg label bee 0.05 predicted ant 0.90 loss 3.00"
    assert len(items) == 6
    assert len(page.texts_of("script")) == 1
    addresses = page.attributes("src")
    assert len(addresses) == 6
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "6 test images in 1 run." in page.texts_of("p")


def test_images_without_pictures_are_named(write_run, keep):
    page = Page(render(collect([keep(write_run(), LABELS, ROWS, pictures=False)])))
    assert page.attributes("src") == []
    assert sum("loss" in text for text in page.texts_of("li")) == 6


def test_a_recipe_without_mistakes_says_so(write_run, keep):
    rows = probs([0.8, 0.2], [0.3, 0.7])
    page = Page(render(collect([keep(write_run(), [0, 1], rows)])))
    assert "None." in page.texts_of("p")
    assert page.texts_of("h5") == ["Confused classes", "Images with the highest loss"]


@pytest.fixture
def many(write_run, keep):
    """Return a function that makes a report of 40 images of so many classes, all wrong."""

    def make(num_classes):
        outputs = np.full((40, num_classes), -9.0)
        outputs[np.arange(40), (np.arange(40) + 1) % num_classes] = 0
        labels = [place % num_classes for place in range(40)]
        return collect([keep(write_run(), labels, outputs.tolist())])

    return make


@pytest.mark.parametrize(("num_classes", "is_drawn"), [(30, True), (31, False)])
def test_of_many_classes_the_most_confused_are_told_alone(many, num_classes, is_drawn):
    report = many(num_classes)
    html = render(report)
    assert ("Confusion matrix of" in html) == is_drawn
    assert len(cells(html, "Classes confused most often")) == 1 + 10
    assert sum("loss" in text for text in Page(html).texts_of("li")) == 24 + 16
    assert "That is so for 40 images,\nof which these are the 24 with the largest" in html


def test_pictures_are_written_as_files_too(write_run, keep, tmp_path):
    report = collect([keep(write_run(), LABELS, ROWS, ["a/$x$.jpg", *"bcdef"])])
    files = export_plots(report, tmp_path / "plots")
    (plots,) = plots_of(report)
    names = [plot.name for plot in plots if "of digits_resnet8" in plot.title]
    assert [re.sub(r".*digits-(.*)-digits-resnet8", r"\1", name) for name in names] == [
        "confusion",
        "doubtful-labels",
        "worst",
    ]
    for name in names:
        svg = tmp_path / "plots" / f"{name}.svg"
        assert {svg, svg.with_suffix(".png")} <= set(files)
    assert "$x$.jpg" in (tmp_path / "plots" / f"{names[2]}.svg").read_text()


def test_cells_are_as_strong_as_their_share(write_run, keep):
    (plots,) = plots_of(collect([keep(write_run(), LABELS, ROWS)]))
    (plot,) = [plot for plot in plots if "confusion" in plot.title]
    axes = plot.draw(legend=False).axes[0]
    shares = {(int(p.get_x() + 0.5), int(p.get_y() + 0.5)): p.get_alpha() for p in axes.patches}
    assert shares.keys() == {(0, 0), (2, 0), (0, 1), (1, 1), (2, 2)}
    assert shares[2, 2] > shares[0, 0] > shares[0, 1] > shares[2, 0] > 0.3
    assert {text.get_text() for text in axes.texts} == {"1", "2"}
    assert "class 1 predicted as class 0: 1." in plot.describe()

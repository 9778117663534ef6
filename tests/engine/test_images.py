"""Tests of semaug.engine.images: which images a run sees."""

import json
from dataclasses import replace

import pytest
import torch

from semaug.data import FileSet, unpack_selection
from semaug.data.image_set import FilePaths
from semaug.data.subset import Subset
from semaug.engine import images, loop
from semaug.engine.images import check_same_images, names_of_tests
from semaug.engine.measure import measure
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.recipe.overrides import override
from semaug.recipe.quick import make_quick
from semaug.recipes import find_recipe
from semaug.registry import data_sets
from semaug.runs.run import Run
from tests.tiny import train_quietly

OF_A_FOLDER = ["network=resnet8_cifar", "image_size=16", "batch_size=4", "epochs=1"]
OF_A_FOLDER += ["train_per_class=none", "test_images=none"]


@pytest.fixture
def run_on_photographs(make_run):
    return make_run("folder_resnet18", *OF_A_FOLDER)


@pytest.mark.parametrize("test_images", [None, 7])
def test_images_of_folds_have_names_of_their_own(test_images):
    whole = data_sets.make("digits").load(None, None)
    seen = {}
    for seed in range(6):
        data, selection = Subset(folds=3, test_images=test_images).select(whole, seed=seed)
        names = names_of_tests(data, selection)
        assert len(names) == len(data.test)
        for name, image, label in zip(names, data.test.images, data.test.labels, strict=True):
            fold = seed % 3
            assert seen.setdefault(name, fold) == fold
            place = int(name.removeprefix("training image "))
            assert torch.equal(whole.train.images[place], image)
            assert whole.train.labels[place] == label
    assert len(seen) == (21 if test_images else len(whole.train))


def test_other_images_are_named_by_their_places_and_files_by_their_paths():
    whole = data_sets.make("digits").load(None, None)
    assert names_of_tests(*Subset().select(whole))[:2] == ("test image 0", "test image 1")
    files = FilePaths.of("root", ["cat/1.jpg", "dog/caf\udce9.jpg", "dog/\u732b.jpg"])
    files = FileSet(files.subset(torch.tensor([2, 1])), torch.tensor([0, 1]), ("cat", "dog"))
    data, selection = Subset().select(replace(whole, test=files))
    assert names_of_tests(data, selection) == ("dog/\u732b.jpg", r"dog/caf\xe9.jpg")


def test_images_are_recorded_exactly(train_tiny):
    changes = ["train_per_class=none", "hold_out=100", "train_percent=20", "corrupt_percent=30"]
    run = train_tiny("digits_resnet8", *changes, "epochs=1")
    told = json.loads((run.folder / "images.json").read_text())
    assert (told["held_out_images"], told["test_on"]) == (100, "hold_out")
    assert abs(told["train_images"] - 180) <= 10  # 20 % of each class
    selection = unpack_selection((run.folder / "images.npz").read_bytes())
    assert len(selection.indices) == told["train_images"]
    official = data_sets.make("digits").load(None, None).train.labels
    assert torch.equal(official[selection.indices], selection.official_labels)
    drawn = round(0.3 * told["train_images"])
    assert 0 < (selection.labels != selection.official_labels).sum() <= drawn


def test_images_without_labels_are_recorded_too(train_tiny):
    run = train_tiny("digits_resnet8", "labeled_per_class=3", "epochs=1")
    told = json.loads((run.folder / "images.json").read_text())
    assert (told["train_images"], told["unlabeled_images"]) == (30, 100)
    selection = unpack_selection((run.folder / "images.npz").read_bytes())
    assert set(selection.indices.tolist()) < set(selection.unlabeled.tolist())


def test_all_official_images_need_no_list(train_tiny):
    run = train_tiny("digits_resnet8", "train_per_class=none", "epochs=1")
    assert not (run.folder / "images.npz").exists()
    told = json.loads((run.folder / "images.json").read_text())
    assert (told["train_images"], told["official_images"]) == (1000, 1000)


def test_hold_out_is_what_is_tested(train_tiny, monkeypatch):
    sizes = []

    def count_and_measure(predict, evaluator, batches, *others):
        batches = list(batches)
        sizes.append(sum(len(samples.labels) for samples in batches))
        return measure(predict, evaluator, batches, *others)

    monkeypatch.setattr(loop, "measure", count_and_measure)
    run = train_tiny("digits_resnet8", "hold_out=50", "epochs=1", "test_images=none")
    assert sizes == [50]
    assert run.summary()["test_on"] == "hold_out"


def test_other_images_than_the_run_began_with_are_refused(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=1")
    (run.folder / "summary.json").unlink()
    path = run.folder / "images.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"train_images": 99}))
    with pytest.raises(
        UserError, match="images than there are now: 99 to train on then and 100 now; r"
    ):
        train_quietly(run, resume=True)
    path.write_text("[1]")
    with pytest.raises(UserError, match=r"images.json: expected a description of images, .*delete"):
        train_quietly(run, resume=True)


def test_a_folder_whose_files_have_changed_is_refused(photographs, run_on_photographs):
    root = photographs("ant", "bee")
    train_quietly(run_on_photographs, data_root=root, workers=0)
    (run_on_photographs.folder / "summary.json").unlink()
    (root / "train" / "bee" / "3.png").rename(root / "train" / "bee" / "x.png")
    with pytest.raises(
        UserError, match="other images than there are now: files have other names; restore"
    ):
        train_quietly(run_on_photographs, data_root=root, workers=0, resume=True)


def test_a_run_of_photographs_as_they_lie_does_not_go_on_with_upright_ones(
    photographs, run_on_photographs
):
    run, options = run_on_photographs, {"data_root": photographs("ant", "bee"), "workers": 0}
    train_quietly(run, **options)
    path = run.folder / "images.json"
    earlier = json.loads(path.read_text())
    assert earlier.pop("exif") == "applied"
    path.write_text(json.dumps(earlier))
    with pytest.raises(UserError, match="now: photographs are now turned upright, as their EXIF s"):
        train_quietly(run, **options, resume=True)
    trained = load_trained(run.folder, TrainOptions(device="cpu", data_root=options["data_root"]))
    with pytest.raises(UserError, match="has now: photographs are now turned upright"):
        trained.test()


def test_a_finished_run_of_other_images_is_refused(photographs, run_on_photographs):
    options = {"workers": 0, "resume": True}
    cats, ants = photographs("cat", "dog", name="cats"), photographs("ant", "bee", name="ants")
    summary = train_quietly(run_on_photographs, data_root=cats, **options)
    assert train_quietly(run_on_photographs, data_root=cats, **options) == summary
    message = r"the run began with other images than there are now: files have other names; res"
    with pytest.raises(UserError, match=message):
        train_quietly(run_on_photographs, data_root=ants, **options)
    with pytest.raises(FileNotFoundError, match="expected a folder of images"):
        train_quietly(run_on_photographs, data_root=cats.parent / "nowhere", **options)


def test_a_finished_run_writes_a_lost_description_anew_with_its_summary(
    photographs, run_on_photographs
):
    run, options = run_on_photographs, {"data_root": photographs(name="lost"), "workers": 0}
    train_quietly(run, **options)
    paths = run.folder / "images.json", run.folder / "summary.json"
    description, summary = (json.loads(path.read_text()) for path in paths)
    paths[0].unlink()
    message = r"images\.json: expected .*, got no such file; .* delete it and summary\.json, and"
    with pytest.raises(UserError, match=message):
        train_quietly(run, **options, resume=True)
    paths[1].unlink()
    again = train_quietly(run, **options, resume=True)
    assert json.loads(paths[0].read_text()) == description
    assert again["results"] == summary["results"]
    assert load_trained(run.folder, TrainOptions(device="cpu")).predictors


def test_a_folder_is_looked_through_once(photographs, run_on_photographs, monkeypatch):
    options = {"workers": 0, "resume": True, "data_root": photographs(name="once")}
    train_quietly(run_on_photographs, **options)
    train_quietly(run_on_photographs, **options)
    monkeypatch.setattr(images, "load_data", None)
    train_quietly(run_on_photographs, **options)


def test_official_sets_are_not_read_again(train_tiny, monkeypatch):
    run = train_tiny("digits_resnet8", "epochs=1")
    monkeypatch.setattr(images, "load_data", None)
    assert train_quietly(run, resume=True) == run.summary()


@pytest.mark.parametrize("changes", [{}, {"epochs": "1"}, {"hold_out": "5"}, {"hold_out": "500"}])
def test_quick_takes_a_small_folder_as_it_is(photographs, tmp_path, changes):
    small = {"network": "resnet8_cifar", "image_size": "16", "batch_size": "7"}
    recipe = override(make_quick(find_recipe("folder_resnet18")), small | changes)
    run = replace(Run("run", recipe, root=tmp_path), quick=True)
    root = photographs("ant", "bee", "cow", train=7, test=2)
    summary = train_quietly(run, data_root=root, workers=0)
    assert summary["finished"]
    assert summary["test_on"] == ("hold_out" if "hold_out" in changes else "test")


def test_runs_on_the_same_images_may_be_compared(train_tiny, make_run):
    runs = [train_tiny("digits_resnet8", "epochs=1", root=name) for name in ("one", "two")]
    without = make_run(root="without")  # of a loop that has no images of ours
    check_same_images([without, *runs])
    path = runs[1].folder / "images.json"
    written = json.loads(path.read_text())
    for changed, part in (
        ({"data": "cifar10"}, "data"),
        ({"sha256": written["sha256"] | {"test_labels": "0"}}, "test_labels"),
        ({"exif": "applied"}, "exif"),
    ):
        path.write_text(json.dumps(written | changed))
        message = rf"same images, got others by {part} in .*two.*images.json than in .*one.*images"
        with pytest.raises(UserError, match=message):
            check_same_images([without, *runs])
    changed = {"sha256": written["sha256"] | {"train_labels": "0"}}
    path.write_text(json.dumps(written | changed))
    check_same_images(runs, only_tested=True)
    with pytest.raises(UserError, match="got others by train_labels"):
        check_same_images(runs)
    path.write_text("[]")
    with pytest.raises(UserError, match=r"images.json: expected a description of images"):
        check_same_images(runs)

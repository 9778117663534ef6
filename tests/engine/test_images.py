"""Tests of semaug.engine.images."""

import json

import pytest
from PIL import Image

from semaug.engine import images
from semaug.engine.images import check_same_images
from semaug.errors import UserError
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import find_recipe
from semaug.runs.run import Run
from tests.tiny import train_quietly


@pytest.fixture
def photos(tmp_path):
    """Return a function that makes a folder of images of some classes."""

    def make(name, *classes):
        for place, kind in enumerate(classes):
            for part in ("train", "val"):
                folder = tmp_path / name / part / kind
                folder.mkdir(parents=True)
                for number in range(3):
                    color = (60 * place, 40 * number, 90)
                    Image.new("RGB", (18, 18), color).save(folder / f"{number}.png")
        return tmp_path / name

    return make


@pytest.fixture
def run_on_photos(tmp_path):
    changes = ["network=resnet8_cifar", "image_size=16", "batch_size=4"]
    changes += ["epochs=1", "warmup_epochs=0"]
    recipe = override(find_recipe("folder_resnet18"), split_overrides(changes))
    return Run("folder_resnet18", recipe, root=tmp_path / "runs")


def test_a_finished_run_of_other_images_is_refused(photos, run_on_photos):
    options = {"workers": 0, "resume": True}
    cats, ants = photos("cats", "cat", "dog"), photos("ants", "ant", "bee", "cow")
    summary = train_quietly(run_on_photos, data_root=cats, **options)
    assert train_quietly(run_on_photos, data_root=cats, **options) == summary
    with pytest.raises(UserError, match=r"images.json: the run began with other images: .*train_f"):
        train_quietly(run_on_photos, data_root=ants, **options)
    with pytest.raises(FileNotFoundError, match="expected a folder of images"):
        train_quietly(run_on_photos, data_root=cats.parent / "nowhere", **options)


def test_a_folder_is_looked_through_once(photos, run_on_photos, monkeypatch):
    options = {"workers": 0, "resume": True, "data_root": photos("once", "cat", "dog")}
    train_quietly(run_on_photos, **options)
    train_quietly(run_on_photos, **options)
    monkeypatch.setattr(images, "load_data", None)
    train_quietly(run_on_photos, **options)


def test_official_sets_are_not_read_again(train_tiny, monkeypatch):
    run = train_tiny()
    monkeypatch.setattr(images, "load_data", None)
    assert train_tiny(resume=True).summary() == run.summary()


def test_runs_on_the_same_images_may_be_compared(train_tiny, make_run):
    runs = [train_tiny("digits_resnet8", "epochs=1", root=name) for name in ("one", "two")]
    begun = make_run(root="begun")  # and told nothing yet
    check_same_images([begun, *runs])
    path = runs[1].folder / "images.json"
    written = json.loads(path.read_text())
    for changed, part in (
        ({"data": "cifar10"}, "data"),
        ({"sha256": written["sha256"] | {"test_labels": "0"}}, "test_labels"),
    ):
        path.write_text(json.dumps(written | changed))
        message = rf"same images, got others by {part} in .*two.*images.json than in .*one.*images"
        with pytest.raises(UserError, match=message):
            check_same_images([begun, *runs])
    changed = {"sha256": written["sha256"] | {"train_labels": "0"}}
    path.write_text(json.dumps(written | changed))
    check_same_images(runs, only_tested=True)
    with pytest.raises(UserError, match="got others by train_labels"):
        check_same_images(runs)
    path.write_text("[]")
    with pytest.raises(UserError, match=r"images.json: expected a description of images"):
        check_same_images(runs)

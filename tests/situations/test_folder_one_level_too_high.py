"""A data root one level above the parts, or above the classes.

Parts would become classes, or all images one class, with an error of 0 %. Whoever is refused must
not be told to keep some images back, which would lead there.
"""

import pytest

from semaug.data.check import check
from semaug.engine.data import load_data
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from tests.data.image_files import write_image


def write_pets(*folders):
    for folder in folders:
        for n, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
            write_image(folder / name, seed=n)


@pytest.mark.parametrize("parts", [("train", "val"), ("Training", "Testing"), ("",)])
def test_the_folder_that_is_meant_is_named_before_training_and_by_check(make_run, tmp_path, parts):
    meant = tmp_path / "my photos"
    write_pets(*(meant / part for part in parts))
    run = make_run("folder_resnet18", "hold_out=2", "train_per_class=none", "test_images=none")
    with pytest.raises(UserError, match=r"--data-root '.*my photos'") as caught:
        load_data(run, TrainOptions(data_root=tmp_path), "cpu")
    assert "hold_out" not in str(caught.value)
    (problem,) = check("folder", tmp_path).problems
    assert f"--data-root '{meant}'" in problem.message

    data, _ = load_data(run, TrainOptions(data_root=meant), "cpu")
    assert data.train.classes == ("cat", "dog")
    report = check("folder", meant)
    assert report.problems == ()
    assert report.notes[0] == "2 classes: cat (2), dog (2)"

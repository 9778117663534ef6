"""Tests of semaug.cli.table."""

import json

TINY = ["data=digits", "network=resnet8_cifar", "epochs=1", "train_per_class=10", "padding=1"]


def test_table_shows_published_and_what_was_not_run(semaug):
    status, output, _ = semaug("table", "isda-2", "--rows", "ResNet-32")
    assert status == 0
    assert "7.09 ± 0.12 (5)" in output
    assert output.count("not run") == 4
    assert "not the papers" not in output


def test_table_trains_what_is_missing_once(semaug, tmp_path):
    arguments = ["table", "isda-2", "--rows", "ResNet-32", "--run", "--seeds", "1", *TINY]
    arguments += ["batch_size=50", "test_images=20", "strength=0.1", "--device", "cpu"]
    status, output, errors = semaug(*arguments)
    assert status == 0, errors
    assert output.count("(1) ") == 4
    assert "measured with changed fields: not the papers' settings" in output
    summaries = list((tmp_path / "runs").rglob("summary.json"))
    assert len(summaries) == 4
    strengths = {json.loads(path.read_text())["recipe"]["loss"]["strength"] for path in summaries}
    assert strengths == {None, 0.1}
    again = semaug(*arguments)[1]
    assert "runs: " not in again  # nothing was left to train
    assert output.splitlines()[-8:] == again.splitlines()[-8:]


def test_mistakes_are_named(semaug):
    status, _, errors = semaug("table", "isda-20")
    assert (status, "did you mean 'isda-2'" in errors) == (2, True)

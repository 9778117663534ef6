"""Tests of semaug.cli.table."""

import json

TINY = ["data=digits", "network=resnet8_cifar", "epochs=1", "train_per_class=10", "padding=1"]


def test_table_shows_published_and_what_was_not_run(semaug):
    status, output, _ = semaug("table", "isda-2", "--rows", "ResNet-32")
    assert status == 0
    assert "7.09 ± 0.12 (5)" in output
    assert "isda-2: error in % (lower is better)" in output
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
    losses = [json.loads(path.read_text())["recipe"]["loss"] for path in summaries]
    assert {loss.get("strength") for loss in losses} == {None, 0.1}
    again = semaug(*arguments)[1]
    assert "runs: " not in again  # nothing was left to train
    assert output.splitlines()[-8:] == again.splitlines()[-8:]


def test_a_table_is_drawn(semaug, tmp_path):
    status, output, errors = semaug("table", "isda-8", "--plot", "a/b.svg")
    assert (status, "wrote a/b.svg" in output) == (0, True), errors
    assert "Single covariance matrix" in (tmp_path / "a" / "b.svg").read_text()
    status, _, errors = semaug("table", "isda-8", "--plot", "b.pdf")
    assert (status, "table: expected --plot with a PNG or SVG file, got 'b.pdf'" in errors) == (
        2,
        True,
    )


def test_mistakes_are_named(semaug):
    status, _, errors = semaug("table", "isda-20")
    assert (status, "did you mean 'isda-2'" in errors) == (2, True)


def test_table_is_written_for_the_results(semaug, tmp_path):
    arguments = ["table", "isda-8-small", "--rows", "Basic", "--rows", "Identity", "--seeds", "2"]
    path = tmp_path / "table.json"
    changes = [*TINY, "batch_size=50", "test_images=20", "--run", "--output", str(path)]
    status, output, errors = semaug(*arguments, *changes)
    assert status == 0, errors
    assert "to its baseline" in output
    basic, identity = json.loads(path.read_text())["cells"]
    pairs = [identity["values"][seed] - basic["values"][seed] for seed in "01"]
    assert abs(identity["minus_baseline"]["mean"] - sum(pairs) / 2) < 1e-9
    assert basic["run"].startswith("cifar10_5k_resnet20,batch_size=50,data=digits")


def test_a_missing_folder_is_made_before_anything_is_trained(semaug, tmp_path):
    (tmp_path / "file").touch()
    arguments = ["table", "isda-8-small", "--run", "-o"]
    status, _, errors = semaug(*arguments, str(tmp_path / "file" / "b.json"))
    assert (status, "table: cannot write into" in errors) == (2, True)
    assert not (tmp_path / "runs").exists()
    path = tmp_path / "a" / "b" / "c.json"
    assert semaug("table", "isda-8-small", "-o", str(path))[0] == 0
    assert json.loads(path.read_text())["table"] == "isda-8-small"


def test_all_seeds_that_are_there_are_shown(semaug, tmp_path):
    arguments = ["table", "isda-8-small", "--rows", "Identity", *TINY, "batch_size=50"]
    arguments += ["test_images=20"]
    status, output, errors = semaug(*arguments, "--run", "--seeds", "1", "--device", "cpu")
    assert status == 0, errors
    assert len(list((tmp_path / "runs").rglob("summary.json"))) == 2  # its baseline is trained too
    assert "to its baseline" in output
    (folder,) = (tmp_path / "runs").glob("*identity*")
    (folder / "seed0").rename(folder / "seed7")
    output = semaug(*arguments)[1]
    assert "(1)" in output
    assert "not finished" not in output


def test_table_is_no_command_for_torchrun(semaug, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, errors = semaug("table", "isda-8-small")
    assert (status, "table: expected one process, got several from torchrun" in errors) == (2, True)


def test_a_field_that_no_recipe_has_is_refused(semaug):
    status, _, errors = semaug("table", "isda-2", "ai_weight=3")
    assert (status, "no field 'ai_weight'; add method=ait or method=dml" in errors) == (2, True)
    status, _, errors = semaug("table", "isda-3", "epochs=3")
    assert (status, "expected no changes, for there is no recipe for isda-3" in errors) == (
        2,
        True,
    )


def test_what_a_person_trained_stands_in_the_table(semaug):
    """However its changes were given."""
    arguments = ["seed=3", "loss=isda", "loss.covariance=identity", "strength=.5", *TINY]
    small = ["batch_size=50", "test_images=20"]
    status, _, errors = semaug("train", "cifar10_5k_resnet20_isda", *arguments, *small)
    assert status == 0, errors
    arguments = ["table", "isda-8-small", "--rows", "Identity", *TINY, *small]
    assert "(1)" in semaug(*arguments)[1]


def test_a_run_that_cannot_be_tested_elsewhere_is_left_out(semaug, tmp_path):
    arguments = ["table", "ait-5-small", "--rows", "rh", "--run", "--seeds", "1", *TINY[:-1]]
    arguments += ["batch_size=50", "test_images=20", "--threads", "1"]
    output = semaug(*arguments)[1]
    assert output.count("(1)") == 8
    folder = next((tmp_path / "runs").glob("cifar10_5k_resnet20_ait,*")) / "seed0"
    (folder / "checkpoint.pt").unlink()
    (folder / "transfer.json").unlink()
    status, output, _ = semaug(*arguments)
    assert status == 0
    assert "not measured: " in output
    assert output.count("(1)") == 4


def test_a_cluster_without_run_is_refused(semaug):
    for option in (["--cluster", "slurm"], ["--jobs", "2"]):
        status, _, errors = semaug("table", "isda-8-small", *option)
        assert (status, "expected --run with --jobs and --cluster" in errors) == (2, True)

"""Files of a stranger are trained, killed, resumed, tested and compared like what semaug has."""

import json
import re
import shutil

import pytest

from semaug.runs.checkpoint import load_checkpoint
from tests.engine.same import assert_same, without_times
from tests.user_code.conftest import ON_CPU, SMALL

pytestmark = pytest.mark.slow


def rows_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def everything(run):
    """Return every tensor of the checkpoint and every row, without times."""
    return without_times([load_checkpoint(run / "checkpoint.pt"), rows_of(run)])


@pytest.fixture
def changed(stranger, tmp_path):
    """Return a function that copies the files of the stranger and changes one of them."""

    def change(name, *pairs):
        for path in stranger.folder.glob("*.py"):
            shutil.copy(path, tmp_path)
        text = (tmp_path / name).read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
        return tmp_path

    return change


# A run and its death.


@pytest.mark.parametrize("name", SMALL)
def test_a_killed_run_ends_bit_for_bit_where_an_uninterrupted_run_ends(stranger, trained, name):
    often = ("--checkpoint-seconds", "0")
    killed = stranger.train(name, *often, runs="killed", die_at_save=7)
    state = load_checkpoint(killed / "checkpoint.pt")
    assert state["step"] > 0  # in the middle of an epoch
    assert not (killed / "summary.json").exists()
    stranger.train(name, *often, "--resume", runs="killed")
    assert_same(everything(killed), everything(trained(name)))


@pytest.mark.parametrize("name", SMALL)
def test_it_is_tested_again_with_the_same_result(stranger, trained, name):
    output = stranger("evaluate", trained(name), *ON_CPU)
    assert "as recorded" in output
    assert "recorded were" not in output


KIND = "adversarial.py:GAN"
MEASURED = {
    "center": ["error", "calibration_error"],
    "teacher": ["error"],
    "segment": ["miou"],
    "stripes": ["error", "calibration_error"],
    "lion": ["error"],
    "frozen": ["error"],
    "gan": ["frechet"],
}


@pytest.mark.parametrize("name", SMALL)
def test_its_summary_names_what_was_measured(trained, name):
    summary = summary_of(trained(name))
    assert summary["metric"]["name"] == MEASURED[name][0]
    assert list(summary["results"][""]) == MEASURED[name]


def test_the_teacher_is_tested_beside_the_student(trained):
    run = trained("teacher")
    assert list(summary_of(run)["results"]) == ["", "teacher"]
    tested = [row for row in rows_of(run) if row["test_error"] is not None]
    assert any(row["test_error"] != row["test_error_teacher"] for row in tested)


def test_a_kind_that_does_not_say_how_cannot_be_tested_again(stranger, changed):
    folder = changed("adversarial.py", ("def evaluate(", "def measure("))
    stranger("train", "my_recipe.py:gan", *SMALL["gan"], *ON_CPU, folder=folder)
    (run,) = folder.glob("runs/*/seed0")
    output = stranger("evaluate", run, *ON_CPU, folder=folder)
    assert "a run of my_recipe.py:gan cannot be tested again" in output


def test_the_kind_of_a_sibling_loop_is_recorded(trained):
    assert json.loads((trained("gan") / "recipe.json").read_text())["recipe"]["kind"] == KIND


# Many runs.


@pytest.mark.full
def test_two_arms_are_compared_over_seeds_by_jobs_side_by_side(stranger):
    arms = ["my_recipe.py:center", "my_recipe.py:center,loss=cross_entropy"]
    more = ["--seeds", "2", "--jobs", "2", "--runs", "compared", *ON_CPU]
    output = stranger("compare", *arms, *SMALL["center"], *more)
    assert "paired difference" in output
    assert len(list((stranger.folder / "compared").rglob("summary.json"))) == 4


# A change of each recipe, for its second arm.
CHANGES = {
    "center": "loss.strength=0.1",
    "teacher": "strength=100",
    "segment": "auxiliary_weight=0",
    "stripes": "augment=standard",
    "lion": "evaluation=whole",
    "frozen": "loss=center_loss.py:Center",
    "gan": "num_latents=8",
}


@pytest.mark.parametrize("name", SMALL)
def test_arms_are_compared_over_two_seeds_by_their_own_main_metric(stranger, name):
    arms = [f"my_recipe.py:{name}", f"my_recipe.py:{name},{CHANGES[name]}"]
    output = stranger("compare", *arms, *SMALL[name], "--seeds", "2", "--runs", "compared", *ON_CPU)
    assert "2 seeds each" in output
    assert "paired difference of" in output
    assert f"est {MEASURED[name][0]}" in output
    assert ("higher" if name == "segment" else "lower") + " is better" in output


def test_values_are_chosen_on_held_out_images(stranger):
    values = ["loss.strength=0,0.1", "--hold-out", "50", "--runs", "searched"]
    output = stranger("search", "my_recipe.py:center", *SMALL["center"], *values, *ON_CPU)
    assert "trained with it on all images: test error" in output
    (found,) = (stranger.folder / "searched").rglob("search.json")
    assert len(json.loads(found.read_text())["candidates"]) == 2


def test_one_report_shows_all_of_them(stranger, trained):
    for name in SMALL:
        trained(name)
    output = stranger("report", stranger.folder / "runs", "--output", "report.html")
    assert "note:" not in output
    page = (stranger.folder / "report.html").read_text()
    for name in SMALL:
        assert f"my_recipe.py:{name}" in page
        assert f"test {MEASURED[name][0]}" in page
    assert page.count("<svg") >= len(SMALL)


def test_transfer_tests_them_on_other_images(stranger, trained):
    output = stranger("transfer", trained("stripes"), trained("center"), *ON_CPU)
    assert "my_recipe.py:stripes" in output
    assert (trained("center") / "transfer.json").exists()


# Where files lie, and what they say now.


def test_the_folder_that_commands_are_given_in_does_not_matter(stranger, trained):
    run = trained("center")
    assert "as recorded" in stranger("evaluate", run, *ON_CPU, folder=stranger.elsewhere)
    recipe = stranger.folder / "my_recipe.py"
    arguments = [f"{recipe}:center", *SMALL["center"], *ON_CPU, "--runs", stranger.folder / "runs"]
    output = stranger("train", *arguments, "--resume", folder=stranger.elsewhere)
    assert "finished before" in output
    stranger("report", stranger.folder / "runs", folder=stranger.elsewhere)


@pytest.fixture
def copied(stranger, trained, tmp_path):
    """Return a folder with the files of the stranger and a finished run of them."""
    for path in stranger.folder.glob("*.py"):
        shutil.copy(path, tmp_path)
    arguments = ["my_recipe.py:center", *SMALL["center"], *ON_CPU]
    stranger("train", *arguments, folder=tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["my_recipe.py", "center_loss.py"])
def test_a_changed_file_is_said(stranger, copied, name):
    (copied / name).write_text((copied / name).read_text() + "\n# changed\n")
    (run,) = copied.glob("runs/*/seed0")
    arms = ["my_recipe.py:center", "my_recipe.py:center,loss.strength=0.1"]
    for command in (
        ["evaluate", run, *ON_CPU],
        ["train", "my_recipe.py:center", *SMALL["center"], *ON_CPU, "--resume"],
        ["compare", *arms, *SMALL["center"], *ON_CPU, "--seeds", "1"],
    ):
        status, output = stranger.run(*command, folder=copied)
        assert status == 2
        assert re.search(rf"{name}.* changed", output)
    stranger("report", "runs", folder=copied)  # needs no code
    output = stranger("evaluate", run, *ON_CPU, "--trust-code", folder=copied)
    assert "as recorded" in output


def test_a_strangers_run_folder_executes_nothing_unless_it_is_trusted(stranger, copied):
    (run,) = copied.glob("runs/*/seed0")
    marker = copied / "executed"
    attack = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    for path in copied.glob("*.py"):
        path.unlink()
    (kept,) = run.rglob("center_loss.py")
    kept.write_text(attack + kept.read_text())
    for command in (
        ["evaluate", run, *ON_CPU],
        ["transfer", run, *ON_CPU],
        ["report", "runs"],
        ["train", "my_recipe.py:center", *SMALL["center"], *ON_CPU, "--resume"],
    ):
        status, output = stranger.run(*command, folder=copied)
        assert command[0] == "report" or status == 2
        assert command[0] in ("report", "train") or "--trust-code" in output
        assert not marker.exists()
    stranger.run("evaluate", run, *ON_CPU, "--trust-code", folder=copied)
    assert marker.exists()


# Before a run.


@pytest.mark.parametrize("name", SMALL)
def test_check_finds_nothing_wrong(stranger, name):
    output = stranger("check", f"my_recipe.py:{name}")
    assert f"my_recipe.py:{name}" in output


def test_check_names_what_does_not_survive_a_kill(stranger, changed):
    folder = changed(
        "center_loss.py",
        ("        self.lr = lr\n", "        self.lr = lr\n        self.calls = 0\n"),
        ("        features, centers =", "        self.calls += 1\n        features, centers ="),
        ("return value +", "return self.calls * value +"),
    )
    status, output = stranger.run("check", "my_recipe.py:center", folder=folder)
    assert status == 2, output
    assert re.search(r"objects\.method\.network\S* .*differ", output)
    assert "attributes that were not saved: method.criterion.calls;" in output


def test_check_names_a_loop_that_does_not_save_within_an_epoch(stranger, changed):
    folder = changed("adversarial.py", ("session.pause()", "pass"))
    status, output = stranger.run("check", "my_recipe.py:gan", folder=folder)
    assert status == 2
    assert "its loop is to call session.pause()" in output


def test_check_shows_where_code_fails(stranger, changed):
    folder = changed("center_loss.py", ("return value +", "return valeu +"))
    status, output = stranger.run("check", "my_recipe.py:center", folder=folder)
    assert status == 2
    assert "NameError: name 'valeu' is not defined" in output
    assert "ended with exit code 1; its error stands above" in output


def test_check_says_what_does_not_fit_in_one_line(stranger):
    arguments = ["my_recipe.py:center", "evaluation=sliding_window", "window=4"]
    status, output = stranger.run("check", *arguments)
    assert status == 2
    assert "sliding_window expects a label for each pixel" in output.splitlines()[-1]
    assert "Traceback" not in output


def test_a_name_that_two_groups_have_is_an_error_that_lists_both(stranger):
    status, output = stranger.run("train", "my_recipe.py:center", "lr=0.7")
    assert status == 2
    assert "loss.lr" in output
    assert "optimizer.lr" in output
    status, output = stranger.run("train", "my_recipe.py:gan", "lr=0.7")
    assert status == 2
    assert "generator_optimizer.lr" in output
    assert "discriminator_optimizer.lr" in output


@pytest.mark.parametrize("call", ["my_recipe.py:nothing", "nowhere.py:center", "stripes.py"])
def test_a_name_that_leads_nowhere_is_an_error_of_one_line(stranger, call):
    status, output = stranger.run("train", call)
    assert status == 2
    assert len(output.splitlines()) == 1
    assert call.partition(":")[0] in output


def test_an_augmentation_that_cannot_move_masks_is_refused_for_them(stranger):
    status, output = stranger.run("train", "my_recipe.py:segment", "augment=roll.py:Roll")
    assert status == 2
    assert "cannot move masks along" in output


def test_an_option_out_of_range_is_named_as_it_was_typed(stranger):
    status, output = stranger.run("train", "my_recipe.py:center", "loss.lr=7")
    assert status == 2
    assert "expected `lr` above 0 and at most 1, got 7" in output


def test_things_from_files_are_taken_on_the_command_line(stranger):
    arguments = ["digits_resnet8", "loss=center_loss.py:Center", "train_per_class=10", "epochs=2"]
    stranger("train", *arguments, "loss.lr=0.25", "--runs", "typed", *ON_CPU)
    (path,) = (stranger.folder / "typed").rglob("recipe.json")
    loss = json.loads(path.read_text())["recipe"]["loss"]
    assert loss == {"name": "center_loss.py:Center", "strength": 0.01, "lr": 0.25}

"""Tests of semaug.report.collect."""

import json
from datetime import UTC, datetime

import pytest

from semaug.errors import UserError
from semaug.report import collect


def only_run(report):
    (run,) = report.runs
    return run


def test_a_run_is_read_as_it_was_written(write_run):
    folder = write_run(seed=3)
    report = collect([folder], now=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    run = only_run(report)
    summary = json.loads((folder / "summary.json").read_text())
    assert run.errors == {
        name: summary[name] for name in ("error_mean_last_10", "error_last", "error_best")
    }
    assert (run.label, run.seed, run.state, run.epoch) == ("digits_resnet8", 3, "finished", 4)
    assert (run.seconds, run.device, run.commit) == (8.5, "a CPU", "abcdef0123456789")
    assert run.versions == {"semaug": "0.1.0", "torch": "2.11.0"}
    assert run.starts == ("2026-01-02T03:04:05+00:00",)
    assert run.images_per_second == 1002.5
    assert report.created == "2026-01-02 03:04 UTC"
    assert report.notes == ()


def test_classes_and_memory_are_read(write_run):
    run = only_run(collect([write_run(error_per_class={"cat": 5, "dog": 0.5}, peak_memory_mib=7)]))
    assert (run.class_errors, run.peak_memory) == ({"cat": 5, "dog": 0.5}, 7)


def test_runs_of_early_versions_tell_neither(write_run):
    report = collect([write_run()])
    assert (only_run(report).class_errors, only_run(report).peak_memory) == ({}, None)
    assert report.notes == ()


def test_the_memory_of_an_unfinished_run_is_that_of_its_last_row(write_run):
    run = only_run(collect([write_run(done=2, columns={"peak_memory_mib": 300.5})]))
    assert run.peak_memory == 300.5


@pytest.mark.parametrize("damaged", [[1], "cat", {"cat": 1, "dog": "2"}])
def test_damaged_errors_of_classes_are_noted(write_run, damaged):
    report = collect([write_run(error_per_class=damaged)])
    (note,) = report.notes
    assert note.endswith("summary.json: expected a number for each class as error_per_class")
    assert only_run(report).class_errors == ({"cat": 1} if isinstance(damaged, dict) else {})


def test_an_unfinished_run_says_how_far_it_is(write_run):
    run = only_run(collect([write_run(done=3, overrides={"lr": "0.2"})]))
    assert (run.label, run.state, run.finished) == ("digits_resnet8,lr=0.2", "epoch 3 of 4", False)
    assert (run.device, run.versions, run.seconds) == ("a CPU", {"torch": "2.11.0"}, 6.0)
    assert run.errors == {}


def test_a_run_that_has_begun_and_not_finished_an_epoch_is_there(write_run):
    run = only_run(collect([write_run(done=0)]))
    assert (run.state, run.rows, run.images_per_second) == ("epoch 0 of 4", (), None)


def test_runs_are_found_once_at_any_depth(two_recipes, write_run):
    deep = write_run(root="runs/more/below", seed=7).parent
    report = collect([two_recipes.parent, two_recipes, deep])
    assert sorted(run.seed for run in report.runs) == [0, 0, 1, 1, 7]
    assert report.notes == ()


def test_runs_group_by_images_and_then_by_recipe_with_baselines_first(two_recipes, write_run):
    write_run("a_isda", recipe={"subset": {"train_per_class": 5, "subset_seed": 2}})
    write_run("b", recipe={"subset": {"hold_out": 100, "subset_seed": 0}})
    write_run("c", recipe={"train_per_class": 5, "subset_seed": 2})  # an early recipe
    write_run("d_isda", recipe={"subset": {"subset_seed": 4, "test_images": None}})
    groups = {group.title: group for group in collect([two_recipes]).groups}
    assert {title: [r.label for r in group.recipes] for title, group in groups.items()} == {
        "digits, train_per_class=5, subset_seed=2": ["c", "a_isda"],
        "digits, hold_out=100, subset_seed=0": ["b"],
        "digits": ["digits_resnet8", "d_isda", "digits_resnet8_isda"],
    }
    assert groups["digits"].measured == "test error"
    assert groups["digits, hold_out=100, subset_seed=0"].measured == "held-out error"


def test_seeds_in_two_folders_come_together_but_none_counts_twice(write_run, tmp_path):
    write_run(seed=0, root="one")
    write_run(seed=0, root="two")
    write_run(seed=1, root="two")
    report = collect([tmp_path / "one", tmp_path / "two"])
    ((recipe,),) = (group.recipes for group in report.groups)
    assert [run.seed for run in recipe.runs] == [0, 1]
    (note,) = report.notes
    assert "same recipe and seed as" in note
    assert "two" in note.partition(":")[0]


def test_a_change_that_changes_nothing_makes_no_other_recipe(write_run, tmp_path):
    write_run(seed=0, recipe={"lr": 0.1})
    write_run(seed=0, recipe={"lr": 0.1}, overrides={"lr": "0.1"})
    write_run(seed=1, recipe={"lr": 0.1}, overrides={"lr": "0.1"})
    report = collect([tmp_path])
    ((recipe,),) = (group.recipes for group in report.groups)
    assert (recipe.label, [run.seed for run in recipe.runs]) == ("digits_resnet8", [0, 1])
    (note,) = report.notes
    assert "same recipe and seed as" in note


def test_runs_of_early_versions_lack_fields_that_came_later(write_run, tmp_path):
    write_run(seed=0)
    write_run(seed=1, recipe={"clip_norm": None, "augment": {"cutout": 0}})
    ((recipe,),) = (group.recipes for group in collect([tmp_path]).groups)
    assert [run.seed for run in recipe.runs] == [0, 1]
    write_run("few", 0, recipe={"train_per_class": 5})
    write_run("few", 1, recipe={"subset": {"train_per_class": 5, "subset_seed": 0}})
    _, few = collect([tmp_path]).groups
    assert few.title == "digits, train_per_class=5, subset_seed=0"
    assert len(few.runs) == 2


def test_runs_on_other_images_of_one_name_are_not_compared(write_run, tmp_path):
    """A folder of images may be any folder: what was in it tells."""
    for place, sums in enumerate(({"train": "a"}, {"train": "a"}, {"train": "b"}, {})):
        folder = write_run("cats" if place else "dogs", seed=place, recipe={"data": "folder"})
        (folder / "images.json").write_text(json.dumps({"data": "folder", "sha256": sums}))
    groups = {group.title: group for group in collect([tmp_path]).groups}
    assert [len(group.runs) for group in groups.values()] == [2, 1, 1]
    assert all(title.startswith("folder, ") for title in groups)
    assert "folder, unknown images" in groups


def test_runs_that_tell_no_images_belong_to_the_only_ones_there_are(write_run, tmp_path):
    folder = write_run(seed=0)
    (folder / "images.json").write_text(json.dumps({"sha256": {"train": "a"}}))
    write_run(seed=1)
    (group,) = collect([tmp_path]).groups
    assert (group.title, len(group.runs)) == ("digits", 2)


def test_a_summary_beside_runs_hides_none(two_recipes, write_run):
    (two_recipes / "summary.json").write_text("{}")
    assert len(collect([two_recipes]).runs) == 4
    alone = write_run(seed=5)
    for name in ("metrics.jsonl", "recipe.json"):
        (alone / name).unlink()
    assert len(collect([two_recipes]).runs) == 5


def test_a_run_that_diverged_says_so(write_run):
    folder = write_run(done=2)
    (folder / "diverged.json").write_text("{}")
    assert only_run(collect([folder])).state == "epoch 2 of 4, diverged"


def test_errors_of_all_networks_are_read(write_run):
    run = only_run(collect([write_run(error_last_2=7.5, error_mean_last_10_2=8, error_best_2=7)]))
    assert (run.num_networks, run.errors["error_mean_last_10_2"]) == (2, 8)


def test_two_recipes_of_one_name_are_told_apart_by_their_folders(write_run, tmp_path):
    folders = [write_run(root=root, recipe={"lr": lr}) for root, lr in (("one", 1), ("two", 2))]
    ((first, second),) = (group.recipes for group in collect([tmp_path]).groups)
    assert {first.label, second.label} == {f"digits_resnet8 in {folder}" for folder in folders}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b'{"error_last": NaN}', b"7" * 5000]
)
@pytest.mark.parametrize("name", ["summary.json", "recipe.json", "environment.json"])
def test_a_damaged_file_is_named_and_left_out(write_run, name, content):
    folder = write_run()
    if name == "environment.json" and content == b"[]":
        content = b"{}"  # here a list is right
    (folder / name).write_bytes(content)
    report = collect([folder])
    (note,) = report.notes
    assert note.startswith(f"{folder / name}: damaged, and left out (")
    assert only_run(report).finished == (name != "summary.json")
    assert only_run(report).recipe


def test_damaged_lines_are_counted_and_the_others_stay(write_run):
    folder = write_run(done=2)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'\n[]\n{"loss": 1}\n{"epoch": 9, "x": NaN}\n{"epoch": true}\n\xff\n')
        file.write(b'{"epoch": 3, "lr": 5, "text": "a", "flag": true, "huge": 1' + b"0" * 400)
        file.write(b'}\n{"epoch": 4, "lr"')
    report = collect([folder])
    assert [row["epoch"] for row in only_run(report).rows] == [1, 2, 3]
    assert only_run(report).rows[2] == {"epoch": 3, "lr": 5}
    (note,) = report.notes
    assert (
        note == f"{folder / 'metrics.jsonl'}: lines 3, 4, 5, 6, 7, ... damaged, and were left out"
    )


def test_missing_metrics_and_numbers_are_noted(write_run):
    folder = write_run(error_best=None, error_last="good")
    (folder / "metrics.jsonl").unlink()
    report = collect([folder])
    assert list(only_run(report).errors) == ["error_mean_last_10"]
    curves, numbers = sorted(report.notes)
    assert "metrics.jsonl: missing" in curves
    assert "summary.json: expected numbers as error_last, error_best, got none" in numbers


def test_a_file_that_cannot_be_opened_is_noted(write_run):
    folder = write_run()
    for name in ("metrics.jsonl", "recipe.json"):
        (folder / name).unlink()
        (folder / name).mkdir()
    notes = collect([folder]).notes
    assert len(notes) == 2
    assert all("cannot be read (Is a directory), and was left out" in note for note in notes)


def test_a_run_without_any_description_is_named_after_its_folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"epoch": 1, "test_error": 5}\n')
    report = collect([folder])
    run = only_run(report)
    assert (run.label, run.seed, run.recipe, run.state) == ("mine", None, {}, "epoch 1")
    assert report.groups[0].title == "unknown data"


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"report: expected a folder, got .*nowhere"):
        collect([tmp_path / "nowhere"])


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected folders with runs \(metrics.jsonl or recipe"):
        collect([tmp_path])

"""Tests of semaug.report.collect."""

import json
from datetime import UTC, datetime
from itertools import product

import pytest
from rich.console import Console

from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.recipes import make_run
from semaug.report import collect
from semaug.runs.read import Measure
from semaug.runs.statistics import paired_difference

MIOU = Measure("miou", "%", "higher")


def only_run(report):
    (run,) = report.runs
    return run


def change(path, **values):
    """Replace values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_run_is_read_as_it_was_written(write_run):
    code = {"my.py": {"place": "/home/me/my.py", "sha256": "1f"}}
    folder = write_run(seed=3, code=code)
    report = collect([folder], now=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    run = only_run(report)
    summary = json.loads((folder / "summary.json").read_text())
    assert (run.results, run.others) == (summary["results"], ())
    assert run.measure == Measure("error", "%", "lower", "mean_last_10")
    assert (run.label, run.seed, run.state) == ("digits_resnet8", 3, "finished")
    assert (run.seconds, run.device, run.commit) == (8.5, "a CPU", "abcdef0123456789")
    assert run.versions == {"semaug": "0.1.0", "torch": "2.11.0"}
    assert run.starts == ("2026-01-02T03:04:05+00:00",)
    assert (run.images, run.code) == ({"train": "a"}, {"my.py": "1f"})
    assert run.images_per_second == 1002.5
    assert report.created == "2026-01-02 03:04 UTC"
    assert report.notes == ()


def test_what_training_writes_is_read_whether_it_is_finished_or_not(tmp_path):
    name = "digits_resnet8,train_per_class=5,test_images=20,epochs=2,report=last"
    run = make_run(name, {"metrics": "accuracy,nll"}, 3, False, tmp_path)
    summary = train(run, TrainOptions(device="cpu"), console=Console(quiet=True))
    finished = only_run(collect([tmp_path]))
    (run.folder / "summary.json").unlink()
    unfinished = only_run(collect([tmp_path]))
    assert finished.results == summary["results"]
    assert finished.results[""].keys() == {"accuracy", "nll"}
    assert finished.by_class == summary["by_class"]
    assert (unfinished.results, unfinished.state) == ({}, "epoch 2 of 2")
    for found in (finished, unfinished):
        assert (found.label, found.seed) == (run.label, 3)
        assert found.measure == Measure("accuracy", "%", "higher", "last")
        assert found.others == (Measure("nll", "nats", "lower", "last"),)
        assert (found.recipe, found.device) == (summary["recipe"], summary["device"])
        assert (found.versions, found.commit) == (summary["versions"], summary["commit"])
        assert [row["epoch"] for row in found.rows] == [1, 2]
        assert set(found.images) > {"train_labels", "test_labels"}


def test_classes_and_memory_are_read(write_run):
    run = only_run(collect([write_run(by_class={"cat": 5, "dog": 0.5}, peak_memory_mib=7)]))
    assert (run.by_class, run.peak_memory) == ({"cat": 5, "dog": 0.5}, 7)


def test_the_memory_of_an_unfinished_run_is_that_of_its_last_row(write_run):
    run = only_run(collect([write_run(done=2, columns={"peak_memory_mib": 300.5})]))
    assert run.peak_memory == 300.5


def test_an_unfinished_run_says_how_far_it_is_and_what_it_measures(write_run):
    run = only_run(collect([write_run(done=3, overrides={"lr": "0.2"}, measure=MIOU)]))
    assert (run.label, run.state, run.finished) == ("digits_resnet8,lr=0.2", "epoch 3 of 4", False)
    assert (run.device, run.versions, run.seconds) == ("a CPU", {"torch": "2.11.0"}, 6.0)
    assert (run.results, run.measure) == ({}, MIOU)


def test_a_run_that_has_begun_and_not_finished_an_epoch_is_there(write_run):
    run = only_run(collect([write_run(done=0)]))
    assert (run.state, run.rows, run.images_per_second) == ("epoch 0 of 4", (), None)


def test_a_run_that_counts_steps_does_not_say_of_how_many_epochs(write_run):
    run = only_run(collect([write_run(done=2, recipe={"epochs": None, "steps": 40})]))
    assert run.state == "epoch 2"


def test_runs_are_found_once_at_any_depth(two_recipes, write_run):
    deep = write_run(root="runs/more/below", seed=7).parent
    report = collect([two_recipes.parent, two_recipes, deep])
    assert sorted(run.seed for run in report.runs) == [0, 0, 1, 1, 7]
    assert report.notes == ()


def test_runs_group_by_images_and_then_by_recipe_with_baselines_first(two_recipes, write_run):
    few = {"name": "standard", "train_per_class": 5, "subset_seed": 2}
    write_run("a_isda", recipe={"subset": few})
    write_run("b", recipe={"subset": {"name": "standard", "hold_out": 100, "subset_seed": 0}})
    write_run("c", recipe={"subset": few})
    write_run("d_isda", recipe={"subset": {"name": "standard", "subset_seed": 4}})
    write_run("e", recipe={"data": {"name": "my.py:Mine", "noise": 0.5, "sizes": [1, 2]}})
    write_run("f", recipe={"subset": {"name": "my.py:Core", "size": 3}})
    groups = {group.title: group for group in collect([two_recipes]).groups}
    assert {title: [r.label for r in group.recipes] for title, group in groups.items()} == {
        "digits, train_per_class=5, subset_seed=2": ["c", "a_isda"],
        "digits, hold_out=100, subset_seed=0": ["b"],
        "digits": ["digits_resnet8", "d_isda", "digits_resnet8_isda"],
        "my.py:Mine, noise=0.5, sizes=[1, 2]": ["e"],
        "digits, subset=my.py:Core, size=3": ["f"],
    }
    assert groups["digits"].measured == "test error"
    assert groups["digits, hold_out=100, subset_seed=0"].measured == "held-out error"


def test_runs_with_other_main_metrics_are_apart_and_their_titles_say_so(write_run, tmp_path):
    write_run("a")
    write_run("b", measure=MIOU)
    write_run("c", measure=Measure("error", "%", "lower", "last"))  # another number of the same
    groups = {group.title: group for group in collect([tmp_path]).groups}
    assert {title: [r.label for r in group.recipes] for title, group in groups.items()} == {
        "digits, error": ["a", "c"],
        "digits, miou": ["b"],
    }
    assert groups["digits, miou"].measured == "test miou"


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


def test_seeds_made_with_other_code_stay_together_and_it_is_said(write_run, tmp_path):
    for seed, digest in enumerate(("1f", "1f", "2e")):
        code = {"my.py": {"place": f"/home/{seed}/my.py", "sha256": digest}}
        write_run(seed=seed, code=code)
    report = collect([tmp_path])
    assert [run.seed for run in report.groups[0].recipes[0].runs] == [0, 1, 2]
    (note,) = report.notes
    assert "seed2: made with other code than" in note
    assert "seed0, a run of the same recipe" in note


def test_runs_on_other_images_of_one_name_are_not_compared(write_run, tmp_path):
    """A folder of images may be any folder: what was in it tells."""
    for place, sums in enumerate(({"train": "a"}, {"train": "a"}, {"train": "b"}, {})):
        data = {"data": {"name": "folder"}}
        folder = write_run("cats" if place else "dogs", seed=place, recipe=data)
        (folder / "images.json").write_text(json.dumps({"data": "folder", "sha256": sums}))
    groups = {group.title: group for group in collect([tmp_path]).groups}
    assert [len(group.runs) for group in groups.values()] == [2, 1, 1]
    assert all(title.startswith("folder, ") for title in groups)
    assert "folder, unknown images" in groups


@pytest.mark.parametrize("change", [{"folds": 3}, {"subset_seed": "run"}])
def test_images_that_follow_the_seed_are_compared_by_seed(write_run, tmp_path, change):
    subset = {"name": "standard", **change}
    for seed, name, place in product(range(3), ("a", "b_isda"), ("here", "there")):
        scale = 0.8 + 0.1 * seed if name == "b_isda" else 1
        folder = write_run(name, seed, root=place, scale=scale, recipe={"subset": subset})
        images = {"data": "folder", "sha256": {"held_out": f"{place} {seed}"}}
        (folder / "images.json").write_text(json.dumps(images | {"test_on": "hold_out"}))
    (tmp_path / "there/a/seed2/images.json").unlink()
    here, there, unknown = groups = collect([tmp_path / "here", tmp_path / "there"]).groups
    assert [[len(recipe.runs) for recipe in group.recipes] for group in groups] == [
        [3, 3],
        [2, 3],
        [1],
    ]
    assert {run.folder.parts[-3] for run in here.runs} == {"here"}
    assert {run.folder.parts[-3] for run in there.runs} == {"there"}
    assert unknown.title.endswith(", unknown images")
    assert len({group.title for group in groups}) == 3
    assert here.measured == there.measured == "held-out error"
    (pair,) = here.pairs()
    values = [list(recipe.values(here.measure).values()) for recipe in here.recipes]
    plain = paired_difference(*values)
    width = (pair.difference.high - pair.difference.low) / (plain.high - plain.low)
    assert (pair.difference.pairs, width) == (
        3,
        pytest.approx(2.5**0.5 if "folds" in change else 1),
    )


def test_a_summary_alone_tells_what_was_tested_on(write_run):
    folder = write_run(test_on="hold_out")
    (folder / "images.json").unlink()
    assert collect([folder]).groups[0].measured == "held-out error"


def test_a_summary_beside_runs_hides_none(two_recipes, write_run):
    (two_recipes / "summary.json").write_text("{}")
    assert len(collect([two_recipes]).runs) == 4


def test_of_some_runs_the_summary_is_all_that_was_kept(write_run):
    alone = write_run(seed=5)
    for name in ("metrics.jsonl", "recipe.json", "environment.json", "images.json"):
        (alone / name).unlink()
    report = collect([alone])
    assert (only_run(report).state, only_run(report).results[""]["error"]["best"]) == (
        "finished",
        13.75,
    )
    assert report.notes == ()


def test_a_run_that_diverged_says_so(write_run):
    folder = write_run(done=2)
    (folder / "diverged.json").write_text("{}")
    assert only_run(collect([folder])).state == "epoch 2 of 4, diverged"


def test_results_of_all_predictors_are_read(write_run):
    run = only_run(collect([write_run(predictors=("", "teacher", "network 2"))]))
    assert list(run.results) == ["", "teacher", "network 2"]
    assert [metrics["error"]["last"] for metrics in run.results.values()] == [12.5, 15, 17.5]


def labels(path):
    """Return the labels of the recipes in each group."""
    return [[recipe.label for recipe in group.recipes] for group in collect([path]).groups]


def test_two_recipes_of_one_name_are_told_apart_by_what_differs(write_run, tmp_path):
    for root, epochs, more in (("one", 4, {}), ("two", 9, {}), ("three", 9, {"clip_norm": 1.0})):
        write_run(root=root, epochs=epochs, recipe=more)
    write_run("another", epochs=9)
    assert labels(tmp_path) == [
        [
            "another",
            "digits_resnet8,epochs=4,clip_norm=none",
            "digits_resnet8,epochs=9,clip_norm=1.0",
            "digits_resnet8,epochs=9,clip_norm=none",
        ]
    ]


@pytest.mark.parametrize("change", [{"clip_norm": None}, dict.fromkeys("abcd", 1)], ids=str)
def test_where_options_do_not_tell_recipes_apart_their_folders_do(write_run, tmp_path, change):
    """An option that a version brought is none in runs before; and too many make no label."""
    folders = [write_run(root=root, recipe=more) for root, more in (("one", {}), ("two", change))]
    assert labels(tmp_path) == [[f"digits_resnet8 in {folder}" for folder in folders]]


def test_a_label_that_tells_what_differs_is_that_of_no_other_recipe(write_run, tmp_path):
    other = write_run(root="one", epochs=9, recipe={"loss": {"name": "isda"}})
    write_run(root="two", epochs=4, recipe={"loss": {"name": "isda"}})
    write_run(epochs=9, overrides={"epochs": "9"})
    assert labels(tmp_path) == [
        ["digits_resnet8,epochs=9", "digits_resnet8 in " + str(other), "digits_resnet8,epochs=4"]
    ]


def test_runs_of_unequal_length_have_a_name_for_the_mean_of_both(write_run, tmp_path):
    for epochs in (3, 30):
        write_run(epochs=epochs, overrides={"epochs": str(epochs)})
    (group,) = collect([tmp_path]).groups
    assert group.report_names["mean_last_10"] == "mean of last 3 to 10 epochs"
    write_run("c", recipe={"epochs": None, "steps": 40})
    (group,) = collect([tmp_path]).groups
    assert group.report_names["mean_last_10"] == "mean of last 3 to 10 tests"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"x": NaN}'])
@pytest.mark.parametrize("name", ["summary.json", "recipe.json", "environment.json", "images.json"])
def test_a_damaged_file_is_named_and_left_out(write_run, name, content):
    folder = write_run()
    (folder / name).write_bytes(content)
    report = collect([folder])
    (note,) = report.notes
    assert note.startswith(f"{folder / name}: expected JSON, got a damaged file (")
    assert note.endswith("it was left out")
    assert only_run(report).finished == (name != "summary.json")
    assert only_run(report).recipe


def test_a_run_that_nothing_tells_of_is_left_out(write_run):
    folder = write_run(done=2)
    (folder / "recipe.json").write_text("{")
    report = collect([folder])
    assert report.groups == ()
    assert len(report.notes) == 1


@pytest.mark.parametrize("name", ["summary.json", "recipe.json"])
def test_runs_of_another_format_are_refused_with_one_note(write_run, two_recipes, name):
    folder = write_run(seed=8)
    content = json.loads((folder / name).read_text())
    del content["format"]
    (folder / name).write_text(json.dumps(content))
    report = collect([two_recipes])
    assert sorted(run.seed for run in report.runs) == [0, 0, 1, 1]
    (note,) = report.notes
    assert note.startswith(f"{folder / name}: expected a run folder of format 2, got an earlier")


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": {"name": "error"}},
        {"metric": None},
        {"results": [1]},
        {"results": {"": {"error": {"last": "good"}}}},
        {"by_class": {"cat": None}},
        {"code": {"my.py": "1f"}},
        {"versions": None},
        {"overrides": None},
        {"recipe": 3},
        {"seed": "first"},
    ],
    ids=str,
)
def test_a_summary_that_holds_something_else_is_named_and_its_run_left_out(write_run, changes):
    folder = write_run()
    change(folder / "summary.json", **changes)
    report = collect([folder])
    assert report.runs == ()
    (note,) = report.notes
    assert note.startswith(f"{folder}: left out, for its files do not hold what training writes: ")


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
    damaged = "left out what is damaged, line 3, 4, 5, 6, 7, ..."
    assert note == f"{folder / 'metrics.jsonl'}: {damaged}"


def test_files_that_cannot_be_opened_are_noted(write_run):
    folder = write_run()
    for name in ("metrics.jsonl", "recipe.json"):
        (folder / name).unlink()
        (folder / name).mkdir()
    notes = collect([folder]).notes
    assert len(notes) == 2
    assert all("cannot be read (Is a directory)" in note for note in notes)


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"report: expected a folder, got .*nowhere"):
        collect([tmp_path / "nowhere"])


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected folders with runs \(recipe.json\), got"):
        collect([tmp_path])

"""Tests of semaug.report.compare."""

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from semaug.cli.printing import print_comparison
from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import find_recipe
from semaug.report.compare import check_same_test, compare_runs, conclusion, unequal_warnings
from semaug.runs.files import write_json
from semaug.runs.read import REPORTS, Measure, summarize
from semaug.runs.run import FORMAT, Run
from semaug.runs.statistics import PairedDifference
from semaug.runs.work import Work

TINY = "train_per_class=10,test_images=60,epochs=3,batch_size=32"
ERROR = Measure("error", "%", "lower")


@pytest.fixture
def make_run(tmp_path):
    """Return a function that describes a run of a few steps."""

    def make(name, *changes, seed=0):
        label = name if "_" in name else f"digits_resnet8 {name}"
        base = name if "_" in name else "digits_resnet8"
        recipe = override(find_recipe(f"{base},{TINY}"), split_overrides(changes))
        return Run(label, recipe, seed, root=tmp_path)

    return make


@pytest.fixture
def train_arm(make_run):
    def train_arm(name, *changes, seeds=1):
        runs = [make_run(name, *changes, seed=seed) for seed in range(seeds)]
        for run in runs:
            train(run, TrainOptions(device="cpu"), resume=True, console=Console(quiet=True))
        return runs

    return train_arm


@pytest.fixture
def make_arm(make_run):
    """Return a function that invents the results of an arm, of one test for each predictor."""

    def make_arm(
        name,
        measure,
        *values,
        code=(),
        device="cpu",
        precision="32",
        others=(),
        beside=(),
        **changes,
    ):
        runs = []
        for seed, (results, sums) in enumerate(
            zip(values, code or [{}] * len(values), strict=True)
        ):
            run = make_run(name, seed=seed)
            row = {"epoch": 1, f"train_{measure.name}": 1.0}
            row |= {f"test_{measure.name}{end}": value for end, value in results.items()}
            run.folder.mkdir(parents=True)
            run.metrics.write_text(json.dumps(row) + "\n")
            predictors = [end.removeprefix("_").replace("_", " ") for end in results]
            row |= {f"test_{one.name}": beside[seed] for one in others}
            summary = summarize([row], [measure, *others], predictors)
            summary |= {"format": FORMAT, "name": run.name, "overrides": {}, "quick": False}
            summary |= {"device": device, "commit": "c", "seconds": 1.0, "peak_memory_mib": None}
            summary |= {
                "test_on": "test",
                "seed": seed,
                "versions": {},
                "by_class": {},
                "epochs": 12,
            }
            summary |= {"recipe": {"precision": precision}, "optimizer_steps": 1}
            summary |= {"images_seen": 2, "forward_passes": 3}
            summary["code"] = {file: {"place": file, "sha256": sum} for file, sum in sums.items()}
            write_json(run.folder / "summary.json", summary | changes)
            runs.append(run)
        return runs

    return make_arm


def printed(comparison):
    console = Console(width=200, record=True, file=io.StringIO())
    print_comparison(console, comparison)
    return console.export_text()


def test_metrics_beside_the_main_one_are_told_after_it(make_arm, tmp_path):
    error, others = Measure("error", "%", "lower"), [Measure("nll", "nats", "lower")]
    values = [[0.50, 0.48, 0.49], [0.40, 0.41, 0.40]]
    arms = [
        make_arm(name, error, {"": 9.0}, {"": 8.0}, {"": 9.5}, others=others, beside=beside)
        for name, beside in zip(("a", "b"), values, strict=True)
    ]
    comparison = compare_runs(*arms, tmp_path)
    (nll,) = json.loads((comparison.folder / "compare.json").read_text())["other_metrics"]
    assert nll["metric"]["unit"] == "nats"
    sides = [nll[side]["results"][""]["last"]["values"] for side in ("first", "second")]
    assert sides == values
    assert nll["second_minus_first"][""]["last"]["mean"] == pytest.approx(-0.26 / 3)
    text = printed(comparison)
    assert "Other metrics, mean of last 10 epochs" in text
    (row,) = [line for line in text.splitlines() if "nll in nats, lower is better" in line]
    assert re.split(r"\s{2,}", row.strip())[1:] == [
        "0.490 ± 0.010",
        "0.403 ± 0.006",
        "-0.087",
        "-0.125 to -0.049",
    ]
    pair = comparison.group.pairs(comparison.group.others[0])[0]
    told = conclusion(comparison.group, pair)
    assert told.startswith(
        "digits_resnet8 b is 0.087 nats better than digits_resnet8 a in test nll"
    )


def test_writes_numbers_and_a_picture(train_arm, tmp_path):
    arms = [train_arm(name, seeds=2) for name in ("digits_resnet8", "digits_resnet8_isda")]
    comparison = compare_runs(*arms, tmp_path)
    written = json.loads((comparison.folder / "compare.json").read_text())
    assert written["metric"] == {
        "name": "error",
        "unit": "%",
        "better": "lower",
        "report": "mean_last_10",
    }
    assert written["measured"] == "test error"
    for report in REPORTS:
        values = [written[side]["results"][""][report]["values"] for side in ("first", "second")]
        recorded = [[run.summary()["results"][""]["error"][report] for run in arm] for arm in arms]
        assert values == recorded
        mean = sum(b - a for a, b in zip(*values, strict=True)) / 2
        assert written["second_minus_first"][""][report]["mean"] == pytest.approx(mean)
    assert written["first"]["seeds"] == [0, 1]
    assert written["warnings"] == []
    assert (comparison.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "Test error in percent, lower is better, 2 seeds each" in printed(comparison)


def test_work_of_both_arms_is_told(train_arm, tmp_path):
    arms = train_arm("digits_resnet8"), train_arm("ait", "method=ait")
    comparison = compare_runs(*arms, tmp_path)
    assert comparison.group.runs[0].work == Work(
        optimizer_steps=12, images_seen=300, forward_passes=300
    )
    written = json.loads((comparison.folder / "compare.json").read_text())
    assert [work["forward_passes"] for work in written["second"]["work"]] == [600]
    text = printed(comparison)
    assert "each run of digits_resnet8: 12 optimizer steps, 300 images seen, 300 for" in text
    assert "the arms differ in forward passes\n" in text


@pytest.mark.parametrize(("num_seeds", "words"), [(1, "1 pair"), (2, "2 pairs")])
def test_too_few_pairs_get_no_verdict_but_their_interval(make_arm, tmp_path, num_seeds, words):
    first, second = ([3.0, 4.0], [1.9, 3.0])  # of which two would "show a difference"
    arms = [
        make_arm(name, ERROR, *({"": value} for value in values[:num_seeds]))
        for name, values in (("a", first), ("b", second))
    ]
    comparison = compare_runs(*arms, tmp_path)
    (pair,) = comparison.pairs
    assert (pair.difference.low is None) == (num_seeds == 1)
    said = f"in {words} of runs: too few pairs for a verdict, which takes at least 3."
    assert conclusion(comparison.group, pair).endswith(said)
    text = printed(comparison)
    assert said in text
    assert ("95 % confidence interval -1.69 to -0.41" in text) == (num_seeds == 2)


def test_a_metric_of_which_more_is_better_is_compared_the_right_way_round(make_arm, tmp_path):
    miou = Measure("miou", "%", "higher", "best")
    first = make_arm("a", miou, *({"": value} for value in (50.0, 51.0, 52.0)))
    second = make_arm("b", miou, *({"": value} for value in (60.0, 61.5, 62.0)))
    comparison = compare_runs(first, second, tmp_path)
    text = printed(comparison)
    assert "Test miou in percent, higher is better, 3 seeds each" in text
    assert "paired difference of the best epoch, second - first: +10.17" in text
    assert "b is 10.17 points better than digits_resnet8 a in test miou, and the inter" in text
    written = json.loads((comparison.folder / "compare.json").read_text())
    assert (written["metric"]["name"], written["metric"]["better"]) == ("miou", "higher")
    assert written["conclusion"] == conclusion(comparison.group, comparison.pairs[0])


@pytest.mark.parametrize(
    ("mean", "low", "high", "words"),
    [
        (-0.5, -1.2, 0.2, "0.50 points better .* contains 0: these 3 pairs of runs do not"),
        (-0.5, -0.8, -0.2, "0.50 points better .* does not contain 0"),
        (0.5, 0.2, 0.8, "0.50 points worse .* does not contain 0"),
        (0.5, None, None, "0.50 points worse .* in each of 3 pairs .* the spread is zero"),
        (0.0, None, None, "equals .* in each of 3 pairs .* the spread is zero"),
    ],
)
def test_says_what_the_interval_means(make_arm, tmp_path, mean, low, high, words):
    comparison = compare_runs(*(make_arm(name, ERROR, {"": 1.0}) for name in "ab"), tmp_path)
    pair = replace(comparison.pairs[0], difference=PairedDifference(mean, low, high, 3))
    assert re.search(words, conclusion(comparison.group, pair))


def test_arms_of_unequal_settings_are_told(make_arm, tmp_path):
    arms = [make_arm(name, ERROR, {"": 1.0}, {"": 2.0}) for name in "ab"]
    last = arms[1][1]

    def lines(**changes):
        summary = last.summary()
        write_json(last.folder / "summary.json", summary | changes)
        comparison = compare_runs(*arms, tmp_path)
        write_json(last.folder / "summary.json", summary)
        written = json.loads((comparison.folder / "compare.json").read_text())
        assert written["warnings"] == unequal_warnings(comparison.pairs[0])
        return written["warnings"]

    assert lines() == []
    assert lines(device="gpu") == [
        "the arms differ in device: digits_resnet8 a on cpu; digits_resnet8 b on cpu, gpu"
    ]
    assert lines(recipe={"precision": "bf16"}) == [
        "the arms differ in precision: digits_resnet8 a on 32; digits_resnet8 b on 32, bf16"
    ]
    assert lines(recipe={"precision": "32", "evaluation_batch_size": 1000}) == [
        "the arms differ in evaluation batch size: "
        "digits_resnet8 a on None; digits_resnet8 b on 1000, None"
    ]


def test_each_predictor_is_compared_with_the_one_of_its_name(make_arm, tmp_path):
    first = make_arm("a", ERROR, {"": 30.0, "_network_2": 40.0})
    second = make_arm("b", ERROR, {"": 29.0, "_network_2": 42.0, "_network_3": 50.0})
    comparison = compare_runs(first, second, tmp_path)
    written = json.loads((comparison.folder / "compare.json").read_text())
    assert written["second_minus_first"][""]["last"]["mean"] == -1
    assert written["second_minus_first"]["network 2"]["last"]["mean"] == 2
    assert list(written["second_minus_first"]) == ["", "network 2"]
    assert written["first"]["results"]["network 2"]["best"]["values"] == [40]
    assert written["second"]["results"]["network 3"]["best"]["values"] == [50]
    text = printed(comparison)
    assert "digits_resnet8 b, network 3" in text
    assert "second - first, network 2: +2.00\ndigits_resnet8 b, network 2 is 2.00 points" in text


def test_curves_are_those_of_a_report(make_arm, tmp_path, monkeypatch):
    drawn = []

    monkeypatch.setattr("semaug.report.compare.save", lambda figure, path: drawn.append(figure))
    arms = [make_arm(name, ERROR, {"": 1.5}, {"": 2.5}) for name in "ab"]
    compare_runs(*arms, tmp_path)
    (figure,) = drawn
    (axes,) = figure.axes
    title = "mean of 2 runs, band from lowest to highest: test error and training error"
    assert axes.get_title().split() == title.split()
    lines = {line.get_label().strip("\N{ZERO WIDTH SPACE}"): line for line in axes.get_lines()}
    assert set(lines) == {
        f"digits_resnet8 {arm}, {kind} error" for arm in "ab" for kind in ("test", "training")
    }
    assert lines["digits_resnet8 a, test error"].get_ydata().tolist() == [2.0]


def test_arms_of_other_main_metrics_are_refused(make_arm, tmp_path):
    first = make_arm("a", ERROR, {"": 1.0})
    for measure in (Measure("miou", "%", "higher"), replace(ERROR, report="last")):
        second = make_arm(measure.name[0] + measure.report[0], measure, {"": 1.0})
        with pytest.raises(UserError, match="expected runs with the same main metric, got error"):
            compare_runs(first, second, tmp_path)


def test_runs_without_a_result_are_refused(make_arm, tmp_path):
    arms = make_arm("a", ERROR, {"": 1.0}, {"": None}), make_arm("b", ERROR, {"": 1.0}, {"": 1.0})
    with pytest.raises(
        UserError, match="compare: expected the error of each run, got runs without"
    ):
        compare_runs(*arms, tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["1f", "2e"], ["1f", "1f"], "my.py was changed between the runs in .*a/seed0 and .*seed1"),
        (["1f", "1f"], ["2e", "2e"], "my.py was changed between the runs in .*a/seed0 and .*b/see"),
    ],
)
def test_runs_made_with_other_code_are_refused(make_arm, tmp_path, first, second, message):
    arms = [
        make_arm(name, ERROR, {"": 1.0}, {"": 2.0}, code=[{"my.py": one} for one in sums])
        for name, sums in (("a", first), ("b", second))
    ]
    with pytest.raises(UserError, match=message):
        compare_runs(*arms, tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], ["data=cifar10"], "got data=digits and data=cifar10"),
        ([], ["hold_out=50"], "got hold_out=None and hold_out=50"),
        ([], ["test_images=20"], "got test_images=60 and test_images=20"),
        (
            ["hold_out=10", "subset_seed=1"],
            ["hold_out=10", "subset_seed=2"],
            "got subset_seed=1 and subset_seed=2",
        ),
        ([], ["report=last"], "got report=mean_last_10 and report=last"),
        (["metrics=error"], ["metrics=accuracy,error"], "got metrics=error and metrics=accuracy"),
    ],
)
def test_arms_that_are_tested_otherwise_are_refused(make_run, first, second, message):
    recipes = [make_run("digits_resnet8", *changes).recipe for changes in (first, second)]
    with pytest.raises(UserError, match="expected two recipes that are tested on the same images"):
        check_same_test(*recipes)
    with pytest.raises(UserError, match=message):
        check_same_test(*recipes)


@pytest.mark.parametrize("changes", [["train_per_class=5"], ["subset_seed=4"], ["metrics=error"]])
def test_arms_may_differ_in_what_is_no_test(make_run, changes):
    recipes = [make_run("digits_resnet8", *own).recipe for own in ([], changes)]
    assert check_same_test(*recipes) is None


@pytest.mark.parametrize(
    "damage", [{"by_class": None}, {"seconds": "long"}, {"versions": 3}], ids=str
)
def test_a_summary_that_holds_something_else_is_named(make_arm, tmp_path, damage):
    arms = make_arm("a", ERROR, {"": 1.0}), make_arm("b", ERROR, {"": 1.0}, **damage)
    with pytest.raises(
        UserError, match=r"compare: expected a finished run in .*b/seed0, got: .*/s"
    ):
        compare_runs(*arms, tmp_path)


def test_options_of_tests_are_compared_by_their_whole_names(monkeypatch):
    """Another option of the same last name, of one recipe alone, hides nothing."""
    plain = {
        "data": {"name": "my.py:Mine", "noise": 1},
        "loss": {"name": "my.py:Noisy", "noise": 2},
    }
    other = {"data": {"name": "my.py:Mine", "noise": 3}}
    monkeypatch.setattr("semaug.report.compare.recipe_to_plain_data", lambda recipe: recipe)
    with pytest.raises(UserError, match="got noise=1 and noise=3"):
        check_same_test(plain, other)

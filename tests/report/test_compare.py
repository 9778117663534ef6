"""Tests of semaug.report.compare and semaug.report.curves."""

import io
import json
from dataclasses import fields, replace

import pytest
from rich.console import Console

from semaug.cli.printing import print_comparison
from semaug.engine.loop import train
from semaug.errors import UserError
from semaug.report.compare import (
    MEASURES,
    Arm,
    Comparison,
    check_same_test,
    compare_runs,
    conclusion,
    unequal_warnings,
)
from semaug.runs.statistics import PairedDifference
from semaug.runs.work import Work, work_of


@pytest.fixture
def arms(make_run, quiet):
    def arm(name, seeds):
        runs = [make_run(name, seed=seed) for seed in range(seeds)]
        return Arm(runs, [train(run, resume=True, **quiet) for run in runs])

    return lambda seeds: (arm("digits_resnet8", seeds), arm("digits_resnet8_isda", seeds))


def test_writes_numbers_and_a_picture(arms, tmp_path):
    first, second = arms(2)
    comparison = compare_runs(first, second, tmp_path)
    written = json.loads((comparison.folder / "compare.json").read_text())
    values = [written[side]["error_last"]["values"] for side in ("first", "second")]
    mean = sum(b - a for a, b in zip(*values, strict=True)) / 2
    assert written["second_minus_first"]["error_last"]["mean"] == pytest.approx(mean)
    assert written["first"]["seeds"] == [0, 1]
    assert written["warnings"] == []
    assert (comparison.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_work_of_both_arms_is_told(make_run, quiet, tmp_path):
    runs = [make_run("digits_resnet8", *changes) for changes in ([], ["method=ait"])]
    runs[1] = replace(runs[1], overrides={"method": "ait"})
    arms = [Arm([run], [train(run, **quiet)]) for run in runs]
    assert work_of(arms[0].summaries[0]) == Work(
        optimizer_steps=12, images_seen=300, forward_passes=300
    )
    comparison = compare_runs(*arms, tmp_path)
    written = json.loads((comparison.folder / "compare.json").read_text())
    assert written["second"]["work"]["forward_passes"] == 600
    console = Console(width=200, record=True, quiet=False, file=io.StringIO())
    print_comparison(console, comparison)
    printed = console.export_text()
    assert "each run of digits_resnet8: 12 optimizer steps, 300 images seen, 300 for" in printed
    assert "the arms differ in forward passes\n" in printed
    told = arms[0].summaries[0]
    names = [field.name for field in fields(Work)]
    early = Arm(runs[:1], [{name: told[name] for name in told if name not in names}])
    assert work_of(early.summaries[0]) is None
    print_comparison(console, replace(comparison, first=early))
    printed = console.export_text()
    assert "each run of digits_resnet8: steps and passes not recorded" in printed
    assert "the arms differ" not in printed


def test_one_seed_has_no_interval(arms, tmp_path):
    comparison = compare_runs(*arms(1), tmp_path)
    assert comparison.differences["error_last"].low is None
    assert "single run each" in conclusion(comparison)


@pytest.mark.parametrize(
    ("mean", "low", "high", "words"),
    [
        (-0.5, -1.2, 0.2, "0.50 points fewer errors .* contains 0: these 3 pairs of runs do not"),
        (-0.5, -0.8, -0.2, "0.50 points fewer errors .* does not contain 0"),
        (0.5, 0.2, 0.8, "0.50 points more errors .* does not contain 0"),
        (0.5, None, None, "0.50 points more errors .* in each of 3 pairs .* the spread is zero"),
        (0.0, None, None, "as many errors as .* in each of 3 pairs .* the spread is zero"),
    ],
)
def test_says_what_the_interval_means(make_run, tmp_path, mean, low, high, words):
    import re

    first, second = (
        Arm([make_run(name)], []) for name in ("digits_resnet8", "digits_resnet8_isda")
    )
    differences = {"error_mean_last_10": PairedDifference(mean, low, high, 3)}
    assert re.search(words, conclusion(Comparison(first, second, differences, tmp_path)))


def test_arms_of_unequal_devices_or_precisions_are_told(make_run, tmp_path):
    def arm(name, *devices_and_precisions):
        summaries = [
            {"device": device, "recipe": {"precision": precision}}
            for device, precision in devices_and_precisions
        ]
        return Arm([make_run(name)], summaries)

    def lines(first, second):
        arms = arm("digits_resnet8", *first), arm("digits_resnet8_isda", *second)
        return unequal_warnings(Comparison(*arms, {}, tmp_path))

    cpu, gpu, bf16 = ("cpu", "32"), ("gpu", "32"), ("cpu", "bf16")
    assert lines([cpu, gpu], [cpu, gpu]) == []
    assert lines([cpu, cpu], [cpu, gpu]) == [
        "the arms differ in device: digits_resnet8 on cpu; digits_resnet8_isda on cpu, gpu"
    ]
    assert lines([cpu], [bf16]) == [
        "the arms differ in precision: digits_resnet8 on 32; digits_resnet8_isda on bf16"
    ]


def test_each_network_is_compared_with_the_one_in_its_place(make_run, tmp_path):
    def arm(weight, errors):
        changes = ["method=dml", "peers=resnet8_cifar", f"ai_weight={weight}"]
        runs = [replace(make_run("digits_resnet8", *changes), overrides={"ai_weight": str(weight)})]
        summary = {"device": "cpu", "commit": "c", "seconds": 1.0, "recipe": {}}
        for network, error in enumerate(errors):
            suffix = "" if network == 0 else "_2"
            summary |= {f"{measure}{suffix}": error for measure in MEASURES}
        row = {"epoch": 1, "test_error": 1.0, "train_error": 1.0}
        runs[0].folder.mkdir(parents=True)
        runs[0].metrics.write_text(json.dumps(row) + "\n")
        return Arm(runs, [summary])

    comparison = compare_runs(arm(0.5, (30.0, 40.0)), arm(1.0, (29.0, 42.0)), tmp_path)
    written = json.loads((comparison.folder / "compare.json").read_text())
    assert written["second_minus_first"]["error_last"]["mean"] == -1
    assert written["second_minus_first"]["error_last_2"]["mean"] == 2
    assert written["first"]["error_best_2"]["values"] == [40]
    console = Console(width=200, record=True, quiet=False, file=io.StringIO())
    print_comparison(console, comparison)
    printed = console.export_text()
    assert "ai_weight=1.0, network 2" in printed
    assert "second - first of network 2: +2.00\nnetwork 2 of " in printed
    assert "ai_weight=1.0 made 2.00 points more errors than network 2 of " in printed


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], ["data=cifar10"], "got data=digits and data=cifar10"),
        ([], ["hold_out=50"], "got hold_out=None and hold_out=50"),
        (["test_images=10"], ["test_images=20"], "got test_images=10 and test_images=20"),
        (
            ["test_images=10", "subset_seed=1"],
            ["test_images=10", "subset_seed=2"],
            "got subset_seed=1 and subset_seed=2",
        ),
    ],
)
def test_arms_that_are_tested_on_different_images_are_refused(make_run, first, second, message):
    recipes = [make_run("digits_resnet8", *changes).recipe for changes in (first, second)]
    with pytest.raises(UserError, match="expected two recipes that are tested on the same images"):
        check_same_test(*recipes)
    with pytest.raises(UserError, match=message):
        check_same_test(*recipes)


def test_arms_may_be_trained_on_different_images(make_run):
    parts = [make_run("digits_resnet8", f"train_per_class={n}").recipe for n in (5, 10)]
    assert check_same_test(*parts) is None

"""Tests of semaug.training.compare and semaug.training.curves."""

import io
import json
from dataclasses import fields, replace

import pytest
from rich.console import Console

from semaug.cli.report import print_comparison
from semaug.training import compare
from semaug.training.compare import (
    Arm,
    Comparison,
    compare_runs,
    conclusion,
    train_missing,
    unequal_settings,
    work_of,
)
from semaug.training.loop import train
from semaug.training.run import RunIsBusyError
from semaug.training.statistics import PairedDifference
from semaug.training.work import Work


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
    assert work_of(arms[0]) == Work(optimizer_steps=12, images_seen=300, forward_passes=300)
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
    assert work_of(early) is None
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
        return unequal_settings(Comparison(*arms, {}, tmp_path))

    cpu, gpu, bf16 = ("cpu", "32"), ("gpu", "32"), ("cpu", "bf16")
    assert lines([cpu, gpu], [cpu, gpu]) == []
    assert lines([cpu, cpu], [cpu, gpu]) == [
        "the arms differ in device: digits_resnet8 on cpu; digits_resnet8_isda on cpu, gpu"
    ]
    assert lines([cpu], [bf16]) == [
        "the arms differ in precision: digits_resnet8 on 32; digits_resnet8_isda on bf16"
    ]


def test_runs_of_another_process_are_waited_for(make_run, monkeypatch):
    monkeypatch.setattr(compare, "_SECONDS_BETWEEN_LOOKS", 0)
    runs = [make_run(seed=seed) for seed in range(3)]
    tries, lines = [], []

    def train_one(run):
        tries.append(run.seed)
        if run.seed == 0 and tries.count(0) < 3:
            raise RunIsBusyError("busy")
        return {"seed": run.seed}

    summaries = train_missing(runs, train_one, lines.append)
    assert [summary["seed"] for summary in summaries] == [0, 1, 2]
    assert tries == [0, 1, 2, 0, 0]
    assert lines[0] == "run 1 of 3: digits_resnet8_isda seed 0 starts"
    assert (
        lines[1] == "run 1 of 3: digits_resnet8_isda seed 0 waits: another process is training it"
    )
    assert len(lines) == 4

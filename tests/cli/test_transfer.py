"""Tests of semaug.cli.transfer."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from semaug.data import load_data


@pytest.fixture
def runs(semaug, tmp_path):
    """Train two recipes, one of them with two seeds, and return their folder."""
    for recipe, seed in (("digits_resnet8", 0), ("digits_resnet8", 1), ("digits_resnet8_isda", 0)):
        assert semaug("train", recipe, f"seed={seed}", "--quick", "--device", "cpu")[0] == 0
    return tmp_path / "runs"


def cells(output, label):
    """Return the cells of a row of the table."""
    (line,) = [line for line in output.splitlines() if line.startswith(f"│ {label} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_row_for_each_label_and_a_column_for_each_test_set(semaug, runs):
    status, output, _ = semaug("transfer", "runs", "--device", "cpu")
    assert status == 0
    assert (
        "digits, train_per_class=10, subset_seed=0, test_images=500: accuracy on test images"
        in output
    )
    summaries = [
        json.loads((runs / "digits_resnet8,quick" / f"seed{k}" / "summary.json").read_text())
        for k in (0, 1)
    ]
    errors = [summary["results"][""]["error"]["last"] for summary in summaries]
    _, original, crop, grey, color, number = cells(output, "digits_resnet8,quick")
    assert original == f"{100 - np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}"
    assert grey == original  # digits are grey
    assert all(re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d", cell) for cell in (crop, color))
    assert number == "2"
    row = cells(output, "digits_resnet8_isda,quick")
    assert all(re.fullmatch(r"\d+\.\d\d", cell) for cell in row[1:5])
    assert row[5] == "1"
    kept = json.loads((runs / "digits_resnet8_isda,quick" / "seed0" / "transfer.json").read_text())
    (found,) = kept["test_sets"].values()
    assert f"{found['predictors']['']['accuracies']['random_crop']:.2f}" == row[2]
    # Read again, although the weights cannot be loaded any more.
    (runs / "digits_resnet8_isda,quick" / "seed0" / "checkpoint.pt").unlink()
    assert semaug("transfer", "runs", "--device", "cpu")[1] == output


def test_each_predictor_has_a_row_and_pictures(semaug, tmp_path):
    changes = ["method=dml", "peers=resnet8_cifar"]
    for seed in (0, 1):
        arguments = ["digits_resnet8", *changes, f"seed={seed}", "--quick", "--device", "cpu"]
        assert semaug("train", *arguments)[0] == 0
    label = "digits_resnet8,quick,method=dml,peers=resnet8_cifar"
    status, output, _ = semaug("transfer", "runs", "--plots", "pictures", "--device", "cpu")
    assert status == 0
    found = []
    for seed in (0, 1):
        kept = json.loads((tmp_path / "runs" / label / f"seed{seed}" / "transfer.json").read_text())
        (one,) = kept["test_sets"].values()
        found.append(one["predictors"])
    (variation,) = (tmp_path / "pictures").glob("*-variation.svg")
    (features,) = (tmp_path / "pictures").glob("*-features.svg")
    # Long names are folded into several lines of the table.
    table = [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines()]
    rows = [row for row in table if len(row) == 6 and row[5] == "2"]
    texts = "".join(row[0] for row in table if len(row) == 6)
    for row, (predictor, end) in zip(
        rows, {"": "", "network 2": ", network 2"}.items(), strict=True
    ):
        values = [one[predictor]["accuracies"]["random_crop"] for one in found]
        assert row[2] == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
        name = f"{label}{end}"
        assert name.replace(" ", "") in texts.replace(" ", "")
        assert f"{name} (2 runs)" in variation.read_text()
        assert f"{end} seed 0" in features.read_text()
    assert len(rows) == 2


def test_images_in_files_are_measured(semaug, tmp_path):
    numbers = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "photographs" / part / name).mkdir(parents=True)
            for place in range(4):
                pixels = numbers.integers(256, size=(20, 18 + place, 3), dtype=np.uint8)
                path = tmp_path / "photographs" / part / name / f"{place}.png"
                Image.fromarray(pixels).save(path)
    options = ["--data-root", "photographs", "--workers", "0", "--device", "cpu"]
    changes = ["network=resnet8_cifar", "image_size=16"]
    status, _, error = semaug("train", "folder_resnet18", *changes, "--quick", *options)
    assert status == 0, error
    folder = "photographs/val"
    command = ["transfer", "runs", "--corruptions", folder, "--plots", "pictures"]
    status, output, error = semaug(*command, *options)
    assert status == 0, error
    (path,) = (tmp_path / "runs").rglob("transfer.json")
    kept = json.loads(path.read_text())
    (found,) = kept["test_sets"].values()
    summary = json.loads((path.parent / "summary.json").read_text())
    accuracy = 100 - summary["results"][""]["error"]["last"]
    assert found["predictors"][""]["accuracies"]["original"] == pytest.approx(accuracy)
    (corrupted,) = kept["corrupted"].values()
    assert corrupted["predictors"][""]["mean"] == pytest.approx(accuracy)
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    assert semaug(*command, *options)[1] == output


def test_the_help_says_what_is_measured_of_what(semaug):
    output = " ".join(semaug("transfer", "--help")[1].split())
    for part in ("every network of every finished run", "accuracy", "KL divergence", "Euclidean"):
        assert part in output


def test_names_keep_their_room_on_a_narrow_terminal(semaug, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, output, _ = semaug("transfer", "runs", "--device", "cpu")
    assert status == 0
    assert re.fullmatch(r"\d+\.\d\d", cells(output, "digits_resnet8,quick")[1])
    assert re.search(r"│ +± \d+\.\d\d │", output)


def test_options_reach_the_measurement(semaug, runs):
    one = str(runs / "digits_resnet8_isda,quick" / "seed0")
    arguments = ("--seed", "3", "--hue", "0.1", "--threads", "1", "--device", "cpu")
    assert semaug("transfer", one, *arguments)[0] == 0
    kept = json.loads((runs / "digits_resnet8_isda,quick" / "seed0" / "transfer.json").read_text())
    assert list(kept["test_sets"]) == ["crop=1/8,seed=3,hue=0.1"]


def test_corrupted_images_have_a_column(semaug, runs, tmp_path):
    # A run with --quick tests on 500 images; a user's own images may be others.
    test = load_data("digits").test
    (tmp_path / "digits-C").mkdir()
    images = test.images[:20].permute(0, 2, 3, 1).numpy()
    np.save(tmp_path / "digits-C" / "labels.npy", np.tile(test.labels[:20].numpy(), 5))
    np.save(tmp_path / "digits-C" / "noise.npy", np.concatenate([images] * 5))
    one = str(runs / "digits_resnet8_isda,quick")
    status, output, _ = semaug("transfer", one, "--corruptions", "digits-C", "--device", "cpu")
    assert status == 0
    assert "digits-C" in output
    kept = json.loads((runs / "digits_resnet8_isda,quick" / "seed0" / "transfer.json").read_text())
    (found,) = kept["corrupted"].values()
    assert cells(output, "digits_resnet8_isda,quick")[5] == f"{found['predictors']['']['mean']:.2f}"


def test_pictures_are_written_where_asked(semaug, runs, tmp_path):
    status, output, _ = semaug("transfer", "runs", "--plots", "pictures", "--device", "cpu")
    assert status == 0
    name = "transfer-digits-train-per-class-10-subset-seed-0-test-images-500"
    files = [
        f"{name}-{what}.{kind}" for what in ("variation", "features") for kind in ("png", "svg")
    ]
    assert re.findall(r"wrote pictures/(.*)", output) == files
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == sorted(files)
    assert (
        "digits_resnet8_isda,quick seed 0"
        in (tmp_path / "pictures" / f"{name}-features.svg").read_text()
    )


def test_what_cannot_be_measured_is_named_and_left_out(semaug, runs):
    (runs / "digits_resnet8,quick" / "seed0" / "summary.json").unlink()
    (runs / "digits_resnet8,quick" / "seed1" / "checkpoint.pt").write_bytes(b"damaged")
    status, output, _ = semaug("transfer", "runs", "--device", "cpu")
    assert status == 0
    assert "seed0: left out, for it is at epoch 2 of 2" in output
    assert re.search(r"seed1: left out, .*expected a checkpoint, got a damaged file", output)
    assert cells(output, "digits_resnet8_isda,quick")[5] == "1"
    assert "│ digits_resnet8,quick" not in output

    status, _, error = semaug("transfer", str(runs / "digits_resnet8,quick"), "--device", "cpu")
    assert status == 2
    assert "expected a checkpoint, got a damaged file" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "transfer: expected a folder, got nowhere"),
        (["."], "transfer: expected folders with runs (recipe.json), got ."),
        ([".", "--corruptions", "x"], "transfer: expected a folder of corrupted images, got x"),
    ],
)
def test_mistakes_are_one_line(semaug, arguments, message):
    status, _, error = semaug("transfer", *arguments)
    assert status == 2
    assert error.strip() == message


def test_one_process_measures(semaug, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, error = semaug("transfer", ".")
    assert status == 2
    assert "transfer: expected one process, got several from torchrun" in error


def test_a_folder_of_damaged_runs_holds_nothing_to_measure(semaug, tmp_path):
    run = tmp_path / "runs" / "digits_resnet8" / "seed0"
    run.mkdir(parents=True)
    for name in ("recipe.json", "metrics.jsonl", "summary.json"):
        (run / name).write_text("{")
    status, output, error = semaug("transfer", str(run))
    assert status == 2
    assert "note: " in output
    assert error.strip() == f"transfer: expected folders with finished runs, got {run}"

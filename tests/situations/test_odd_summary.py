"""A ``summary.json`` that is JSON but no summary ends every command in one clear line."""

import json

from tests.cli.conftest import semaug  # noqa: F401

QUICK = ["digits_resnet8", "--quick", "--device", "cpu"]
ODD = [{"epochs": None}, {"metric": []}, {"results": {"": {"error": {"mean_last_10": "low"}}}}]


def test_every_reader_names_the_file(semaug, tmp_path):  # noqa: F811
    assert semaug("train", *QUICK)[0] == 0
    path = tmp_path / "runs" / "digits_resnet8,quick" / "seed0" / "summary.json"
    whole = json.loads(path.read_text())
    commands = [
        ["compare", *QUICK, "digits_resnet8_isda", "--seeds", "1"],
        ["transfer", str(path.parent)],
        ["evaluate", str(path.parent)],
        ["train", *QUICK, "--resume"],
    ]
    for change in ODD:
        path.write_text(json.dumps(whole | change))
        for command in commands:
            status, output, error = semaug(*command)
            assert (status, error.count("\n")) == (2, 1), command
            assert "seed0/summary.json: expected" in error or "seed0: left out" in output, command
        commands = commands[2:]

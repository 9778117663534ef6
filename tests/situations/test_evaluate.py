"""``semaug evaluate`` finds runs below a folder, and its exit status tells what it found."""

import json

from tests.cli.conftest import semaug  # noqa: F401

ON_CPU = ["--device", "cpu"]


def test_the_status_is_that_of_the_results(semaug, tmp_path):  # noqa: F811
    for seed in ("0", "1"):
        train = ["train", "digits_resnet8", "--quick", "--seed", seed, "--threads", "1"]
        assert semaug(*train, *ON_CPU)[0] == 0
    status, output, _ = semaug("evaluate", "runs", *ON_CPU)
    assert status == 0
    assert [line.partition(":")[0] for line in output.splitlines()] == [
        f"runs/digits_resnet8,quick/seed{seed}" for seed in (0, 1)
    ]
    assert output.count("as recorded") == 2

    path = tmp_path / "runs" / "digits_resnet8,quick" / "seed0" / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["threads"] == 1
    summary["results"][""]["error"]["last"] = 0.01
    path.write_text(json.dumps(summary))
    status, output, error = semaug("evaluate", "runs", *ON_CPU)
    assert (status, error) == (1, "")
    assert "recorded were 0.01 %" in output
    assert output.count("as recorded") == 1

    path.write_text("{")
    status, output, error = semaug("evaluate", "runs", *ON_CPU)
    assert (status, error) == (2, "evaluate: 1 of 2 runs cannot be tested; see above\n")
    assert "seed0/summary.json: expected JSON, got a damaged file" in output
    assert output.count("as recorded") == 1

"""A run diverged: what is said can be followed, and nothing points to what is refused."""

import pytest

from tests.cli.conftest import semaug  # noqa: F401

DIVERGES = ["train", "digits_resnet8_isda", "strength=1000", "lr=1e30", "--quick"]
ADVICE = "try a lower strength or lr, or clip_norm=1: that is another run, in a folder of its own"


@pytest.mark.filterwarnings("ignore:ClassCovariance")
def test_every_command_gives_advice_that_it_takes(semaug):  # noqa: F811
    status, _, told = semaug(*DIVERGES, "--device", "cpu")
    assert status == 2
    assert f"{ADVICE}" in told
    assert told.endswith("diverged.json\n")
    for again in ([], ["--resume"]):
        status, _, told = semaug(*DIVERGES, *again, "--device", "cpu")
        assert status == 2
        assert "this run diverged before, in step" in told
        assert ADVICE in told
        assert "--resume" not in told
    status, _, told = semaug("evaluate", told.rpartition("delete ")[2].rpartition("/")[0])
    assert status == 2
    assert f"expected a finished run, got one that diverged; {ADVICE}" in told
    assert "--resume" not in told
    better = [*DIVERGES[:2], "strength=0.5", "lr=0.1", "clip_norm=1", "--quick", "--device", "cpu"]
    assert semaug(*better)[0] == 0

"""Several processes train the detector that one process trains; see ranks.py."""

import pytest
import torch
from torch.testing import assert_close

from semaug.runs.checkpoint import load_checkpoint
from tests.detection import ranks
from tests.detection.signs import Signs
from tests.engine.same import assert_same_runs, kept_by, without_times
from tests.processes import run_together
from tests.tiny import rows_of

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of all that two processes did, and of the run that one trained."""
    folder = tmp_path_factory.mktemp("ranks")
    Signs().load(folder / "signs")  # or both would draw the images
    ranks.write_weights(folder)
    run_together(ranks.run_rank, 2, str(folder))
    ranks.train(folder / "one")
    return folder


@pytest.mark.parametrize("kind", ranks.COUNTS)
@pytest.mark.parametrize("name", ["mask_rcnn", "cascade_rcnn"])
def test_a_step_of_two_processes_is_that_of_one_with_the_joint_batch(
    name, kind, folder, monkeypatch
):
    ranks.few_samples(monkeypatch.setattr)
    losses, grads = torch.load(folder / "steps.pt")[name, kind]
    wanted, wanted_grads = ranks.step(name, ranks.COUNTS[kind], [0, 1, 2])
    assert_close(losses, wanted, rtol=1e-9, atol=1e-12)
    assert grads.keys() == wanted_grads.keys()
    for key, grad in grads.items():
        assert_close(grad, wanted_grads[key], rtol=1e-7, atol=1e-10, msg=key)
    assert (wanted["mask" if name == "mask_rcnn" else "stage2_box"] > 0) == (kind != "none")


@pytest.mark.parametrize("name", ["two", "handed_on"])
def test_two_processes_train_and_find_what_one_does(name, folder):
    if name == "handed_on":  # one process goes on, in mid-epoch
        ranks.train(folder / name, resume=True)
    two, one = (ranks.describe(folder / run) for run in (name, "one"))
    rows, wanted = (without_times(rows_of(run)) for run in (two, one))
    assert [row["step"] for row in rows] == [2, 4]
    for row, other in zip(rows, wanted, strict=True):
        assert row.keys() == other.keys()
        for key, value in row.items():
            assert value is other[key] or value == pytest.approx(other[key], rel=1e-6), key
    assert 0 < rows[1]["test_AP"] < 100
    assert two.summary()["by_class"] == pytest.approx(one.summary()["by_class"])
    states = [load_checkpoint(run.checkpoint)["objects"]["detector"] for run in (two, one)]
    assert_close(*states, rtol=1e-6, atol=1e-9)
    kept, other = (kept_by(run) for run in (two, one))
    assert kept["names"] == other["names"]
    assert all(torch.equal(kept["arrays"][key], other["arrays"][key]) for key in other["arrays"])


def test_two_processes_go_on_where_one_of_them_was_told_to_stop(folder):
    assert_same_runs(*(ranks.describe(folder / name) for name in ("two", "stopped")))

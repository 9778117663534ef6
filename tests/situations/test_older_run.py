"""An option that came to semaug after a run began: the run goes on with its default."""

import json

import pytest

from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from tests.tiny import train_quietly


@pytest.fixture
def older(train_tiny):
    """Return a run whose files do not know some options, and that has an epoch left to train."""
    run = train_tiny("digits_resnet8_isda", "epochs=1")
    (run.folder / "summary.json").unlink()
    path = run.folder / "recipe.json"
    about, state = json.loads(path.read_text()), load_checkpoint(run.checkpoint)
    for recipe in (about["recipe"], state["recipe"]):
        del recipe["clip_norm"], recipe["loss"]["covariance"], recipe["optimizer"]["nesterov"]
    path.write_text(json.dumps(about))
    save_checkpoint(run.checkpoint, state)
    return run


def test_it_is_resumed(older):
    assert train_quietly(older, resume=True)["finished"]


def test_another_value_than_the_default_is_another_recipe(older, make_run):
    clipped = make_run("digits_resnet8_isda", "epochs=1", "clip_norm=1")
    with pytest.raises(UserError, match=r"another recipe: clip_norm is None there and 1\.0 now;"):
        train_quietly(clipped, resume=True)

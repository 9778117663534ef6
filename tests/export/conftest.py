"""Small finished runs that are exported."""

import itertools

import pytest

from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from tests.tiny import tiny_run, train_quietly

CPU = TrainOptions(device="cpu", workers=0)


@pytest.fixture(scope="session")
def of_isda(tmp_path_factory):
    """Return the networks of a run with ISDA and averaged weights; nothing may change them."""
    root = tmp_path_factory.mktemp("exported")
    run = tiny_run(root, "digits_resnet8_isda", "epochs=1", "ema_decay=0.5")
    train_quietly(run)
    return load_trained(run.folder, CPU)


@pytest.fixture
def load_tiny(train_tiny):
    """Return a function that trains a tiny run and loads its networks."""
    roots = itertools.count()

    def load(*changes):
        run = train_tiny(*changes, "epochs=1", root=f"runs{next(roots)}")
        return load_trained(run.folder, CPU)

    return load

"""Runs small enough to train in a blink."""

import pytest

from semaug.engine.loop import train


@pytest.fixture
def train_tiny(make_run, quiet):
    """Return a function that trains such a run and returns it."""

    def run_to_end(*arguments, resume=False, **options):
        run = make_run(*arguments, **options)
        train(run, resume=resume, **quiet)
        return run

    return run_to_end

"""Tests of semaug.engine.display."""

import io

import pytest
from rich.console import Console

from semaug.engine import display
from semaug.engine.display import show_progress
from semaug.recipe.plan import Plan, StreamPlan
from semaug.runs.read import Measure


class FakeSession:
    """As much of a session as is shown."""

    plan = Plan(2, 4, 8, {"labeled": StreamPlan(100, 32)})
    epoch, step, total_step = 1, 2, 6

    def __init__(self, *measure):
        self.measures = [Measure(*measure)]

    def means(self):
        return {"loss": 0.5, self.measures[0].name: 25.0}

    def images_per_second(self):
        return 1234.0


ERROR = FakeSession("error", "%", "lower")
MIOU = FakeSession("miou", "%", "higher")
FID = FakeSession("fid", "", "lower")


def row(epoch, **values):
    return {"epoch": epoch, "images_per_second": 1000.0, **values}


def shown(session, *rows, terminal=False):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=200)
    with show_progress(console, session) as found:
        if terminal:
            found.show_step(session)
        for one in rows:
            found.show_epoch(one)
        if terminal:
            found.show_test()
            found.show_step(session)
    return output.getvalue()


@pytest.mark.parametrize(("losses", "count"), [((2.0, 19.0, 25.0, 90.0), 1), ((2.0, 19.0), 0)])
def test_warns_once_of_a_loss_that_rises(make_run, losses, count):
    session = FakeSession("error", "%", "lower")
    session.run = make_run("digits_resnet8_isda")
    rows = [row(epoch, train_loss=loss) for epoch, loss in enumerate(losses)]
    output = " ".join(shown(session, *rows).split())
    warning = "warning: the training loss rose from 2 to 25, as where it diverges: try a lower"
    assert output.count(warning) == output.count("warning") == count
    assert output.count("strength or lr, or clip_norm=1") == count


def test_only_a_bar_reads_values_between_epochs():
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal)
        with show_progress(console, ERROR) as found:
            assert found.wants_step() is terminal


@pytest.mark.parametrize(
    ("session", "line"),
    [
        (ERROR, "  epoch 2/2 loss 0.250 error 12.5 % test 7.00 % 1,000 images/s\n"),
        (MIOU, "  epoch 2/2 loss 0.250 miou 12.5 % test 7.00 % 1,000 images/s\n"),
        (FID, "  epoch 2/2 loss 0.250 fid 12.5 test 7.00 1,000 images/s\n"),
    ],
)
def test_the_last_epoch_is_a_line(session, line):
    name = session.measures[0].name
    values = {"train_loss": 0.25, f"train_{name}": 12.5, f"test_{name}": 7.0}
    assert shown(session, row(1), row(2, **values)) == line


def test_a_test_has_its_name_where_training_images_have_another():
    line = "  epoch 2/2 loss 0.250 test miou 7.00 % 1,000 images/s\n"
    assert shown(MIOU, row(1), row(2, train_loss=0.25, test_miou=7.0)) == line


def test_what_is_not_known_is_not_said():
    assert shown(ERROR, row(2, train_loss=None, test_error=None)) == "  epoch 2/2 1,000 images/s\n"


def test_the_last_test_is_kept_until_the_next(monkeypatch):
    monkeypatch.setattr(display, "_SECONDS_BETWEEN_LINES", -1)
    first, second = row(1, train_error=25.0, test_error=9.0), row(2, test_error=None)
    lines = shown(ERROR, first, second).splitlines()
    assert ["test 9.00 %" in line for line in lines] == [True, True]


def test_a_bar_shows_steps_and_no_lines():
    values = {"train_loss": 1.0, "train_error": 25.0, "test_error": 8.0}
    output = shown(ERROR, row(2, **values), terminal=True)
    assert "epoch 2/2 loss 0.500 error 25.0 % test 8.00 % 1,234 images/s" in output
    assert "1,000 images/s" not in output

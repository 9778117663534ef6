"""A second Ctrl-C ends at once: it is said, with what is kept."""

import pytest

from tests.cli.conftest import semaug  # noqa: F401


@pytest.mark.parametrize("arguments", [["train", "digits_resnet8"], ["list", "data"]])
def test_the_end_has_a_word(semaug, monkeypatch, arguments):  # noqa: F811
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("semaug.cli.train.make_run", stop)
    monkeypatch.setattr("semaug.cli.list.print_names", stop)
    status, _, error = semaug(*arguments)
    assert status == 130
    assert error.startswith("ended at once; a run keeps what it saved last\n")
    assert ("continue with: semaug train digits_resnet8 --resume" in error) == (
        arguments[0] == "train"
    )

"""The command line of the tests of commands."""

from tests.cli.conftest import semaug  # noqa: F401

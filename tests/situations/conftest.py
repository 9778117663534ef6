"""Fixtures of other rooms that situations share."""

from tests.cli.conftest import semaug
from tests.report.conftest import write_run

__all__ = ["semaug", "write_run"]

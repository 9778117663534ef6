"""Fixtures of other rooms that situations share."""

from tests.report.conftest import write_run

__all__ = ["write_run"]

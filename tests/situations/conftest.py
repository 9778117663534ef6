"""Fixtures of other rooms that situations share."""

from tests.cli.conftest import semaug

__all__ = ["semaug"]

"""Slow literal versions of the equations, for the tests to compare with."""

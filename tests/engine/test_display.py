"""Tests of semaug.engine.display."""

import io

from rich.console import Console

from semaug.engine.display import show_progress
from semaug.recipes import find_recipe


def test_only_a_bar_reads_values_between_epochs():
    recipe = find_recipe("digits_resnet8")
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal)
        with show_progress(console, recipe) as display:
            assert display.wants_step() is terminal

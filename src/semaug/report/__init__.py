"""Results of training runs for people: one page that needs nothing else, and comparisons.

:func:`collect` reads run folders into frozen data, :func:`render` makes the page of it, and
:func:`export_plots` writes its pictures as files. :mod:`semaug.report.compare` sets two recipes
against each other.
"""

from semaug.report.collect import collect
from semaug.report.data import Group, Pair, RecipeRuns, Report, RunData
from semaug.report.plots import export_plots
from semaug.report.render import render

__all__ = [
    "Group",
    "Pair",
    "RecipeRuns",
    "Report",
    "RunData",
    "collect",
    "export_plots",
    "render",
]

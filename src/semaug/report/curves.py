"""Learning curves of a comparison as a picture, drawn as in reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semaug.report.data import Group, RecipeRuns, RunData

__all__ = ["draw_curves"]


def draw_curves(path: Path, arms: Mapping[str, Sequence[Sequence[dict[str, Any]]]]) -> None:
    """Draw test and training error against epochs: mean and range over the runs of each arm.

    Args:
        path: Of the PNG file.
        arms: For each label the rows of ``metrics.jsonl`` of its runs.

    Raises:
        OSError: If the disk does not take it.
    """
    from semaug.report.plots import Plot, write_plot  # imports matplotlib, which is slow

    recipes = tuple(
        RecipeRuns(label, tuple(_as_data(path.parent, label, rows) for rows in runs))
        for label, runs in arms.items()
    )
    count = len(recipes[0].runs)
    over = "single runs" if count == 1 else f"mean of {count} runs, band from lowest to highest"
    group = Group(over, "test error", recipes)
    write_plot(
        Plot("curves", "test and training error", group, ("test_error", "train_error")), path
    )


def _as_data(folder: Path, label: str, rows: Sequence[dict[str, Any]]) -> RunData:
    numbers = ({name: value for name, value in row.items() if value is not None} for row in rows)
    return RunData(folder, label, rows=tuple(numbers))

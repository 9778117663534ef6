"""Learning curves as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from semaug.training.files import write_atomically

__all__ = ["draw_curves"]

_COLORS = ("#555555", "#d1495b", "#2e86ab", "#66a182")  # told apart without color vision too


def draw_curves(path: Path, arms: Mapping[str, Sequence[Sequence[dict[str, Any]]]]) -> None:
    """Draw test and training error against epochs: mean and range over the runs of each arm.

    Args:
        path: Of the PNG file.
        arms: For each label the rows of ``metrics.jsonl`` of its runs, as long as each other.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for color, (name, runs) in zip(_COLORS, arms.items(), strict=False):
        epochs, errors = _columns(runs, "test_error")
        axes.plot(epochs, _mean(errors), color=color, label=f"{name}, test")
        lowest, highest = zip(*((min(values), max(values)) for values in errors), strict=True)
        axes.fill_between(epochs, lowest, highest, color=color, alpha=0.2, linewidth=0)
        epochs, errors = _columns(runs, "train_error")
        axes.plot(epochs, _mean(errors), color=color, linestyle=":", label=f"{name}, training")
    axes.set_xlabel("epoch")
    axes.set_ylabel("error in percent")
    axes.set_yscale("log")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain)
    axes.tick_params(axis="y", which="minor", labelsize="x-small")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"mean of {len(next(iter(arms.values())))} runs; band: lowest to highest")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))


def _columns(
    runs: Sequence[Sequence[dict[str, Any]]], column: str
) -> tuple[list[int], list[tuple[float, ...]]]:
    """Return the epochs where the column has a value, and there the values of all runs."""
    chosen = [[row for row in rows if row[column] is not None] for rows in runs]
    epochs = [row["epoch"] for row in chosen[0]]
    return epochs, list(zip(*([row[column] for row in rows] for rows in chosen), strict=True))


def _mean(values: Sequence[Sequence[float]]) -> list[float]:
    return [sum(row) / len(row) for row in values]

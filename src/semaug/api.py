"""Train and load from Python: the same as on the command line, with objects."""

from pathlib import Path
from typing import Any, overload

from rich.console import Console

from semaug.engine.exported import Exported, is_exported, load_exported
from semaug.engine.options import TrainOptions
from semaug.engine.train import train as train_run
from semaug.engine.trained import Trained, load_trained
from semaug.recipes import make_run
from semaug.runs.finished import load_finished_run
from semaug.runs.run import Run

__all__ = ["load", "train"]


def train(
    recipe: Any,
    *,
    name: str = "recipe",
    seed: int | None = None,
    runs: str | Path = "runs",
    quick: bool = False,
    resume: bool = False,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train a recipe with one seed, and return the finished run.

    Args:
        recipe: A :class:`semaug.recipe.Recipe`, or the name of one, such as
            ``"digits_resnet8,loss=isda,strength=0.5"`` or ``"my_recipe.py:recipe"``, or the path of
            the ``recipe.json`` of a run.
        name: Of the folder of the run, for a recipe that is no name.
        seed: Decides initial weights, order of images and their augmentation. None is that of a
            ``recipe.json``, and else 0.
        runs: Folder that keeps all runs.
        quick: Whether it is a smoke test: two epochs on a few images.
        resume: Go on where the run stopped; a finished run is returned as it is.
        progress: Whether progress is shown.
        **options: Of :class:`semaug.engine.options.TrainOptions`, such as ``device="cpu"``.

    Returns:
        The run; ``run.summary()`` holds its results, :func:`load` its networks.

    Raises:
        FileNotFoundError: If the data is missing.
        FloatingPointError: If the run diverges.
        UserError: If something does not exist or does not fit, or the folder holds another run.
    """
    chosen = TrainOptions(**options)
    folder, trust = Path(runs).expanduser(), chosen.trust_code
    run = make_run(recipe, {}, seed, quick, folder, name=name, trust_code=trust)
    train_run(run, chosen, resume=resume, console=Console(quiet=not progress))
    return run


@overload
def load(run: Run, **options: Any) -> Any: ...


@overload
def load(run: str | Path, **options: Any) -> Trained | Exported: ...


def load(run: Run | str | Path, **options: Any) -> Trained | Exported:
    """Load the networks of a finished run, or one that was exported, to predict with them.

    Of the run of a generator it is a :class:`semaug.generation.generator.Generator`.

    ``load(run).predict(["photo.jpg"]).top(5)`` classifies photographs, see
    :meth:`semaug.engine.predict.Networks.predict`. The folder is enough. The images that a run was
    trained and tested on are read once they are asked for: by ``data``, ``test`` and
    ``test_pixels``.

    Args:
        run: The run, its folder, or that of an export.
        **options: Of :class:`semaug.engine.options.TrainOptions`, such as ``device="cpu"``.

    Raises:
        UserError: If the run is not finished, something in its folder is damaged, or code of it was
            changed since; if an export cannot predict by itself.
    """
    folder = run.folder if isinstance(run, Run) else Path(run).expanduser()
    chosen = TrainOptions(**options)
    if is_exported(folder):
        return load_exported(folder, chosen)
    recipe = load_finished_run(folder, trust_code=chosen.trust_code)[0].recipe
    return recipe.load(folder, chosen) if hasattr(recipe, "load") else load_trained(folder, chosen)

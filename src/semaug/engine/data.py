"""The images of a run: read, chosen as its recipe says, and put on a device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from semaug.data import DataSet, FileSet, ImageSet, LoadError, Selection, describe_classes
from semaug.data.near_duplicates import find_near_duplicates
from semaug.data.registry import data_root
from semaug.engine.options import TrainOptions
from semaug.errors import UserError, as_recipe_error, as_user_error
from semaug.runs.run import Run


def load_data(
    run: Run,
    options: TrainOptions,
    device: torch.device,
    tell: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[DataSet, Selection]:
    """Read the images of a run, choose among them and put them on a device.

    Args:
        run: The run.
        options: Of training, which name the data root.
        device: Where labels lie, and images that are kept in memory.
        tell: Called with what a person should know of the images, line by line.
        progress: Called with the number of images hashed to find near duplicates, and of all.

    Raises:
        FileNotFoundError: If there are no files; the message says how to fetch them.
        UserError: If the data set is damaged, or has fewer images than asked for.
    """
    recipe = run.recipe
    with as_user_error("", ValueError, LoadError):
        data = recipe.data.load(data_root(options.data_root), options.workers)
    parts = [getattr(data, name, None) for name in ("train", "test")]
    if not all(isinstance(part, ImageSet | FileSet) for part in parts):
        raise UserError(
            "recipe: expected `data` to load a DataSet of two ImageSets, train and test, got "
            f"{type(data).__name__} of {' and '.join(type(part).__name__ for part in parts)}"
        )
    for note in data.notes:
        tell(note)
    keeps_duplicates = getattr(recipe.subset, "keeps_duplicates", False) and not run.quick
    if keeps_duplicates and isinstance(data.train, FileSet):
        find_near_duplicates([data.train], progress=progress)  # which are known from here on
    told = len(data.notes)
    with as_recipe_error():
        data, selection = recipe.subset.select(data, quick=run.quick, seed=run.seed)
    for note in data.notes[told:]:
        tell(note)
    method: Any = getattr(recipe, "method", None)
    if hasattr(method, "other_images"):
        data = replace(data, others=method.other_images(run, data, selection, tell))
    if getattr(recipe.data, "is_users_own", False):
        tell(f"{len(data.train):,} images to train on, of {describe_classes(data.train)}")
    return data.to(device), selection

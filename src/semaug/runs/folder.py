"""Files that describe a run: ``recipe.json``, ``environment.json``, ``summary.json``."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from semaug.errors import UserError, as_user_error
from semaug.outside import check_code, is_outside, keep_code, load_recorded
from semaug.recipe.plain import (
    completed,
    flat_options,
    outside_names,
    recipe_from_plain_data,
    typed_names,
)
from semaug.runs.environment import describe_device, describe_software
from semaug.runs.files import FORMAT, check_format, read_json, write_bytes, write_json
from semaug.runs.read import Measure, check_fields, describe_measures
from semaug.runs.run import Run


def check_same_recipe(run: Run, found: Mapping[str, Any]) -> None:
    """Compare the run with the recipe, seed and code that a file in its folder holds.

    Args:
        run: What is to be trained.
        found: With ``recipe``, ``seed`` and ``code``.

    Raises:
        UserError: If they differ; the message lists the fields.
    """
    now = run.plain()
    asked, found_options = (
        flat_options({**completed(plain["recipe"]), "seed": plain["seed"]})
        for plain in (now, found)
    )
    differences = [
        f"{short} is {found_options.get(name)!r} there and {asked.get(name)!r} now"
        for name, short in typed_names(sorted({*asked, *found_options})).items()
        if asked.get(name) != found_options.get(name)
    ]
    if differences:
        raise UserError(
            f"{run.folder}: holds a run of another recipe: {'; '.join(differences)}; "
            "choose another folder with --runs, or undo the difference"
        )
    check_code(run.folder, found.get("code", {}), now["code"])


def read_recipe(path: Path, *, trust_code: bool = False) -> Run:
    """Return the run that a ``recipe.json`` describes, to train it again among other runs.

    Args:
        path: Of the file.
        trust_code: Whether copies of code from outside, beside the file, may be executed.

    Raises:
        UserError: If the file is missing, damaged, of another format or no recipe of a run, or code
            of it was changed since.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected the recipe.json of a run, got no such file")
    with as_user_error(f"{path}: ", OSError):
        found = read_json(path, "restore a copy of it")
    with as_user_error(
        f"{path}: expected the recipe.json of a run, got other JSON: ",
        *(AttributeError, LookupError, TypeError, ValueError),
    ):
        check_fields(found, ("name", "overrides", "quick", "recipe", "code", "seed"))
        check_format(path, found)
        name, plain = found["name"], found["recipe"]
        names = [*filter(is_outside, [name]), *outside_names(plain)]
        load_recorded(path.parent, found["code"], names, trusted=trust_code)
        recipe = recipe_from_plain_data(plain)
    return Run(name, recipe, found["seed"], found["overrides"], found["quick"])


def write_start(
    run: Run, device: torch.device, measures: Sequence[Measure]
) -> list[dict[str, Any]]:
    """Write what is trained, and add where and with which software to the list of starts.

    Args:
        run: The run.
        device: Where it is trained.
        measures: Its metrics, the main one first.

    Returns:
        The starts that made the run what it is, this one last.

    Raises:
        OSError: If the disk does not take them.
        UserError: If the name of the folder is no UTF-8.
    """
    try:
        str(run.folder).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{run.folder}: TensorBoard writes into folders whose names are UTF-8; choose another "
            "folder with --runs"
        ) from error
    plain = run.plain()
    about = {"name": run.name, "overrides": dict(run.overrides), "quick": run.quick}
    about |= {**describe_measures(measures), **plain}
    write_json(run.folder / "recipe.json", {"format": FORMAT, **about})
    keep_code(run.folder, plain["code"], write_bytes)
    path = run.folder / "environment.json"
    former = read_json(path, "delete it; it lists former starts alone") if path.exists() else []
    start = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "resumes": run.checkpoint.exists(),
        **describe_software(),
    }
    starts = [*(one for one in former if isinstance(one, dict)), start]
    write_json(path, starts)
    # Nothing is left of starts that were killed before they saved.
    anew = [place for place, one in enumerate(starts) if one.get("resumes") is False]
    return starts[anew[-1] if anew else 0 :]


def write_summary(
    run: Run, results: Mapping[str, Any], starts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the summary of a finished run, and write it if this process has started it.

    Args:
        run: The run.
        results: Of its session.
        starts: What :func:`write_start` returned; there are none in other processes than the first.
    """
    software = describe_software()
    devices = [start["device"] for start in starts if isinstance(start.get("device"), str)]
    summary = {
        "format": FORMAT,
        "name": run.name,
        "overrides": dict(run.overrides),
        "quick": run.quick,
        **results,
        "device": "; ".join(dict.fromkeys(devices)),
        "threads": torch.get_num_threads(),
        "commit": software.pop("commit"),
        "versions": software,
        **run.plain(),
        "finished": True,
    }
    if starts:
        write_json(run.folder / "summary.json", summary)
    return summary

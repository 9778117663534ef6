"""What the folder of a run tells of it: ``recipe.json``, ``environment.json``, ``summary.json``."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from semaug.engine.device import describe_device, describe_software, settle
from semaug.engine.torchrun import is_first_process
from semaug.errors import UserError
from semaug.runs.files import read_json, write_json
from semaug.runs.record import summarize
from semaug.runs.run import Run, all_options
from semaug.runs.words import say
from semaug.runs.work import count_work

if TYPE_CHECKING:
    from semaug.engine.session import Session

__all__ = [
    "check_same_recipe",
    "settled",
    "warn_of_another_device",
    "write_start",
    "write_summary",
]


def settled(run: Run, device: torch.device) -> Run:
    """Replace what is ``"auto"`` in the recipe by what the run began with, or begins with now.

    Raises:
        UserError: If the folder holds a run of another recipe, or is damaged.
    """
    path = run.folder / "recipe.json"
    if not path.exists():
        return replace(run, recipe=settle(run.recipe, device))
    written = read_json(path, "delete it, and --resume writes it anew")
    chosen = {
        name: written["recipe"][name]
        for name in ("precision", "channels_last")
        if getattr(run.recipe, name) == "auto"
    }
    run = replace(run, recipe=replace(run.recipe, **chosen))
    check_same_recipe(run, {**written["recipe"], "seed": written["seed"]})
    return run


def check_same_recipe(run: Run, found: dict[str, Any]) -> None:
    """Compare the run with the recipe and seed that its folder holds.

    A folder of an early version lacks fields that came later. Their defaults are what was done
    before there was a choice.

    Raises:
        UserError: If they differ; the message lists the fields.
    """
    asked = all_options({**run.recipe.as_plain_data(), "seed": run.seed})
    found = all_options(found)
    differences = [
        f"{name} is {found.get(name)!r} there and {asked.get(name)!r} now"
        for name in sorted({*asked, *found})
        if asked.get(name) != found.get(name)
    ]
    if differences:
        raise UserError(
            f"{run.folder}: holds a run of another recipe: {'; '.join(differences)}; "
            "choose another folder with --runs, or undo the difference"
        )


def write_start(run: Run, device: torch.device) -> list[dict[str, Any]]:
    """Write what is trained, and add where and with which software to the list of starts.

    Returns:
        The starts that made the run what it is, this one last.
    """
    plain = run.recipe.as_plain_data()
    recipe = {"name": run.name, "overrides": dict(run.overrides), "seed": run.seed, "recipe": plain}
    write_json(run.folder / "recipe.json", recipe)
    path = run.folder / "environment.json"
    starts = read_json(path, "delete it; it lists former starts alone") if path.exists() else []
    starts = [start for start in starts if isinstance(start, dict)]
    start = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "resumes": run.checkpoint.exists(),
        **describe_software(),
    }
    starts.append(start)
    write_json(path, starts)
    # Nothing is left of starts that were killed before they saved; early versions do not tell.
    anew = [place for place, one in enumerate(starts) if one.get("resumes") is False]
    return starts[anew[-1] if anew else 0 :]


def warn_of_another_device(console: Console, starts: Sequence[dict[str, Any]]) -> None:
    """Say that a run goes on elsewhere: it will not end bit for bit where it would have ended."""
    devices = [start.get("device") for start in starts[-2:]]
    if devices[0] != devices[-1]:
        say(
            console,
            f"warning: this run began on {devices[0]} and goes on with {devices[-1]}; rounding "
            "will make it end otherwise than without a stop",
            style="yellow",
        )


def write_summary(run: Run, session: "Session", starts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write what a run came to, in one process of several, and return it.

    Args:
        run: The run.
        session: After its last epoch.
        starts: What :func:`write_start` returned; there are none in other processes.
    """
    software = describe_software()
    devices = [start["device"] for start in starts if isinstance(start.get("device"), str)]
    summary = {
        "name": run.name,
        "overrides": dict(run.overrides),
        "quick": run.quick,
        "seed": run.seed,
        **summarize(session.rows),
        **asdict(count_work(run.recipe, session.num_images)),
        "error_per_class": session.error_per_class(),
        "test_on": "hold_out" if run.recipe.subset.hold_out else "test",
        "seconds": round(session.seconds, 1),
        "peak_memory_mib": session.peak_memory,
        "device": "; ".join(dict.fromkeys(devices or [describe_device(session.device)])),
        "commit": software.pop("commit"),
        "versions": software,
        "recipe": run.recipe.as_plain_data(),
        "finished": True,
    }
    if is_first_process():
        write_json(run.folder / "summary.json", summary)
    return summary

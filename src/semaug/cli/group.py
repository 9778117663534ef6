"""The group of commands: each is imported when it is called or asked for its help."""

import gc
import inspect
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from semaug.engine.interrupt import InterruptedRunError

# Every command NAME is `NAME_command` in `semaug.cli.NAME`, and this begins its help.
COMMANDS = {
    "train": "Train one recipe with one seed.",
    "compare": "Train two recipes on the same seeds and compare them pair by pair.",
    "check": "Train four steps of a recipe, kill, resume, and compare every tensor.",
    "list": "List the names that other commands take.",
    "table": "Print a table of the papers, published next to measured.",
    "search": "Choose values on held-out training images, then train on all images and test once.",
    "report": "Write a page about runs, finished or not: curves, results, differences, recipes.",
    "evaluate": "Test the networks of finished runs again, and compare with the recorded results.",
    "predict": "Classify photographs, label their pixels or find objects in them.",
    "generate": "Write images of a generator.",
    "quality": "Compare the images of a generator with test images.",
    "export": "Write the network of a run for other programs, with a model card.",
    "transfer": "Test trained networks on test images as they are, cropped, grey, and in other "
    "colors.",
    "directions": "Show what directions in feature space mean, by the images of a class furthest "
    "along them.",
    "features": "Lay out the test features of several runs by t-SNE, and measure how far classes "
    "lie apart.",
    "tightness": "Measure over the training how far the bound of ISDA lies above the loss that it "
    "bounds.",
    "visualize": "Show augmented features as images, by reverse mapping or by a decoder.",
    "flops": "Count what one image costs in a network, and what ISDA adds.",
    "show": "Draw the training images of a recipe as its epochs augment them.",
    "data": "List, fetch and check data sets.",
}
SECTIONS = {  # of the list of commands
    "Train and compare": ("train", "compare", "search", "table", "check"),
    "Use finished runs": ("report", "evaluate", "predict", "export", "transfer"),
    "Look inside networks": ("directions", "features", "tightness", "visualize"),
    "Generators": ("generate", "quality"),
    "Look up": ("list", "data", "show", "flops"),
}


_NARROW = 70  # columns; in fewer, tables of help would cut names


class _Helpful:
    """Help that cuts no name, however narrow the terminal: there without tables."""

    def format_help(self, context: Any, formatter: Any) -> None:
        """Print the help."""
        command: Any = self
        if (console := Console(highlight=False)).width >= _NARROW:
            super().format_help(context, formatter)  # type: ignore[misc]
            return
        console.print(Text(command.get_usage(context)))
        console.print()
        console.print(command.help or "")
        records = [
            (part.name, part.get_short_help_str(limit=10_000))
            for part in getattr(command, "commands", {}).values()
        ]
        records += [one.get_help_record(context) for one in command.get_params(context)]
        for name, text in filter(None, records):
            console.print()
            console.print(Text(name, style="bold"))
            console.print(Padding(Text(text), (0, 0, 0, 4)))


class Command(_Helpful, TyperCommand):
    """A command that expands ``~`` in all its paths, which not every shell has done.

    Its help breaks lines where the terminal ends, not where its docstring does.
    """

    def __init__(self, *arguments: Any, help: str | None = None, **settings: Any) -> None:
        paragraphs = inspect.cleandoc(help or "").split("\n\n")
        help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().__init__(*arguments, help=help, **settings)

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Parse; whoever takes a field of the recipe for an option is told how to write it."""
        try:
            return super().parse_args(context, arguments)
        except Exception as error:  # click comes with typer, or on its own
            if hasattr(error, "option_name") and any(x.name == "overrides" for x in self.params):
                error.message += "; fields of the recipe have no dashes, such as epochs=20"  # type: ignore[attr-defined]
            raise

    def invoke(self, context: Any) -> Any:
        """Call the command."""
        context.params = {name: _expanded(value) for name, value in context.params.items()}
        return super().invoke(context)


def _expanded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [*map(_expanded, value)]
    with suppress(RuntimeError):  # the name of no user
        return value.expanduser() if isinstance(value, Path) else value
    return value


class Subgroup(_Helpful, TyperGroup):
    """Commands of a command."""


class Group(_Helpful, TyperGroup):
    """Commands that stand for those in modules of their own, which may take seconds to import."""

    def invoke(self, context: Any) -> Any:
        """Call a command, and say so if it is ended at once, such as by a second Ctrl-C."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "ended at once; a run keeps what it saved last", signal.SIGINT
            ) from None

    def resolve_command(self, context: Any, arguments: list[str]) -> tuple[Any, Any, list[str]]:
        """Replace the command that is called by the one that it stands for."""
        name, command, rest = super().resolve_command(context, arguments)
        if command is None:
            return name, command, rest
        if context.resilient_parsing:  # words are completed, for which importing takes too long
            from semaug.cli.completion import completing

            return name, completing(str(name)), rest
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import a command."""
    with _quick_imports():
        module = import_module(f"semaug.cli.{name}")
    command = getattr(module, f"{name}_command")
    if not isinstance(command, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode="rich")
        app.command(name, cls=Command)(command)
        command = app
    return typer.main.get_command(command)


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import with less work, and the same result.

    What is imported stays, so looking for garbage among it is in vain; that takes a fifth of the
    time. And Fabric would import torchmetrics, with transformers and plotting, to read its version.
    """
    hidden, collects = "torchmetrics" not in sys.modules, gc.isenabled()
    if hidden:
        sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # as if not installed
    gc.disable()
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torchmetrics"]
        if collects:
            gc.freeze()
            gc.enable()

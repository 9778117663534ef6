"""The command line: parse, look up the recipe, apply overrides, run.

Torch is imported when something is trained, so that help and mistakes answer at once.
"""

import shlex
import sys
from importlib.metadata import version
from typing import Annotated

from semaug.engine.interrupt import InterruptedRunError
from semaug.errors import UserError

try:
    import typer
    from rich.console import Console

    from semaug.cli.compare import compare
    from semaug.cli.data import data_app
    from semaug.cli.evaluate import evaluate
    from semaug.cli.flops import flops
    from semaug.cli.list import list_names
    from semaug.cli.printing import say
    from semaug.cli.report import report
    from semaug.cli.search import search
    from semaug.cli.show import show
    from semaug.cli.table import table
    from semaug.cli.train import train
    from semaug.cli.transfer import transfer
except ModuleNotFoundError as error:
    raise SystemExit(f'semaug: {error}; install it with: pip install "semaug[train]"') from None

__all__ = ["app", "main"]

app = typer.Typer(
    name="semaug",
    help="Train image classifiers with losses that augment features or ask one prediction for all "
    "views, and compare them fairly.",
    epilog="Begin with: semaug compare digits_resnet8 digits_resnet8_isda --seeds 3",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Distributions of the extra `train`, as they are imported.
_EXTRA = {
    "jinja2",
    "lightning_fabric",
    "matplotlib",
    "optuna",
    "scipy",
    "sklearn",
    "tensorboard",
    "timm",
    "torchvision",
}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"semaug {version('semaug')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command()(train)
app.command()(compare)
app.command("list")(list_names)
app.command()(table)
app.command()(search)
app.command()(report)
app.command()(evaluate)
app.command()(transfer)
app.command()(flops)
app.command()(show)
app.add_typer(data_app)


def main() -> None:
    """Run the command line; mistakes of its user, and stops, end in one line."""
    errors = Console(stderr=True)
    try:
        app()
    except InterruptedRunError as stop:
        arguments = [*sys.argv[1:]]
        if arguments[0] == "train" and "--resume" not in arguments:
            arguments.append("--resume")
        say(errors, str(stop), style="yellow")
        say(errors, f"go on with: {shlex.join(['semaug', *arguments])}")
        sys.exit(128 + stop.signal_number)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        message = f'{error}; install what training needs with: pip install "semaug[train]"'
    except (FloatingPointError, OSError, UserError) as error:  # all others are our mistakes
        message = str(error)
    else:
        return
    say(errors, message, style="red")
    sys.exit(2)

"""The command line: parse, look up the recipe, apply overrides, run."""

import shlex
import sys
from typing import Annotated

from semaug import __version__
from semaug.engine.allocator import keep_freed_memory
from semaug.engine.interrupt import InterruptedRunError
from semaug.errors import UserError, how_to_install

try:
    import typer
    from rich.console import Console

    from semaug.cli.group import COMMANDS, SECTIONS, Group
    from semaug.runs.words import say
except ModuleNotFoundError as error:
    raise SystemExit(f"semaug: {error}; install it with: {how_to_install('train')}") from None

_OF_REPORTS = ("jinja2", "markupsafe", "matplotlib")  # modules

app = typer.Typer(
    name="semaug",
    cls=Group,
    help="Train image models with losses that augment features (ISDA) or make augmented views of "
    "an image agree (AIT), and compare them over paired seeds.",
    epilog="Begin with: semaug compare digits_resnet8 digits_resnet8_isda --seeds 3\n\n"
    "Your own photographs: semaug compare folder_finetune folder_finetune_isda --data-root photos",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _section, _names in SECTIONS.items():
    for _name in _names:
        app.command(_name, help=COMMANDS[_name], rich_help_panel=_section)(lambda: None)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"semaug {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; mistakes of its user, and stops, end in one line."""
    errors = Console(stderr=True)
    keep_freed_memory()
    try:
        app(prog_name="semaug")
    except InterruptedRunError as stop:
        arguments = [*sys.argv[1:]]
        if arguments[0] == "train" and "--resume" not in arguments:
            arguments.append("--resume")
        say(errors, str(stop), style="yellow")
        say(errors, f"continue with: {shlex.join(['semaug', *arguments])}")
        sys.exit(128 + stop.signal_number)
    except ModuleNotFoundError as error:
        if (missing := (error.name or "semaug").partition(".")[0]) == "semaug":
            raise
        hint = how_to_install("report" if missing in _OF_REPORTS else "train")
        known = hint in str(error)
        message = str(error) if known else f"{error}; install what this command needs with: {hint}"
    except (FloatingPointError, OSError, UserError) as error:  # all others are our mistakes
        message = str(error)
    else:
        return
    say(errors, message, style="red")
    sys.exit(2)

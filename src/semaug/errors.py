"""Errors whose message is for the person who ran a command. No torch here."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "UserError",
    "about",
    "as_recipe_error",
    "as_user_error",
    "check_option",
    "how_to_install",
]


class UserError(ValueError):
    """Something that the person who ran a command can change; the message is one line.

    The command line prints it. Any other ``ValueError`` is a mistake of ours and shows its
    traceback.
    """


@contextmanager
def as_user_error(context: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of code that was given what the person chose into :class:`UserError`.

    Args:
        context: Begins the message; the first line of the error follows.
        *kinds: What to turn. A :class:`UserError` stays as it is.

    >>> with as_user_error("epochs: ", ValueError):
    ...     int("x")
    Traceback (most recent call last):
    semaug.errors.UserError: epochs: invalid literal for int() with base 10: 'x'
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{context}{reason}") from error


@contextmanager
def about(what: str) -> Iterator[None]:
    """Say which recipe, or which command, an error is about; inner code says only ``recipe``.

    >>> with about("recipe digits_resnet8"):
    ...     check_option("epochs", 0, False, ">= 1")
    Traceback (most recent call last):
    semaug.errors.UserError: recipe digits_resnet8: expected `epochs` >= 1, got 0
    """
    try:
        yield
    except UserError as error:
        if not str(error).startswith("recipe: "):
            raise
        raise UserError(what + str(error).removeprefix("recipe")) from error


@contextmanager
def as_recipe_error() -> Iterator[None]:
    """Turn errors of functions that a recipe calls into errors of the recipe, without their names.

    >>> with as_recipe_error():
    ...     raise ValueError("ClassCovariance: expected `rank` >= 1, got 0")
    Traceback (most recent call last):
    semaug.errors.UserError: recipe: expected `rank` >= 1, got 0
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(re.sub(r"^(\w+: )?", "recipe: ", str(error), count=1)) from error


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra. It needs a checkout: semaug is on no index."""
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").exists():
        return f"pip install {shlex.quote(f'{root}[{extra}]')}"
    return f'pip install ".[{extra}]" in a checkout of semaug'


def check_option(name: str, value: object, holds: bool, wanted: str) -> None:
    """Check an option of a recipe.

    Raises:
        UserError: If it does not hold.

    >>> check_option("epochs", 0, False, ">= 1")
    Traceback (most recent call last):
    semaug.errors.UserError: recipe: expected `epochs` >= 1, got 0
    """
    if not holds:
        raise UserError(f"recipe: expected `{name}` {wanted}, got {value}")

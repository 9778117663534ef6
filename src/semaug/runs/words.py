"""What is printed for people, line by line."""

from functools import lru_cache
from typing import Any

from rich.console import Console


def say(console: Console, line: str, style: str = "") -> None:
    """Print a line as it is, however long; names of files that are no UTF-8 with escapes."""
    line = line.encode("utf-8", "backslashreplace").decode()
    console.print(line, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


@lru_cache
def say_once(console: Console, line: str) -> None:
    """Print a line unless it was printed before: many runs of a process see the same images."""
    say(console, line)


def counted(number: int, thing: str) -> str:
    """Name a number of things.

    >>> counted(1, "image"), counted(2000, "image")
    ('1 image', '2,000 images')
    """
    return f"{number:,} {thing}{'s' * (number != 1)}"


def printable(value: Any) -> Any:
    r"""Replace what no page and no terminal can show, such as half of a surrogate pair.

    Args:
        value: Text, or plain data that holds it.

    >>> printable({"a\x07": "b"})["a\ufffd"]
    'b'
    """
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in value)
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    return [*map(printable, value)] if isinstance(value, list | tuple) else value


def in_words(seconds: float) -> str:
    """Say how long something took.

    >>> in_words(7.25), in_words(600), in_words(10000)
    ('7.2 s', '10 min', '2.8 h')
    """
    if seconds < 120:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

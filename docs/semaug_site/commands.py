"""The page of all options: what ``--help`` of each command prints."""

import re
from collections.abc import Iterator
from typing import Any

from semaug.cli.group import COMMANDS, load_command
from semaug_site.markdown import table

_INTRO = """# Options of each command

What `semaug COMMAND --help` prints. [Commands](docs/commands.md) says what each is for.
"""


def commands_page() -> str:
    """Return the page."""
    parts = (part for name in COMMANDS for part in _describe(name, load_command(name), "##"))
    return (_INTRO + "".join(parts)).replace("```\n\n```sh\n", "")


def _describe(name: str, command: Any, marks: str) -> Iterator[str]:
    context = command.make_context(f"semaug {name}", [], resilient_parsing=True)
    usage = re.sub(r"[{}]", "", command.get_usage(context)).removeprefix("Usage: ")
    yield f"\n{marks} semaug {name}\n\n```text\n{' '.join(usage.split())}\n```\n\n"
    for paragraph in (command.help or "").split("\n\n"):
        text = re.sub(r"\[/?bold\]", "**", " ".join(paragraph.split()))
        is_command = text.startswith("semaug ")
        yield f"```sh\n{text}\n```\n\n" if is_command else f"{_options_as_code(text)}\n\n"
    told = [one.get_help_record(context) for one in command.params if one.name != "help"]
    if rows := [[f"`{names}`", _options_as_code(help)] for names, help in filter(None, told)]:
        yield table(["argument or option", "meaning"], rows)
    for own, member in getattr(command, "commands", {}).items():
        yield from _describe(f"{name} {own}", member, marks + "#")


def _options_as_code(text: str) -> str:
    return re.sub(r"(?<!\S)--[a-z-]+", r"`\g<0>`", text)

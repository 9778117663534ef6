"""Messages for names that do not exist. No torch here, so that the command line starts fast."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

_MOST_NAMES = 10  # that are listed


def unknown_name(
    where: str,
    what: str,
    name: str,
    choices: Iterable[str],
    preferred: Iterable[str] = (),
    listed_by: str = "semaug list",
) -> str:
    """Build the message for an unknown name, with the nearest valid one or the ten nearest.

    Args:
        where: What was asked.
        what: Kind of the name.
        name: That does not exist.
        choices: Those that do.
        preferred: More of them; a near one among these is named before others.
        listed_by: Command that prints all choices.

    >>> unknown_name("recipe", "field", "learning_rate", ["lr", "epochs"])
    "recipe: unknown field 'learning_rate'; choose from epochs, lr"
    >>> unknown_name("recipe", "field", "epoch", ["lr", "epochs"])
    "recipe: unknown field 'epoch'; did you mean 'epochs'?"
    """
    preferred = sorted(preferred)
    choices = sorted({*choices, *preferred})
    near = get_close_matches(name, preferred, n=1) or get_close_matches(name, choices, n=1)
    if near:
        return f"{where}: unknown {what} {name!r}; did you mean {near[0]!r}?"
    hint, more = "choose from", len(choices) - _MOST_NAMES
    if more > 0:
        hint = f"the nearest of {len(choices):,} are"
        choices.sort(key=lambda choice: -SequenceMatcher(None, name, choice).ratio())
    between = "; " if any("," in choice for choice in choices[:_MOST_NAMES]) else ", "
    hint += " " + between.join(choices[:_MOST_NAMES])
    hint += f"; all are printed by: {listed_by}" if more > 0 else ""
    return f"{where}: unknown {what} {name!r}; {hint}"

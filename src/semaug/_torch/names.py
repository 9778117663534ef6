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
    listed_by: str = "",
) -> str:
    """Build the message for an unknown name, with the nearest valid one or the way to all of them.

    Args:
        where: What was asked.
        what: Kind of the name.
        name: That does not exist.
        choices: Those that do.
        preferred: More of them; a near one among these is named before others.
        listed_by: Command that prints all choices; without one, the ten nearest are named.

    >>> unknown_name("recipe", "field", "learning_rate", ["lr", "epochs"])
    "recipe: unknown field 'learning_rate'; choose from epochs, lr"
    >>> unknown_name("recipe", "field", "epoch", ["lr", "epochs"])
    "recipe: unknown field 'epoch'; did you mean 'epochs'?"
    """
    preferred = sorted(preferred)
    choices = sorted({*choices, *preferred})
    unknown = f"{where}: unknown {what} {name!r}"
    near = get_close_matches(name, preferred, n=1) or get_close_matches(name, choices, n=1)
    if near:
        return f"{unknown}; did you mean {near[0]!r}?"
    hint, is_long = "choose from", len(choices) > _MOST_NAMES
    if is_long and listed_by:
        return f"{unknown}; all {len(choices):,} are printed by: {listed_by}"
    if is_long:
        hint = f"the nearest of {len(choices):,} are"
        choices.sort(key=lambda choice: -SequenceMatcher(None, name, choice).ratio())
    between = "; " if any("," in choice for choice in choices[:_MOST_NAMES]) else ", "
    return f"{unknown}; {hint} {between.join(choices[:_MOST_NAMES])}"

"""Fewer cases of tests with several parameters: all pairs of options instead of all combinations.

Mistakes in options show with one value, or with two together, hardly ever with three alone. So
where parameters multiply, the default run takes a few of the combinations: each value of a
parameter is in one of them, and each two options of different parameters meet in one of them.
``--full`` takes all combinations.

The options of a value are its entries if it is a dictionary, and the parts of its name, between
commas, if it is a string: ``"low_rank, shrunk"`` is an option ``low_rank`` with an option
``shrunk``. Any other value is a single option.

``tests/conftest.py`` imports the two hooks, so all tests have it.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import combinations, product
from typing import Any

import pytest

__all__ = ["covering", "options_of"]

Options = frozenset[Hashable]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch for all combinations."""
    parser.addoption("--full", action="store_true", help="run all combinations of parameters")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the cases that pairs do not need as full, and leave these out unless asked for."""
    tests = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for cases in tests.values():
        marks = [mark.args[0] for mark in cases[0].iter_markers("parametrize")]
        together = [x.replace(" ", "").split(",") if isinstance(x, str) else x for x in marks]
        options = options_of([case.callspec.params for case in cases], together)
        needed = set(covering(options))
        for place, case in enumerate(cases):
            if place not in needed:
                case.add_marker("full")
    if not config.getoption("--full") and "full" not in config.getoption("markexpr"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def options_of(
    cases: Sequence[dict[str, Any]], together: Sequence[Sequence[str]] = ()
) -> list[tuple[Options, ...]]:
    """Take cases apart.

    Args:
        cases: Values of the parameters by name; equal values are the same object.
        together: Names of parameters that vary together and count as one.

    Returns:
        For each case the options of each parameter.

    >>> options_of([{"x": "full", "y": 3}, {"x": "full, shrunk", "y": 3}])[0]
    (frozenset({'full'}), frozenset({3}))
    """
    single = [(name,) for name in cases[0] if not any(name in own for own in together)]
    groups = [*single, *together]
    return [tuple(_options([case[name] for name in own]) for own in groups) for case in cases]


def _options(values: list[Any]) -> Options:
    if len(values) > 1:
        return frozenset([tuple(map(_comparable, values))])
    (value,) = values
    if isinstance(value, str):
        return frozenset(value.split(", "))
    if isinstance(value, dict) and value:
        return frozenset((name, _comparable(option)) for name, option in value.items())
    return frozenset([_comparable(value)])


def _comparable(value: Any) -> Hashable:
    return value if isinstance(value, str | int | float | None) else id(value)


def covering(cases: Sequence[tuple[Options, ...]]) -> list[int]:
    """Choose cases with all values, and all pairs of options of different parameters.

    Greedily: next is the first of those that add most.

    Returns:
        Their places, ascending.

    >>> axes = [[frozenset([letter]) for letter in letters] for letters in ("ab", "cd", "ef")]
    >>> cases = list(product(*axes))
    >>> len(cases), len(covering(cases))
    (8, 5)
    """
    missing: list[set[Hashable]] = []
    holders = defaultdict(list)  # which cases have a value or pair
    for place, case in enumerate(cases):
        axes = [[(axis, option) for option in options] for axis, options in enumerate(case)]
        pairs = [pair for two in combinations(axes, 2) for pair in product(*two)]
        missing.append({*enumerate(case), *pairs})
        for item in missing[-1]:
            holders[item].append(place)
    chosen = []
    while any(missing):
        best = max(range(len(cases)), key=lambda place: len(missing[place]))
        chosen.append(best)
        for item in list(missing[best]):
            for place in holders[item]:
                missing[place].discard(item)
    return sorted(chosen)

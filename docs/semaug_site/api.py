"""Pages of the API: every public name, by the name that people import.

Public are the names in ``__all__`` of ``semaug`` and of its modules, those that docs/extending.md
tells people to import, and what these functions return. There is a page for each module, on which
names stand in the order of the files that they are written in, below what such a file says on top:
equations and sources.
"""

import inspect
import re
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import semaug
from semaug_site.docstrings import as_markup

_EXTENDING = Path(__file__).parents[1] / "extending.md"
# What functions take and return that are public.
_TAKEN = {
    "semaug.engine.exported": ["Exported"],
    "semaug.engine.interrupt": ["InterruptedRunError"],
    "semaug.engine.options": ["TrainOptions"],
    "semaug.engine.predict": ["Networks", "PredictedFiles", "Predictions"],
    "semaug.engine.trained": ["Trained"],
    "semaug.runs.divergence": ["DivergedError"],
    "semaug.runs.run": ["Run", "RunIsBusyError"],
}


def public_names() -> dict[str, list[str]]:
    """Return the public names of each module."""
    found = [import_module(one.name) for one in iter_modules(semaug.__path__, "semaug.")]
    names = {one.__name__: [*one.__all__] for one in found if hasattr(one, "__all__")}
    names |= {module: [*own] for module, own in _TAKEN.items()}
    for modules, cell in re.findall(r"^\| (`semaug.*?`) \| (.*) \|$", _EXTENDING.read_text(), re.M):
        for module, own in zip(modules.split(", "), cell.split("; "), strict=True):
            taken = names.setdefault(module.strip("`"), [])
            taken += [name for name in re.findall(r"`(\w+)`", own) if name not in taken]
    return names


def documented_names() -> dict[str, str]:
    """Return the name that each public name is documented by: the shortest, or that of its file.

    >>> documented_names()["semaug.losses.isda_loss"], documented_names()["semaug.recipe.Sizes"]
    ('semaug.isda_loss', 'semaug.registry.Sizes')
    """
    names = public_names()
    chosen: dict[str, str] = {}
    for module, own in names.items():
        for name in own:
            home, _ = home_of(module, name)
            if getattr(semaug, name, None) is getattr(import_module(module), name):
                chosen[f"{module}.{name}"] = f"semaug.{name}"
            else:
                known = home if name in names.get(home, ()) else module
                chosen[f"{module}.{name}"] = f"{known}.{name}"
    return chosen


def home_of(module: str, name: str) -> tuple[str, Any]:
    """Return the module that an object is written in, and the object; data is where it is found."""
    value = inspect.unwrap(getattr(import_module(module), name))
    is_code = inspect.isclass(value) or inspect.isfunction(value)
    return (value.__module__ if is_code else module), value


def api_pages() -> Iterator[tuple[str, str]]:
    """Return name and text of a page for each module, and of their index."""
    chosen, shown, pages = documented_names(), set[str](), []
    for module, names in public_names().items():
        own = [name for name in names if _is_own(chosen[f"{module}.{name}"], module, name)]
        also = [chosen[f"{module}.{name}"] for name in names if name not in own]
        if not own:
            continue
        text = _heading(module, "=") + f".. automodule:: {module}\n\n"
        if also:
            text += f"Also here: {', '.join(f':py:obj:`{name}`' for name in also)}.\n\n"
        for home, part in groupby(sorted(own, key=partial(_place, module)), partial(_home, module)):
            text += _top_of_file(home) if home not in (module, *shown) else ""
            text += "".join(_directive(module, name, chosen[f"{module}.{name}"]) for name in part)
            shown.add(home)
        pages.append(module.removeprefix("semaug."))
        yield f"api/{pages[-1]}.rst", text
    yield "api/index.rst", _index(pages)


def _home(module: str, name: str) -> str:
    return home_of(module, name)[0]


def _place(module: str, name: str) -> tuple[bool, str]:
    home = _home(module, name)
    return "._" in home, home  # private files last


def _is_own(documented: str, module: str, name: str) -> bool:
    return documented in (f"{module}.{name}", f"semaug.{name}")


def _top_of_file(module: str) -> str:
    """Return what a file says on top: a heading, and equations and sources."""
    doc = str(inspect.getdoc(import_module(module)))
    first, rest = re.split(r"\.\s*?(?:\n| |$)", doc, maxsplit=1)
    text = as_markup("\n\n" + rest.strip("\n"))
    return f"{_heading(first, '-')}.. py:currentmodule:: {module}{text}\n\n"


def _directive(module: str, name: str, documented: str) -> str:
    _, value = home_of(module, name)
    if inspect.isclass(value):
        return f".. autoclass:: {documented}\n   :members:\n\n"
    if inspect.isfunction(value):
        return f".. autofunction:: {documented}\n\n"
    told = repr(value)
    shown = len(told) < 200 and " at 0x" not in told
    comment = comment_on(module, name)
    return f".. py:data:: {documented}\n{f'   :value: {told}' * shown}\n\n   {comment}\n\n"


def comment_on(module: str, name: str) -> str:
    """Return the comment above or behind the line that gives public data its value.

    Raises:
        LookupError: If there is none.

    >>> comment_on("semaug.networks", "NETWORKS")
    'Names for timm.create_model, each with one line for a person who chooses.'
    """
    file = Path(str(import_module(module).__file__))
    files = sorted(file.parent.glob("*.py")) if file.stem == "__init__" else [file]
    pattern = rf"((?:^# .*\n)*)^{name}(?:: .*?)? = .*?(  # .*)?$"
    for above, behind in re.findall(pattern, "\n".join(f.read_text() for f in files), re.M):
        if comment := " ".join(re.findall("# (.*)", above + behind)):
            return comment[0].upper() + comment[1:].rstrip(".") + "."
    raise LookupError(f"{module}.{name} is public and has no comment that says what it is")


def _index(pages: list[str]) -> str:
    names = [
        f"- :py:obj:`semaug.{name}`: {_first_line(getattr(semaug, name))}"
        for name in semaug.__all__
    ]
    modules = [
        f"- :doc:`semaug.{one} <{one}>`: {_first_line(import_module(f'semaug.{one}'))}"
        for one in pages
    ]
    return "\n".join(
        [
            _heading("API", "=") + ".. py:currentmodule:: semaug\n",
            "What ``import semaug`` gives:\n",
            *names,
            "\nAll modules with public names:\n",
            *modules,
            "\n.. toctree::\n   :hidden:\n",
            *(f"   {page}" for page in pages),
            "",
        ]
    )


def _first_line(value: Any) -> str:
    return str(inspect.getdoc(value)).partition("\n")[0]


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"

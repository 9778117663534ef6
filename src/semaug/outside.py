"""Code from outside the package: ``my_file.py:name`` and ``package.module:name``.

A file is executed together with the files beside it that it imports; they are found by reading
it. A run folder records each of them with its place and its SHA-256, and keeps a copy of what
was executed. When a run is read again, code is executed only if all of its files still are, byte
for byte, what was recorded, at their recorded places outside of the run folder; or, where the
person says so (``--trust-code``), from the copies. A run folder from a stranger executes nothing
by itself.
"""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from semaug._torch.names import unknown_name
from semaug.errors import UserError, as_user_error

__all__ = [
    "KEPT",
    "Code",
    "check_code",
    "code_of",
    "files_of",
    "find",
    "is_outside",
    "keep_code",
    "load_files",
    "load_recorded",
    "name_of",
    "names_from",
    "short_name",
]

KEPT = "code"  # folder of the copies in the folder of a run
_PACKAGES = {"site-packages", "dist-packages"}  # folders of what is installed

# Files by their path below a common folder: the ``place`` of each, absolute, and its ``sha256``.
Code = Mapping[str, Mapping[str, str]]


class _Source(NamedTuple):
    place: Path
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


_Sources = Mapping[str, _Source]  # by path below the folder of the first


class _Loaded(NamedTuple):
    module: ModuleType
    sources: _Sources


class _Finder(MetaPathFinder, ExecutionLoader):
    """Imports files by what was read of them once, and never from compiled ones beside them."""

    def __init__(self) -> None:
        self.sources: dict[str, _Source] = {}  # by name of the module

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        if fullname not in self.sources or fullname.partition(".")[0] in sys.stdlib_module_names:
            return None
        return spec_from_file_location(fullname, self.sources[fullname].place, loader=self)

    def get_source(self, fullname: str) -> str:
        return decode_source(self.sources[fullname].content)

    def get_filename(self, fullname: str) -> str:
        return str(self.sources[fullname].place)

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].place.name == "__init__.py"


_finder = _Finder()
_loaded: dict[str, _Loaded] = {}  # by name of the file, or of the module of a package
_folders: list[Path | None] = []  # that names are relative to, the last first; None: nothing new


def is_outside(name: str) -> bool:
    """Whether a name is that of code from outside.

    >>> is_outside("my_losses.py:Center"), is_outside("isda")
    (True, False)
    """
    return ":" in name


def short_name(name: str) -> str:
    """Leave the folder of a file out of a name: it differs between working directories.

    >>> short_name("ours/my_losses.py:Center"), short_name("ours.losses:Center")
    ('my_losses.py:Center', 'ours.losses:Center')
    """
    place, _, inside = name.rpartition(":")
    return f"{Path(place).name}:{inside}" if place.endswith(".py") else name


def find(name: str) -> Any:
    """Return what a name stands for, and load its file or package first.

    Raises:
        UserError: If there is no such file or package, nothing of that name in it, or it fails.
    """
    place, _, inside = name.rpartition(":")
    found: Any = _load(place) if place.endswith(".py") else _import(place)
    known = [key for key in vars(found) if not key.startswith("_")]
    for part in inside.split("."):
        if not hasattr(found, part):
            raise UserError(unknown_name(place, "name", inside, known))
        found = getattr(found, part)
    return found


def name_of(kind: Any) -> str:
    """Return the name of a class or function from outside, by which :func:`find` finds it.

    Raises:
        UserError: If it lies in no file and no package, or inside of a function.
    """
    module, inside = sys.modules.get(kind.__module__), kind.__qualname__
    file = getattr(module, "__file__", None)
    if module is None or file is None or "<locals>" in inside:
        raise UserError(
            f"{inside}: expected a class at the top of a file or module, for other processes "
            "must find it too"
        )
    place = next((place for place, one in _loaded.items() if one.module is module), None)
    if place is None:
        package = getattr(module.__spec__, "name", module.__name__)  # not that of a script
        place = package if module.__package__ else Path(file).name
        _note(place, module, Path(file).resolve())
    return f"{place}:{inside}"


@contextmanager
def names_from(folder: Path | None) -> Iterator[None]:
    """Take names of files relative to a folder first; None: find what was executed before only."""
    _folders.append(folder)
    try:
        yield
    finally:
        _folders.pop()


# What a run keeps of it.


def files_of(names: Iterable[str]) -> dict[str, Code]:
    """Return the code behind names, by the place of its file or the name of its module."""
    found = {place: _loaded[place] for place in map(_place_of, names) if place in _loaded}
    return {
        str(one.module.__file__) if place.endswith(".py") else place: _describe(one.sources)
        for place, one in found.items()
    }


def load_files(files: Mapping[str, Code]) -> None:
    """Execute what another process of this program names, unless it was already.

    Raises:
        UserError: If a file is missing or fails, or was changed since that process executed it.
    """
    for place, code in files.items():
        find(f"{place}:__name__")
        if _describe(_loaded[_place_of(f"{place}:")].sources) != code:
            raise UserError(f"{place}: was changed since this command began; give it again")


def code_of(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Describe the files behind names: the files themselves, and what they import from beside.

    Args:
        names: Of specs, recipes and others; those of this package itself are passed over.

    Returns:
        By path below the folder of the first: ``place``, absolute, and ``sha256``.

    Raises:
        UserError: If two of them have the same path.
    """
    found: dict[str, _Source] = {}
    for name in names:
        loaded = _loaded.get(_place_of(name))
        for key, source in loaded.sources.items() if loaded else ():
            if found.setdefault(key, source).place != source.place:
                raise UserError(
                    f"{source.place}: expected one file of this name, got {found[key].place} too; "
                    "rename one of them"
                )
    return dict(sorted(_describe(found).items()))


def _describe(sources: _Sources) -> dict[str, dict[str, str]]:
    return {
        key: {"place": str(source.place), "sha256": source.digest}
        for key, source in sources.items()
    }


def keep_code(
    folder: Path, code: Code, write: Callable[[Path, bytes], object] = Path.write_bytes
) -> None:
    """Copy code as it was executed into the folder of a run, unless it is there.

    Args:
        folder: Of the run.
        code: As :func:`code_of` describes it.
        write: Writes a file.

    Raises:
        OSError: If the disk does not take it.
    """
    executed = (source for one in _loaded.values() for source in one.sources.values())
    contents = {source.digest: source.content for source in executed}
    for key, file in code.items():
        copy = folder / KEPT / key
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write(copy, contents[file["sha256"]])


def check_code(folder: Path, recorded: Code, now: Code) -> None:
    """Compare the code of a run with that of the run in a folder.

    Raises:
        UserError: If a file was changed since.
    """
    for name in sorted({*recorded, *now}):
        if recorded.get(name, {}).get("sha256") != now.get(name, {}).get("sha256"):
            raise UserError(
                f"{folder}: its code {name} was changed since the run began; restore it from "
                f"{folder / KEPT / name}, or choose another folder with --runs"
            )


def load_recorded(folder: Path, code: Code, names: Iterable[str], *, trusted: bool = False) -> None:
    """Execute the code that a run recorded, so that names are found in it.

    Args:
        folder: Of the run.
        code: As :func:`code_of` described it.
        names: What is to be found.
        trusted: Whether the copies in the folder may be executed.

    Raises:
        UserError: If a file was changed, moved or removed, and copies are not trusted; or a name
            is of other code.
    """
    context = f"{folder}: expected a record of its code, got something else: "
    with as_user_error(context, AttributeError, TypeError, ValueError):
        read = {key: _unchanged(folder, key, **file) for key, file in code.items()}
    sources = {key: source for key, source in read.items() if source is not None}
    if len(sources) < len(code):
        name = next(key for key in code if key not in sources)
        if not trusted:
            raise UserError(
                f"{folder}: the code of this run, {code[name]['place']}, was changed, moved or "
                "removed since it was recorded, or lies among the runs, where it may have come "
                f"from anybody; restore it, or add --trust-code to execute the copy "
                f"{folder / KEPT / name}, which you should read before if the run is not your own"
            )
        copies = {key: (folder / KEPT / key).resolve() for key in code}
        with as_user_error(f"{folder}: cannot read its code: ", OSError):
            sources = {key: _Source(path, path.read_bytes()) for key, path in copies.items()}
    for place in map(_place_of, names):
        start = place if place.endswith(".py") else place.replace(".", "/")
        keys = [key for key in (start, f"{start}.py", f"{start}/__init__.py") if key in sources]
        if not keys:
            raise UserError(f"{folder}: expected names of recorded code, got {place}")
        known = _loaded.get(place)
        if known is None or not known.sources.items() <= sources.items():
            _loaded.pop(place, None)
            _note(place, _execute(keys[0], sources), sources[keys[0]].place)


def _unchanged(folder: Path, key: str, place: str, sha256: str) -> _Source | None:
    """Read a recorded file, unless it is another now, or lies where anybody may have put it."""
    path, runs = Path(place), folder.resolve().parent.parent
    if not path.is_absolute() or not place.endswith(f"/{key}"):
        return None
    try:
        real = path.resolve()
        among = runs.exists() and any(parent.samefile(runs) for parent in real.parents)
        if among or _is_pythons(real):
            return None
        source = _Source(path, path.read_bytes())
    except OSError:
        return None
    return source if source.digest == sha256 else None


# From files to modules.


def _place_of(name: str) -> str:
    """Return the name of the file, or of the module, that a name begins with."""
    place = name.rpartition(":")[0]
    return Path(place).name if place.endswith(".py") else place


def _is_known(place: str) -> bool:
    """Whether code was executed before.

    Raises:
        UserError: If it was not, and none may be executed now.
    """
    if _folders and _folders[-1] is None and place not in _loaded:
        raise UserError(f"{place}: expected code that was executed before")
    return place in _loaded


def _load(place: str) -> ModuleType:
    """Execute a file, unless it was already."""
    if _is_known(place) and _folders[-1:] == [None]:
        return _loaded[place].module
    wanted = Path(place).expanduser()
    others = (Path(str(one.module.__file__)).parent for one in [*_loaded.values()])
    folders = [*filter(None, reversed(_folders)), Path(), *others]
    path = next((folder / wanted for folder in folders if (folder / wanted).is_file()), None)
    if path is None:
        raise UserError(f"{place}: expected a Python file, got no such file")
    path = path.resolve()
    module = next((module for module in [*sys.modules.values()] if _is_of(module, path)), None)
    with as_user_error(f"{place}: cannot be executed: ", ImportError, SyntaxError):
        return _note(path.name, module, path).module


def _import(place: str) -> ModuleType:
    """Import a module of a package."""
    if _is_known(place):
        return _loaded[place].module
    with as_user_error(f"{place}: expected a module that can be imported: ", ImportError):
        module = import_module(place)
    return _note(place, module, Path(str(getattr(module, "__file__", None)))).module


def _note(place: str, module: ModuleType | None, path: Path) -> _Loaded:
    """Remember a module by its name and what it was made of; execute its file if it is None.

    Raises:
        UserError: If another file has the name.
    """
    known = _loaded.get(place)
    if known is None:
        depth = 0 if place.endswith(".py") else place.count(".") + (path.name == "__init__.py")
        sources = _read(path, path.parents[depth]) if path.is_file() else {}
        module = module or _execute(path.name, sources)
        known = _loaded[place] = _Loaded(module, sources)
    elif place.endswith(".py") and not _is_of(known.module, path):
        raise UserError(
            f"{path}: expected one file of this name in a process, got {known.module.__file__} "
            "too; rename one of them"
        )
    return known


def _execute(main: str, sources: _Sources) -> ModuleType:
    """Import a file among sources, and what it imports of them."""
    names = {
        key.removesuffix(".py").removesuffix("/__init__").replace("/", "."): key for key in sources
    }
    for name, key in names.items():
        module, source = sys.modules.get(name), sources[key]
        executed = _finder.sources.get(name)
        same = executed == source if executed else _is_of(module, source.place)
        if module is not None and not same:
            file = getattr(module, "__file__", None)
            if not _is_installed(file):
                del sys.modules[name]  # of another folder, or of an earlier version
            elif key != main:
                raise UserError(
                    f"{source.place}: expected a name that no module has, got that of "
                    f"{file or name}; rename the file"
                )
        _finder.sources[name] = source
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    place = sources[main].place
    root = str(place.parents[main.count("/")])
    if root not in sys.path:
        sys.path.append(root)  # for what cannot be found by reading
    name = next(name for name, key in names.items() if key == main)
    module = sys.modules.get(name)
    if (module or name in sys.stdlib_module_names) and not _is_of(module, place):
        name = f"{name}_{sources[main].digest[:8]}"
        _finder.sources[name] = sources[main]
    with names_from(place.parent):
        return import_module(name)


def _read(main: Path, root: Path) -> dict[str, _Source]:
    """Read a file, and those below a folder that it imports unless it is installed."""
    executed = {source.place: source for source in _finder.sources.values()}
    found: dict[str, _Source] = {}
    missing = [main]
    while missing:
        path = missing.pop()
        key = path.relative_to(root).as_posix()
        if key not in found:
            found[key] = executed.get(path) or _Source(path, path.read_bytes())
            missing += [] if _is_installed(path) else _imported(found[key], root)
    return found


def _imported(source: _Source, root: Path) -> Iterator[Path]:
    """Yield the files below a folder that a file imports, now or later."""
    for node in ast.walk(ast.parse(source.content, str(source.place))):
        folder, names = root, []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = source.place.parents[node.level - 1] if node.level else root
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for name in names:
            parts = name.split(".")
            if folder == root and parts[0] in sys.stdlib_module_names:
                continue  # Python's own come first
            for count in range(1, len(parts) + 1):
                place = folder.joinpath(*parts[:count])
                for path in (place.parent / f"{place.name}.py", place / "__init__.py"):
                    if path.is_file() and path.is_relative_to(root) and not _is_installed(path):
                        yield path


def _is_of(module: Any, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.endswith(path.name) and Path(file).resolve() == path


def _is_installed(file: str | Path | None) -> bool:
    """Whether a file is of this package, of Python, or was installed beside it."""
    if file is None:
        return True
    path = Path(file).resolve()
    return (
        bool(_PACKAGES & {*path.parts})
        or path.is_relative_to(Path(__file__).resolve().parent)
        or _is_pythons(path)
    )


def _is_pythons(path: Path) -> bool:
    """Whether a file is of Python's own library."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    return path.is_relative_to(library) and not _PACKAGES & {*path.parts}

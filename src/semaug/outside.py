"""Code from outside the package: ``my_file.py:name`` and ``package.module:name``.

A run folder records each file of such code with its place and its SHA-256, and keeps a copy.
When a run is read again, a file is executed only if it still is, byte for byte, the file that
was recorded, at its recorded place outside of the run folder; or, where the person says so
(``--trust-code``), from the copy. A run folder from a stranger executes nothing by itself.
"""

import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from semaug._torch.names import unknown_name
from semaug.errors import UserError, as_user_error

__all__ = [
    "KEPT",
    "check_code",
    "code_of",
    "files_of",
    "find",
    "is_outside",
    "keep_code",
    "load_files",
    "load_recorded",
    "name_of",
    "short_name",
]

KEPT = "code"  # folder of the copies in the folder of a run
_files: dict[str, ModuleType] = {}  # modules that were loaded from a file, by its name alone


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
    module = _load(place) if place.endswith(".py") else _import(place)
    found: Any = module
    for part in inside.split("."):
        if not hasattr(found, part):
            known = [key for key in vars(module) if not key.startswith("_")]
            raise UserError(unknown_name(place, "name", inside, known))
        found = getattr(found, part)
    return found


def name_of(kind: Any) -> str:
    """Return the name of a class or function from outside, by which :func:`find` finds it.

    Raises:
        UserError: If it lies in no file and no package, or inside of a function.
    """
    module = sys.modules.get(kind.__module__)
    if module is None or "<locals>" in kind.__qualname__:
        raise UserError(
            f"{kind.__qualname__}: expected a class at the top of a file or module, for other "
            "processes must find it too"
        )
    file = getattr(module, "__file__", None)
    if file is None or _installed(module):
        return f"{kind.__module__}:{kind.__qualname__}"
    _remember(Path(file), module)
    return f"{Path(file).name}:{kind.__qualname__}"


def files_of(names: Iterable[str]) -> list[str]:
    """Return the places of the files behind names; those of packages are found by their names."""
    modules = (_files.get(Path(name.rpartition(":")[0]).name) for name in names)
    return [str(module.__file__) for module in modules if module is not None]


def load_files(places: Iterable[str]) -> None:
    """Execute files that another process of this program names, unless they were already.

    Raises:
        UserError: If one is missing or fails.
    """
    for place in places:
        _load(place)


def code_of(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Describe the files behind names: the files themselves, and what they import from beside.

    Args:
        names: Of specs, recipes and others; those of the package itself are passed over.

    Returns:
        By name of the file, below the folder of the first: its ``place``, absolute, and its
        ``sha256``.
    """
    files: dict[str, Path] = {}
    for name in names:
        place = name.rpartition(":")[0]
        module = _files.get(Path(place).name) if place.endswith(".py") else sys.modules.get(place)
        file = getattr(module, "__file__", None)
        if not is_outside(name) or file is None:
            continue
        main = Path(file).resolve()
        files[main.name] = main
        for other in [*sys.modules.values()]:
            path = str(getattr(other, "__file__", None))
            if path.endswith(".py") and Path(path).is_absolute() and not _installed(other):
                beside = Path(path).resolve()
                if beside.is_relative_to(main.parent):
                    files[beside.relative_to(main.parent).as_posix()] = beside
    return {
        name: {"place": str(path), "sha256": _sha256(path)} for name, path in sorted(files.items())
    }


def keep_code(folder: Path, code: Mapping[str, Mapping[str, str]]) -> None:
    """Copy code into the folder of a run, unless it is there.

    Raises:
        OSError: If the disk does not take it.
    """
    for name, file in code.items():
        copy = folder / KEPT / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(Path(file["place"]).read_bytes())


def check_code(
    folder: Path, recorded: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]
) -> None:
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


def load_recorded(
    folder: Path, code: Mapping[str, Mapping[str, str]], *, trusted: bool = False
) -> None:
    """Execute the code that a run recorded, so that its names are found.

    Args:
        folder: Of the run.
        code: As :func:`code_of` described it.
        trusted: Whether the copies in the folder may be executed.

    Raises:
        UserError: If a file was changed, moved or removed, and copies are not trusted.
    """
    for name, file in code.items():
        place, copy = Path(file["place"]), folder / KEPT / name
        if not _is_unchanged(folder, place, file["sha256"]):
            if not trusted:
                raise UserError(
                    f"{folder}: the code of this run, {place}, was changed, moved or removed since "
                    f"it was recorded; restore it, or add --trust-code to execute the copy {copy}, "
                    "which you should read before if the run is not your own"
                )
            place = copy
        if "/" not in name:
            _load(str(place), anew=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_unchanged(folder: Path, place: Path, digest: str) -> bool:
    """Whether a file is the recorded one; what lies beside a run may have come with it."""
    beside = folder.resolve().parent.parent  # folder of the runs
    if not place.is_absolute() or place.resolve().is_relative_to(beside):
        return False
    try:
        return _sha256(place) == digest
    except OSError:
        return False


def _load(place: str, *, anew: bool = False) -> ModuleType:
    """Execute a file, unless it was already.

    Args:
        place: Its path; one without a folder may be that of a file executed before.
        anew: Whether it may take the place of another file of the same name.
    """
    path = Path(place).expanduser()
    if path.name == place and not path.is_file():  # beside a file that was executed before
        folders = (Path(str(module.__file__)).parent for module in [*_files.values()])
        path = next((folder / place for folder in folders if (folder / place).is_file()), path)
    known = _files.get(path.name)
    if known is not None:
        if path.name == place or _is_of(known, path.resolve()):
            return known
        if not anew:
            raise UserError(
                f"{place}: expected one file of this name in a process, got {known.__file__} too; "
                "rename one of them"
            )
    if not path.is_file():
        raise UserError(f"{place}: expected a Python file, got no such file")
    path = path.resolve()
    for module in [*sys.modules.values()]:
        if _is_of(module, path):
            return _remember(path, module)
    digest = hashlib.sha256(str(path).encode()).hexdigest()
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for what it imports from beside, as Python's scripts
    sys.modules[name] = module
    try:
        with as_user_error(f"{place}: cannot be executed: ", ImportError, SyntaxError):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return _remember(path, module)


def _import(name: str) -> ModuleType:
    with as_user_error(f"{name}: expected a module that can be imported: ", ImportError):
        return import_module(name)


def _remember(path: Path, module: ModuleType) -> ModuleType:
    _files[path.name] = module
    return module


def _is_of(module: Any, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.endswith(path.name) and Path(file).resolve() == path


def _installed(module: ModuleType) -> bool:
    """Whether a module is of this package, of Python, or was installed beside it."""
    path = Path(str(module.__file__)).resolve()
    roots = [Path(__file__).resolve().parent, Path(sysconfig.get_path("stdlib")).resolve()]
    return "site-packages" in path.parts or any(path.is_relative_to(root) for root in roots)

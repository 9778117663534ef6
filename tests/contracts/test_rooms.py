"""Rooms import one way: each takes only from those that stand before it."""

import ast
from pathlib import Path

import semaug

ROOMS = [
    "errors",
    "_torch",
    "outside",
    "registry",
    "covariance",
    "features",
    "losses",
    "average",
    "keepers",
    "metrics",
    "data",
    "augmentation",
    "methods",
    "networks",
    "analysis",
    "recipe",
    "runs",
    "export",
    "frozen",
    "engine",
    "generation",
    "detection",
    "queue",
    "recipes",
    "report",
    "transfer",
    "insight",
    "published",
    "api",
    "cli",
]
SOURCE = Path(semaug.__file__).parent


def rooms_that_a_file_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, *parts = name.split(".")
            if package == "semaug" and parts and parts[0] in ROOMS:
                yield parts[0]


def test_imports_point_one_way():
    upward = {
        (str(path.relative_to(SOURCE)), imported)
        for place, room in enumerate(ROOMS)
        for path in sorted([*(SOURCE / room).rglob("*.py"), *SOURCE.glob(f"{room}.py")])
        for imported in rooms_that_a_file_imports(path)
        if ROOMS.index(imported) > place
    }
    assert not upward


def test_every_room_has_its_place():
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    rooms |= {path.stem for path in SOURCE.glob("[!_]*.py")}
    assert rooms == set(ROOMS)

"""The order of floors: lower rooms never import higher ones, and no module imports itself by a roundabout way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = {"headflow.theory": ROOT / "theory", "headflow.numerics": ROOT / "numerics", "headflow": ROOT / "src/headflow"}

# From the ground up; each line may import itself and the lines above it.
FLOORS = {
    "headflow": [
        "_lazy _version errors shipped theory numerics",
        "plot",
        "report",
        "cli",
        "__main__",
    ],
    "headflow.theory": [
        "errors choices visible whole precision series notation",
        "indexed printing brief result equations scalars",
        "grounds hypothesis derivation statement gaussian parameters closed_form",
        "model",
        "flows",
        "optima",
        "context",
        "phases",
        "merged",
        "families",
        "statements",
        "presentation",
    ],
    "headflow.numerics": [
        "runtime",
        "problem",
        "attention",
        "compiler",
        "code",
        "steps",
        "flows",
        "solving",
        "certificates",
        "optima",
        "trajectory",
        "integration",
        "predictions",
        "comparison",
        "reproductions",
        "checks",
        "verification",
    ],
}


def files() -> Iterator[tuple[str, Path]]:
    """Every module by its dotted name."""
    for package, folder in PLACES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)]), path


FILES = dict(files())
FRONT = set(PLACES)  # they list public names, which are imported when they are asked for


def imported(module: str) -> set[str]:
    """The modules of the package that a module imports: at its top, in its functions, or for its types alone."""
    path = FILES[module]
    here = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = here[: len(here) - node.level + 1]
            base = ".".join([*above, node.module] if node.module else above)
            whole = (f"{base}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else base for name in whole}
    return found - {module}


IMPORTS = {module: set() if module in FRONT else imported(module) for module in FILES}


def floors(package: str) -> dict[str, int]:
    """Room or module of the ground → its floor."""
    return {room: level for level, rooms in enumerate(FLOORS[package]) for room in rooms.split()}


@pytest.mark.parametrize("package", FLOORS)
def test_lower_floors_never_import_higher_ones(package: str) -> None:
    level = floors(package)
    inside = [(one, other) for one in IMPORTS for other in IMPORTS[one] if other not in FRONT]
    wrong = []
    for one, other in inside:
        if one.startswith(f"{package}.") and other.startswith(f"{package}."):
            lower, upper = (name.removeprefix(f"{package}.").split(".")[0] for name in (one, other))
            if level[upper] > level[lower]:
                wrong.append(f"{one} imports {other}")
    assert not wrong


@pytest.mark.parametrize("package", FLOORS)
def test_the_table_names_every_room_and_no_other(package: str) -> None:
    rooms = {name.removeprefix(f"{package}.").split(".")[0] for name in FILES if name.startswith(f"{package}.")}
    assert set(floors(package)) == rooms


def test_no_module_imports_itself_by_a_roundabout_way() -> None:
    left = {module: set(others) for module, others in IMPORTS.items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"these modules import each other in a circle, or such a circle: {sorted(left)}"


def test_every_room_says_what_it_owns() -> None:
    for module, path in FILES.items():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), module

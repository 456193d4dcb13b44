"""What is installed is what lies in the tree; imports stay light and go one way; all places say the same."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import headflow

ROOT = Path(__file__).resolve().parents[1]
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
ROOTS = dict(re.split(r"\s*=\s*", line) for line in SETUP["options"]["package_dir"].strip().splitlines())


def folder_of(package: str) -> Path:
    """Where a package lies: the folder that setup.cfg names for it, or for the nearest package above it."""
    if package in ROOTS:
        return ROOT / ROOTS[package]
    above, _, name = package.rpartition(".")
    return folder_of(above) / name


FOLDERS = {package: folder_of(package) for package in SETUP["options"]["packages"].split()}


def modules(folder: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every imported module, relative ones with their dots: ``..theory.errors``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from [module] if node.module else (module + alias.name for alias in node.names)


def python(code: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)


def test_every_folder_with_modules_is_a_listed_package() -> None:
    found = {path.parent for folder in ("theory", "numerics", "src/headflow") for path in (ROOT / folder).rglob("*.py")}
    assert found == set(FOLDERS.values())
    assert all((folder / "__init__.py").exists() for folder in FOLDERS.values())


@pytest.mark.parametrize("package", FOLDERS)
def test_what_is_installed_is_what_lies_in_the_tree(package: str) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        files = [path for path in (*folder.iterdir(), *folder.glob("data/*")) if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    installed = contents(Path(importlib.import_module(package).__path__[0]))
    tree = contents(FOLDERS[package])
    assert ("py.typed" in tree) == (package == "headflow")  # which stands for all packages below it
    assert set(installed) == set(tree), "install the package again: files were added or removed"
    changed = [name for name in tree if tree[name] != installed[name]]
    assert not changed, "install the package again: files were changed"


def test_package_folders_hold_nothing_else() -> None:
    for package, folder in FOLDERS.items():
        for path in folder.iterdir():
            known = path.suffix == ".py" or path.name == "__pycache__" or path in FOLDERS.values()
            known |= package == "headflow" and path.name in ("py.typed", "data")
            assert known, path


def test_all_places_name_one_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert importlib.metadata.version("headflow") == headflow.__version__
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [headflow.__version__]
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == headflow.__version__


def test_the_command_line_is_an_entry_point() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="headflow")
    assert callable(command.load())


def test_the_readme_sets_up_with_two_commands_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    main_job, test = (block.splitlines() for block in blocks[:2])
    assert main_job == ["python3.11 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/headflow report"]
    assert test == ['python3.11 -m venv .venv && .venv/bin/pip install -q ".[test]" && .venv/bin/python -m pytest']
    # .ci/run takes the one line that ends so out of the README, and holds no copy of it.
    lines = [line for block in blocks for line in block.splitlines() if line.endswith("-m pytest")]
    assert lines == test
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md | grep -E -- '-m pytest$'" in ci
    assert "[test]" not in ci


def test_importing_headflow_is_light() -> None:
    code = """
import sys
import headflow, headflow.theory, headflow.numerics, headflow.errors
print(*{"numpy", "scipy", "sympy", "mpmath", "matplotlib", "pandas", "xarray", "tqdm"} & set(sys.modules))
"""
    assert python(code).stdout == "\n"


@pytest.mark.parametrize("folder", ["theory", "numerics"])
def test_the_source_folders_are_no_second_copy_of_the_packages(folder: str) -> None:
    done = python(f"import {folder}", cwd=ROOT)
    assert "ImportError: attempted relative import beyond top-level package" in done.stderr


def test_imports_go_one_way() -> None:
    for folder, own in (("theory", set()), ("numerics", {"theory"})):
        for path, tree in modules(folder):
            up = "." * len(path.parts)  # the dots that lead to the package headflow
            for name in imported(tree):
                assert not name.startswith("headflow"), f"{path}: imports inside the package are relative"
                if name.startswith(up):
                    top = name.removeprefix(up).split(".")[0]
                    assert top in own | {"_lazy", "_version"}, f"{path} imports {name}"


def test_theory_is_symbolic_and_exact() -> None:
    for path, tree in modules("theory"):
        numeric = {"numpy", "scipy", "pandas", "xarray"} & {name.split(".")[0] for name in imported(tree)}
        assert not numeric, f"{path} imports {numeric}"
        floats = [node.lineno for node in ast.walk(tree) if _is_float(node)]
        assert not floats, f"{path} has float literals in lines {floats}"


def _is_float(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, float)


def test_oracles_are_independent_of_the_theory() -> None:
    for path, tree in modules("tests/oracles"):
        for name in imported(tree):
            assert not name.startswith("headflow"), f"{path} imports {name}"


LAZY_PACKAGES = [
    package
    for package, folder in FOLDERS.items()
    if any("lazy_attributes(__name__" in path.read_text("utf-8") for path in folder.glob("__init__.py"))
]


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_lazy_names_are_typed_listed_and_there(package: str) -> None:
    module = importlib.import_module(package)
    names: dict[str, str] = module._NAMES
    tree = ast.parse((FOLDERS[package] / "__init__.py").read_text(encoding="utf-8"))
    (typed,) = (
        node.body for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    declared = {}
    for node in typed:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, f"{alias.name}: write `as {alias.name}`, it is public"
            declared[alias.name] = f".{node.module or alias.name}"
    assert declared == names
    assert set(names) <= set(dir(module))
    submodules = {path.stem for path in FOLDERS[package].iterdir()}
    for name, where in names.items():
        assert getattr(module, name) is not None
        if name in submodules:  # importing the submodule binds its name to it, whatever the list says
            assert where == f".{name}", f"{package}.{name} is a submodule and cannot be anything else"


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'headflow' has no attribute 'inegrate'"):
        _ = headflow.inegrate  # type: ignore[attr-defined]


def test_the_lowest_versions_are_those_that_are_tested() -> None:
    """Every dependency has a lower bound, and .ci/run installs just these."""
    declared = SETUP["options"]["install_requires"].split()
    tested = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(line.replace(">=", "==") for line in declared) == tested

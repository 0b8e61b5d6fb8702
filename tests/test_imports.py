"""The layers: a module imports only from layers below its own, and heavy libraries stay out of the start-up."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dataset_doctor
from dataset_doctor.formats import FORMATS

PACKAGE = Path(dataset_doctor.__file__).parent

LAYERS = (
    ("_path", "errors", "geometry", "outlines", "pixels", "recipes"),
    ("dataset", "masks"),
    ("files",),
    ("statistics",),
    ("findings", "plan"),
    ("formats", "verdict"),
    ("scan", "relations"),
    ("checks",),
    ("balance", "split", "weights"),
    ("recommend", "gate"),
    ("losses", "samplers", "report", "demo"),
    ("audit",),
    ("treatments", "trials"),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
HEAVY = ("torch", "torchvision", "cv2", "scipy", "pandas", "sklearn", "rich", "typer", "PIL", "yaml")


def owners(node: ast.ImportFrom | ast.Import) -> list[str]:
    """Name the parts of the package that an import statement reaches."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("dataset_doctor.")]
    package, *rest = (node.module or "").split(".")
    if package != "dataset_doctor":
        return []
    return rest[:1] or [alias.name for alias in node.names]


def test_imports_point_downwards_only() -> None:
    """No module imports from its own rank or above, function-level imports included; siblings do not know each other."""
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        owner = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if owner.startswith("__"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom | ast.Import):
                wrong += [
                    f"{file.relative_to(PACKAGE)}:{node.lineno} imports {target}"
                    for target in owners(node)
                    if target != owner and RANK[target] >= RANK[owner]
                ]

    assert not wrong


def test_every_module_has_a_layer() -> None:
    """A new module must be given its place."""
    parts = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in PACKAGE.rglob("*.py")}

    assert {part for part in parts if not part.startswith("__")} <= set(RANK)


def test_importing_the_package_is_light() -> None:
    """`import dataset_doctor` brings in numpy and msgspec at most."""
    code = f"import sys, dataset_doctor; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_help_needs_no_heavy_library() -> None:
    """`--help` answers without loading arrays or frames."""
    code = (
        "import sys\nfrom dataset_doctor.cli.app import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules and m != 'typer'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_public_names_are_sorted_and_there() -> None:
    """`__all__` is what the package offers."""
    assert dataset_doctor.__all__ == sorted(dataset_doctor.__all__)
    assert all(hasattr(dataset_doctor, name) for name in dataset_doctor.__all__)


@pytest.mark.train
def test_no_submodule_takes_a_public_name() -> None:
    """Importing the modules leaves `dd.audit`, `dd.split` and `dd.verify` the functions that they are."""
    code = (
        "import importlib, pkgutil, types, dataset_doctor as dd\n"
        "for found in pkgutil.iter_modules(dd.__path__):\n    found.name == '__main__' or importlib.import_module(f'dataset_doctor.{found.name}')\n"
        "print([name for name in dd.__all__ if isinstance(getattr(dd, name), types.ModuleType)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


FORMAT_NAMES = set(FORMATS)


def names_compared(node: ast.AST) -> set[str]:
    """Give the names of formats that an expression compares with, or looks up in a table."""
    parts: list[ast.expr | None] = []
    if isinstance(node, ast.Compare):
        for side in (node.left, *node.comparators):
            parts += side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
    elif isinstance(node, ast.Dict):
        parts += node.keys
    elif isinstance(node, ast.MatchValue):
        parts.append(node.value)
    return {one.value for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str)} & FORMAT_NAMES


def test_nothing_asks_for_a_format_by_name() -> None:
    """What the rest must know of a format is in its record: only its own folder and `demo` may name one."""
    inside = [file for file in (PACKAGE / "formats").rglob("*.py") if {*file.parts, file.stem} & FORMAT_NAMES]
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno} asks for {', '.join(sorted(names))}"
        for file in sorted({*PACKAGE.rglob("*.py")} - {*inside, *(PACKAGE / "demo").rglob("*.py")})
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (names := names_compared(node)) and isinstance(node, ast.expr)
    ]

    assert not found


def test_the_command_line_offers_every_format() -> None:
    """The choices of `--format` and `--to` are the table's names."""
    from typing import get_args

    from dataset_doctor.cli.options import FormatChoice

    assert get_args(FormatChoice) == tuple(FORMATS)

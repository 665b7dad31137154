"""Imports go one way, from the bottom up, and no two files need each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import sgdsheet

ROOT = Path(sgdsheet.__file__).parent
# From the bottom up. What stands on one floor knows nothing of what stands beside it. A name holds for all within it.
FLOORS = [
    ["errors"],
    ["files"],
    ["commands", "csv_file", "expr", "eve", "hyperparameters", "local_server", "pictures", "user_code"],
    ["tensor"],
    ["optim"],
    ["book", "recording"],
    ["draws", "engines", "reference"],
    ["exercises", "training", "writing"],
    ["torch_frontend.ops"],
    ["torch_frontend.program"],
    ["torch_frontend.sheets", "torch_frontend.tracing"],
    ["torch_frontend.compiled"],
    ["torch_frontend.user_file"],
    ["lessons"],
    ["exported"],
    ["generation", "replaying", "table", "verification"],
    ["animation", "grading", "live", "training.train"],
    ["train_gpt"],
    ["explorer"],
    [""],  # the package itself, whose names lead to all of this
    ["cli"],
]
LEVELS = {name: level for level, names in enumerate(FLOORS) for name in names}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in ROOT.rglob("*.py")
}


def imports(path: Path, types: bool = True) -> Iterator[str]:
    """The modules of the package that a file imports, anywhere in it; for annotations alone only with `types`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not types:
        tree.body = [each for each in tree.body if not (isinstance(each, ast.If) and "TYPE_CHECKING" in ast.dump(each))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            inside = [f"{node.module}.{each.name}" for each in node.names]
            modules = [each for each in inside if each.removeprefix("sgdsheet.") in MODULES]
            names = modules + [str(node.module)] * (len(modules) < len(inside))
        else:
            continue
        ours = [name for name in names if name.partition(".")[0] == "sgdsheet"]
        yield from (name.removeprefix("sgdsheet").lstrip(".") for name in ours)


def floor(module: str) -> str:
    """The name in `FLOORS` that a module belongs to: the longest that it begins with."""
    return max((name for name in LEVELS if module == name or module.startswith(f"{name}.")), key=len, default="")


NEEDED = {module: set(imports(path)) for module, path in MODULES.items()}


def test_every_module_has_its_floor() -> None:
    assert {module for module in MODULES if module and not floor(module)} == {"torch_frontend", "__main__"} & {*MODULES}


def test_no_import_leads_upward() -> None:
    upward = [
        f"{module} imports {needed}"
        for module, all_needed in NEEDED.items()
        for needed in all_needed
        if floor(module) != floor(needed) and LEVELS[floor(needed)] >= LEVELS[floor(module)]
    ]
    # The version, and names that are looked up when they are asked for, are what the package itself gives.
    assert [each for each in upward if each != "cli imports "] == []


def test_no_circle_of_files() -> None:
    left = {module: {*imports(path, types=False)} - {""} for module, path in MODULES.items() if module}
    while free := [module for module, all_needed in left.items() if not all_needed & {*left}]:
        for module in free:
            del left[module]
    assert left == {}

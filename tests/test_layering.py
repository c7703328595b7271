"""The floors of the house: who may import whom, and what no module does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "symtheory"

#: A module imports from its own folder and from lower floors. Pages and command line stand on the other tools.
FLOORS = {
    "errors": 0,
    "tables": 0,
    "__init__": 0,
    "spec": 1,
    "engine": 2,
    "theorems": 3,
    "transforms": 3,
    "equivariant": 3,
    "figures": 4,
    "lab": 4,
    "plots": 5,
    "discover": 6,
    "monitor": 7,
    "ledger": 6,
    "pages": 7,
    "gallery": 8,
    "cli": 8,
    "__main__": 9,
}
#: Lower, and still not for them: the lab knows no theorem.
FORBIDDEN = {("lab", "theorems"), ("lab", "transforms")}
#: Files that carry code, and printing. Keyword arguments count only with the value given.
CALLS = {"print", "pprint", "pickle.dump", "pickle.load", "torch.save", "torch.load", "joblib.dump", "eval", "exec"}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def sources() -> list[tuple[str, str]]:
    """Dotted name and source of every module."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path.read_text(encoding="utf-8")))
    return found


def room(module: str) -> str:
    """Folder or file right below the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def exists(module: str) -> bool:
    base = ROOT.parent.joinpath(*module.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """Every module named in an import, at any depth, relative or by ``import_module`` with a constant."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".")
                base = parts[: len(parts) - node.level + is_package]
                origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                deeper = f"{origin}.{alias.name}"
                yield deeper if origin.startswith("symtheory") and exists(deeper) else origin
        elif isinstance(node, ast.Call) and dotted(node.func).endswith(("import_module", "__import__")):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of an expression made of names and attributes; ``.c`` of an attribute of anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module does that it must not."""
    found = []
    own = room(module)
    if own not in FLOORS:
        return [f"{module} stands on no floor: add {own!r} to FLOORS"]
    for target in imports(module, source, is_package=is_package):
        first = target.split(".")[0]
        if first == "matplotlib" and own != "plots":
            found.append(f"{module} imports {target}: only plots may")
        if first in MODULES:
            found.append(f"{module} imports {target}: results are netCDF and JSON")
        if first != "symtheory" or room(target) == own:
            continue
        if FLOORS.get(room(target), 99) >= FLOORS[own] or (own, room(target)) in FORBIDDEN:
            found.append(f"{module} imports {target}: not below it")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if dotted(node.func) in CALLS:
            found.append(f"{module} calls {dotted(node.func)}")
        if any(k.arg == "allow_pickle" and not (isinstance(k.value, ast.Constant) and k.value.value is False)
               for k in node.keywords):  # fmt: skip
            found.append(f"{module} allows pickle")
    return found


@pytest.mark.parametrize(("module", "source"), [pytest.param(m, s, id=m) for m, s in sources()])
def test_a_module_uses_only_what_lies_below_it(module: str, source: str) -> None:
    is_package = (ROOT.parent.joinpath(*module.split(".")) / "__init__.py").is_file()
    assert faults(module, source, is_package=is_package) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("symtheory.spec.x", "from symtheory.engine import model", "symtheory.engine.model: not below"),
        ("symtheory.engine.x", "def f():\n    import symtheory.theorems.base", "theorems.base: not below"),
        ("symtheory.engine.x", "from ..lab import store", "symtheory.lab.store: not below"),
        ("symtheory.lab.x", "from symtheory.figures import base", "figures.base: not below"),
        ("symtheory.lab.x", "from symtheory import theorems", "symtheory.theorems: not below"),
        ("symtheory.figures.x", "from symtheory.lab import store", "lab.store: not below"),
        ("symtheory.figures.x", "import importlib\nimportlib.import_module('symtheory.cli')", "cli: not below"),
        ("symtheory.figures.x", "if 1:\n    from matplotlib import pyplot", "only plots may"),
        ("symtheory.monitor", "from symtheory.gallery import load", "gallery: not below"),
        ("symtheory.spec.x", "print(1)", "calls print"),
        ("symtheory.lab.x", "import pickle", "netCDF and JSON"),
        ("symtheory.lab.x", "import torch\ntorch.save(1, 'f')", "calls torch.save"),
        ("symtheory.lab.x", "import numpy as np\nnp.save('f', 1, allow_pickle=True)", "allows pickle"),
        ("symtheory.attic.x", "", "stands on no floor"),
    ],
)
def test_the_rules_see_a_breach(module: str, source: str, fault: str) -> None:
    (found,) = faults(module, source)
    assert fault in found


def test_the_rules_allow_what_they_should() -> None:
    assert (
        faults("symtheory.figures.x", "from symtheory.figures.base import Config\nfrom symtheory import errors") == []
    )
    assert faults("symtheory.plots.x", "import matplotlib.pyplot\nfrom symtheory.figures import FIGURES") == []
    assert (
        faults("symtheory.cli.x", "from symtheory.ledger import load\nimport numpy\nnumpy.load('f')\nf().print()") == []
    )

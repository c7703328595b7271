"""The library reference: nothing that is exported is missing from it, and docstrings reach it as they were meant."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isclass, isfunction, signature
from pathlib import Path
from pydoc import locate
from types import ModuleType

import pytest
from typer.testing import CliRunner

from symtheory.cli.app import app
from symtheory.spec import group_families, gsets, representations
from symtheory.theorems import Theorem

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "book" / "api.md", *sorted((ROOT / "book" / "api").glob("*.md")))
EXPORTING = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "symtheory").rglob("*.py"))
    if re.search(r"^__all__ = ", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@cache
def _entries() -> dict[str, str]:
    """Name of every entry to the directive that makes it; theorems are lines of tables."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found |= {
            name: kind for kind, name in re.findall(r"^\.\. ((?:auto|py:)\w+):: (symtheory\.\S+)$", text, re.MULTILINE)
        }
        for module, table in re.findall(
            r"^\.\. currentmodule:: (\S+)\n\n\.\. autosummary::\n(.*?)\n\n(?!   )", text, re.M | re.S
        ):
            found |= {f"{module}.{name}": "autosummary" for name in re.findall(r"^   (\w+)$", table, re.MULTILINE)}
    return found


def _extension(name: str) -> ModuleType:
    """A Sphinx extension of the book."""
    spec = spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _collects_theorems(value: object) -> bool:
    """A tuple of theorems needs no entry: each of them has its own."""
    return isinstance(value, tuple) and all(isinstance(item, Theorem) for item in value)


@pytest.mark.parametrize("name", EXPORTING)
def test_everything_exported_is_in_the_reference(name: str) -> None:
    """Each name in a module's ``__all__`` has an entry under that module."""
    module = import_module(name)
    wanted = {f"{name}.{export}" for export in module.__all__ if not _collects_theorems(getattr(module, export))}
    assert sorted(wanted - _entries().keys()) == []


def test_the_packages_of_tools_export() -> None:
    """What a researcher imports from declares what is public, so the test above sees it."""
    tools = ("discover", "monitor", "transforms", "transforms.dcs", "equivariant", "spec", "theorems", "cli")
    assert {f"symtheory.{name}" for name in tools} <= set(EXPORTING)


@pytest.mark.parametrize("module", [group_families, gsets, representations], ids=lambda module: module.__name__)
def test_every_way_to_make_a_group_and_its_actions_is_in_the_reference(module: ModuleType) -> None:
    """Modules without ``__all__`` whose functions are all for users."""
    public = [n for n, f in vars(module).items() if isfunction(f) and f.__module__ == module.__name__]
    wanted = {f"{module.__name__}.{name}" for name in public if not name.startswith("_")}
    assert wanted and sorted(wanted - _entries().keys()) == []


def test_every_entry_is_what_its_directive_says() -> None:
    """A class is listed as a class, a function as a function, and both say what they are."""
    kinds = {"autoclass": isclass, "autoexception": isclass, "autofunction": isfunction}
    wrong = [
        name
        for name, kind in _entries().items()
        if (value := locate(name)) is None or (kind in kinds and not (kinds[kind](value) and value.__doc__))
    ]
    assert wrong == []


def test_every_function_of_the_reference_tells_its_arguments_and_its_result() -> None:
    """An entry without them is a name and no more."""
    silent = []
    for name in (name for name, kind in _entries().items() if kind == "autofunction"):
        function, text = locate(name), getattr(locate(name), "__doc__", None) or ""
        told = re.findall(r"^ +\**(\w+):", text.partition("Args:\n")[2], re.MULTILINE)
        wanted = signature(function)  # type: ignore[arg-type]
        returns = wanted.return_annotation not in ("None", "NoReturn")
        if not set(wanted.parameters) <= set(told) or (returns and "Returns:\n" not in text):
            silent.append(name)
    assert silent == []


def test_every_page_of_the_reference_is_in_the_table_of_contents() -> None:
    """A page that is not in the contents is not built."""
    listed = re.findall(r"file: (book/api\S*)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.relative_to(ROOT).with_suffix("").as_posix() for page in PAGES)


@pytest.mark.parametrize(
    ("docstring", "rst"),
    [
        ("a mirror $P$ of\nrank $r\n+1$", "a mirror :math:`P` of\nrank :math:`r +1`"),
        ("so $$a = b$$ holds", "so \n\n.. math::\n\n   a = b\n\n holds"),
        (r"five \$ or one $", r"five \$ or one $"),
        ("``cost $a$``, $b$", "``cost $a$``, :math:`b`"),
        (">>> f('$a$')\n'$b$'\n\n$c$", ">>> f('$a$')\n'$b$'\n\n:math:`c`"),
        ("at most |a|, $|b|$", r"at most \|a\|, :math:`|b|`"),
        ("Source:\n    Paper A,\n    eq. (1).\n\n>>> 1\n1", ":Source: Paper A, eq. (1).\n\n>>> 1\n1"),
        ("Returns:\n    Two things: $a$, b.\n\nRaises:", ":returns: Two things: :math:`a`, b.\n\nRaises:"),
    ],
    ids=["formula", "display", "dollars", "code", "example", "bars", "source", "colon"],
)
def test_docstrings_reach_the_reference_as_they_were_meant(docstring: str, rst: str) -> None:
    """Formulas become formulas, examples and code stay, and the source is a field like the result."""
    assert _extension("docstrings").to_rst(docstring) == rst


def test_the_reference_has_every_command() -> None:
    """The page of the command line is made from the program, command by command."""
    text = _extension("commands").commands("symtheory.cli.app", "symtheory")
    told = re.findall(r"^## `symtheory (\w+)`$", text, re.MULTILINE)
    assert told and all(CliRunner().invoke(app, [command, "--help"]).exit_code == 0 for command in told)
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(told) == names
    assert "% commands: symtheory.cli.app as symtheory" in (ROOT / "book/api/commands.md").read_text(encoding="utf-8")

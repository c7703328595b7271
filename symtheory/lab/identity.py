"""What a shard is filed under: figure, settings, function, code, library versions.

The *code* of a shard is the digest of the module that defines its function and of every ``symtheory`` module that this
one imports, directly or not, also inside functions. Comments, docstrings, blank lines and texts about a class (its
attributes annotated ``ClassVar[str]``) do not count. So a changed trainer makes all its shards new, and a mended
sentence makes none. The versions of torch, numpy and numba count as
well, since numbers move with them. Packages on the way (``symtheory.figures`` of ``symtheory.figures.a3a``) do not
count unless something is imported from them: a registry must not tie all figures together.
"""

from __future__ import annotations

import ast
import functools
import inspect
import io
import json
import sys
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from symtheory.errors import SymtheoryError
from symtheory.lab.files import digest

#: Libraries whose version may change a result.
LIBRARIES = ("numba", "numpy", "torch")
_PACKAGE = Path(__file__).resolve().parents[1]


def canonical(value: object) -> str:
    """JSON that is the same for equal values.

    Args:
        value: Numbers, strings, booleans, ``None``, and lists, tuples and string-keyed mappings of these.

    Returns:
        JSON with sorted keys and without spaces; tuples become lists.

    Raises:
        SymtheoryError: If the value has no JSON form, for example NaN or an array.

    >>> canonical({"b": (1, 2.5), "a": None})
    '{"a":null,"b":[1,2.5]}'
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        lossless = _string_keys(value)
    except (TypeError, ValueError) as error:
        raise SymtheoryError("settings made of JSON values", str(error), "use numbers, strings and lists") from error
    if not lossless:
        raise SymtheoryError("settings with string keys", f"{value!r}", "name the settings")
    return text


def _string_keys(value: object) -> bool:
    """Whether all keys are strings (JSON would turn the others into strings silently)."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _string_keys(v) for k, v in value.items())
    return all(map(_string_keys, value)) if isinstance(value, (list, tuple)) else True


@dataclass(frozen=True)
class Identity:
    """Everything the content of a shard depends on.

    Attributes:
        figure: Id of the figure.
        settings: Canonical JSON of the shard.
        function: Dotted name of the function, with what is bound to it.
        code: Digest of its code.
        libraries: Versions, as canonical JSON.
    """

    figure: str
    settings: str
    function: str
    code: str
    libraries: str

    def text(self) -> str:
        """All fields, as written into the file of the shard.

        Returns:
            Canonical JSON.
        """
        return canonical(vars(self))

    @property
    def key(self) -> str:
        """Name under which the shard is filed: 32 hexadecimal digits."""
        return digest(self.text().encode())[:32]


def identify(figure: str, function: Callable[..., object], shard: Mapping[str, object]) -> Identity:
    """Identity of one shard.

    Args:
        figure: Id of the figure.
        function: What is called with the shard.
        shard: Its settings.

    Returns:
        The identity.

    Raises:
        SymtheoryError: If the settings are not JSON or the function hides settings of its own.
    """
    name, code = describe(function)
    return Identity(figure, canonical(shard), name, code, canonical(library_versions()))


def describe(function: Callable[..., object]) -> tuple[str, str]:
    """Name and code digest of a shard function.

    Args:
        function: A function that can be imported by name; a method of an object with JSON state, or such an object
            itself if it can be called; or a ``functools.partial`` of these with arguments that are JSON or
            functions again.

    Returns:
        The name with everything bound to the function, and the digest of its code.

    Raises:
        SymtheoryError: If two different functions could look the same, as closures and lambdas do.
    """
    bound: list[object] = []
    inner: Any = function
    while isinstance(inner, functools.partial):
        bound.append([list(map(_settled, inner.args)), {k: _settled(v) for k, v in inner.keywords.items()}])
        inner = inner.func
    if not hasattr(inner, "__qualname__"):  # an object that can be called
        inner = inner.__call__
    owner = getattr(inner, "__self__", None)
    modules = {str(getattr(inner, "__module__", None))}
    if owner is not None and not inspect.ismodule(owner):
        kind, state = (owner, {}) if inspect.isclass(owner) else (type(owner), _state(owner))
        bound.append([f"{kind.__module__}.{kind.__qualname__}", state])
        modules.add(kind.__module__)
    name = f"{getattr(inner, '__module__', None)}.{getattr(inner, '__qualname__', None)}"
    if not _importable(inner):
        raise SymtheoryError(
            "a shard function that can be imported by name",
            f"{name}",
            "define it at the top of a module and hand it its settings in the shard",
        )
    suffix = canonical(bound) if bound else ""
    return name + suffix, digest("".join(map(code_digest, sorted(modules))).encode())[:16]


def _settled(value: object) -> object:
    """An argument as JSON: a function that is handed over, such as one that loads data, as its name and its code."""
    return list(describe(value)) if callable(value) else value


def _state(owner: object) -> dict[str, Any]:
    """Everything an object holds, in its dictionary or in slots."""
    slots = {name for kind in type(owner).__mro__ for name in getattr(kind, "__slots__", ())}
    return {name: getattr(owner, name) for name in {*slots, *getattr(owner, "__dict__", {})} if hasattr(owner, name)}


def _importable(function: Any) -> bool:
    """Whether module and qualified name lead back to this very function."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in str(getattr(function, "__qualname__", "?")).split("."):
        found = getattr(found, part, None)
    return found is not None and getattr(found, "__func__", found) is getattr(function, "__func__", function)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on.

    Returns:
        Name to version; libraries that are not installed are left out.
    """
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def code_digest(module: str) -> str:
    """Digest of a module and of the ``symtheory`` modules it is built from.

    Args:
        module: Dotted name of a module of ``symtheory``, or of any that was imported.

    Returns:
        16 hexadecimal digits.

    Raises:
        SymtheoryError: If the source of the module cannot be found.
    """
    start = module_file(module) or getattr(sys.modules.get(module), "__file__", None)
    if start is None or not Path(start).is_file():
        raise SymtheoryError(
            f"the source file of {module}", "none", "move the shard function from the session into a module"
        )
    sources: dict[str, str] = {}
    todo = [(module, Path(start))]
    while todo:
        name, path = todo.pop()
        if name in sources:
            continue
        text = path.read_text(encoding="utf-8")
        sources[name] = bare_source(text)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        todo += [(m, p) for m in imported(text, package) if m not in sources and (p := module_file(m))]
    return digest(canonical(sources).encode())[:16]


def imported(source: str, package: str) -> set[str]:
    r"""Modules that some source names in its imports, also inside functions.

    Args:
        source: Python source.
        package: The package it belongs to, for relative imports.

    Returns:
        Dotted names. For ``from a import b`` this is ``a.b`` where that is a module of ``symtheory``, else ``a``.

    >>> sorted(imported("import os\ndef f():\n    from symtheory.spec import claim", ""))
    ['os', 'symtheory.spec.claim']
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{origin}.{a.name}" if module_file(f"{origin}.{a.name}") else origin for a in node.names}
    return found


def module_file(module: str) -> Path | None:
    """Source of a module of this package.

    Args:
        module: Dotted name.

    Returns:
        Its file; ``None`` for names that are not modules of ``symtheory``.
    """
    first, *rest = module.split(".")
    if first != _PACKAGE.name:
        return None
    base = _PACKAGE.joinpath(*rest)
    for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
        if path.is_file():
            return path
    return None


def bare_source(source: str) -> str:
    r"""Source without docstrings, texts about classes, comments and blank lines, the same on every version of Python.

    Args:
        source: Python source.

    Returns:
        The lines that make a difference.

    >>> bare_source('def f():  # why\n    "Doc."\n\n    return 1\n')
    'def f():\n    return 1'
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for statement in [*node.body[:1], *(node.body if isinstance(node, ast.ClassDef) else [])]:
            if _is_text(statement):
                for row in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
                    lines[row] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string, or a class attribute that holds one."""
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.annotation) == "ClassVar[str]"
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)

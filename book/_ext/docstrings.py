"""The library reference: docstrings write formulas as Markdown does, and Sphinx reads reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import get_annotations
from itertools import groupby
from pydoc import locate
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

_TOKEN = re.compile(r"(``.+?``|\$\$.+?\$\$|(?<![\\$])\$(?!\$).+?(?<!\\)\$)", re.DOTALL)
_FIELD = re.compile(r"^(Returns|Yields|Source):\s+(.+?)(?=\n\s*\n|\s*\Z|\n\S)", re.MULTILINE | re.DOTALL)

_SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)
_LISTED = re.compile(r"<(/?)(d[ld])>")
_NAMES = {"Returns": "returns"}


def to_rst(text: str) -> str:
    r"""Formulas between dollars as roles and directives, outside of examples and of code.

    >>> to_rst("a mirror $P$ of rank 1, ``$P`` in the shell")
    'a mirror :math:`P` of rank 1, ``$P`` in the shell'
    >>> to_rst(">>> price('$1', '$2')")
    ">>> price('$1', '$2')"
    """
    return "\n".join(part if example else _prose(part) for example, part in _parts(text))


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """Examples, from a prompt to the next empty line, and what lies between them."""
    inside, marked = False, []
    for line in text.split("\n"):
        inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
        marked.append((inside, line))
    for example, lines in groupby(marked, key=lambda pair: pair[0]):
        yield example, "\n".join(line for _, line in lines)


def _prose(text: str) -> str:
    """Formulas; and as fields what the Google style does not know, or would take for a type up to the first colon."""
    text = "".join(_token(piece) if i % 2 else piece.replace("|", r"\|") for i, piece in enumerate(_TOKEN.split(text)))
    return _FIELD.sub(lambda m: f":{_NAMES.get(m[1], m[1])}: " + " ".join(m[2].split()), text)


def _token(text: str) -> str:
    """A formula as role or directive; code as it is."""
    body = " ".join(text.strip("$").split())
    if text.startswith("``"):
        return text
    return f"\n\n.. math::\n\n   {body}\n\n" if text.startswith("$$") else f":math:`{body}`"


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Change a docstring in place; a theorem is told by its claim."""
    claim = getattr(obj, "claim", None) if what == "data" else None
    lines[:] = [f"{claim.title} ({claim.id})"] if claim is not None else to_rst("\n".join(lines)).split("\n")


def add_types(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The attributes of a class with their types, as written in it."""
    if what == "class":
        types = {key: text for base in reversed(obj.__mro__) for key, text in get_annotations(base).items()}
        found = [m[1] for line in lines if (m := re.match(r":ivar (\w+):", line))]
        at = next((i for i, line in enumerate(lines) if line.startswith(":ivar")), 0)
        lines[at:at] = [f":vartype {key}: {types[key]}" for key in found if isinstance(types.get(key), str)]


def order_fields(app: Sphinx, domain: str, kind: str, content: nodes.Element) -> None:
    """The type of a result beside the result."""
    for fields in content.findall(nodes.field_list):
        named = {field[0].astext(): field for field in fields.findall(nodes.field)}
        result = named.get("returns") or named.get("Yields")
        if result is not None and "rtype" in named:
            fields.remove(named["rtype"])
            fields.insert(fields.index(result) + 1, named["rtype"])


def name_attributes(app: Sphinx, tree: nodes.document) -> None:
    """What Sphinx calls variables are attributes, in Python's own words."""
    for name in tree.findall(nodes.field_name):
        if name.astext() == "Variables":
            name[0] = nodes.Text("Attributes")


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element) -> nodes.Element | None:
    """Names of the library that are listed under a shorter path; names that have no entry stay as text."""
    if node.get("refdomain") != "py":
        return None
    target, entries = node["reftarget"], env.get_domain("py").objects
    ours = target.startswith("symtheory.")
    meant = locate(target) if ours else None
    if ours and meant is None:
        return None
    for name in (n for n in entries if n.endswith("." + target.rsplit(".", 1)[-1])):
        if locate(name) is meant if ours else target[0].isupper() and "." not in target:
            return make_refnode(app.builder, node["refdoc"], entries[name].docname, entries[name].node_id, [text], name)
    return text


def _as_span(tag: re.Match[str]) -> str:
    """The list of a signature, or a line of it, as text."""
    return "</span>" if tag[1] else f'<span class="{"sig-lines" if tag[2] == "dl" else "sig-line"}">'


def tidy_signatures(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    """A signature of several lines is no list of definitions to a screen reader."""
    if "body" in context:
        context["body"] = _SIGNATURE.sub(lambda m: _LISTED.sub(_as_span, m[0]), context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to autodoc, ahead of the step that reads the Google style, and after it."""
    for extension in ("sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"):
        app.setup_extension(extension)
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-process-docstring", add_types, priority=600)
    app.connect("object-description-transform", order_fields, priority=600)
    app.connect("doctree-read", name_attributes)
    app.connect("missing-reference", resolve)
    app.connect("html-page-context", tidy_signatures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx extension of this book: no page reaches for the network, runs a script twice or misnames a list."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def tidy_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Drop Thebe, which would be loaded from a content network, and inline scripts that were registered twice."""
    seen: set[str] = set()
    kept = []
    for script in context.get("script_files", []):
        name, body = str(script), getattr(script, "attributes", {}).get("body") or ""
        key = body or name
        if "thebe" in name.lower() or "THEBE" in body or key in seen:
            continue
        seen.add(key)
        kept.append(script)
    context["script_files"] = kept
    context["css_files"] = [sheet for sheet in context.get("css_files", []) if "thebe" not in str(sheet)]


def tidy_bibliography(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """The entries of a bibliography are no list items, so what holds them is no list to a screen reader."""
    if "body" in context:
        context["body"] = context["body"].replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", tidy_scripts, priority=999)
    app.connect("html-page-context", tidy_bibliography)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

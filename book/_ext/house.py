"""Sphinx extension of this book: nothing on a page reaches for the network, and no script runs twice."""

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


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", tidy_scripts, priority=999)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""A local server for the built book and a Chromium that can reach nothing else."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SIZES = {"desktop": (1280, 900), "phone": (375, 812)}


def _cannot_run(reason: str) -> NoReturn:
    """Skip, or fail where the browser tests were promised to run."""
    if os.environ.get("SYMTHEORY_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Visit:
    """A loaded page and everything that went wrong while it loaded."""

    page: Page
    problems: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def html() -> Path:
    """Folder of the built book."""
    folder = ROOT / os.environ.get("SYMTHEORY_HTML", "_build/html")
    if not (folder / "index.html").exists():
        _cannot_run(f"no built book in {folder}: run 'make book'")
    return folder


@pytest.fixture(scope="session")
def axe_source() -> str:
    """The accessibility checker as JavaScript."""
    path = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
    if not path.exists():
        _cannot_run("axe-core is not installed: run 'make axe'")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def address(html: Path) -> Iterator[str]:
    """Where the book is served."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A page that is closed early drops its connections; failures show on the page."""

    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium: ``$CHROMIUM``, or the first one on the path."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = os.environ.get("CHROMIUM") or next((p for n in names if (p := shutil.which(n))), None)
    if executable is None:
        _cannot_run("no Chromium: install it, or name it in $CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=ARGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Visit]]:
    """Opens a page of the book in a fresh profile, waits until it is typeset, and notes problems."""
    contexts = []

    def open_page(path: str, theme: str = "light", size: str = "desktop") -> Visit:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');")
        page = context.new_page()
        seen = Visit(page)

        def local_only(route: Route) -> None:
            if route.request.url.startswith((address + "/", "data:", "blob:")):
                route.continue_()
            else:
                seen.problems.append(f"asked the network for {route.request.url}")
                route.abort()

        context.route("**/*", local_only)
        page.on("console", lambda m: seen.problems.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: seen.problems.append(f"script error: {e}"))
        page.on("requestfailed", lambda r: seen.problems.append(f"failed: {r.url}"))
        page.on("response", lambda r: seen.problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.goto(f"{address}/{path}", wait_until="networkidle")
        page.evaluate("() => window.MathJax?.startup?.promise")
        return seen

    yield open_page
    for context in contexts:
        context.close()

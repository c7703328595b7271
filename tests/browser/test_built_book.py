"""What a reader of the built book gets: on a desk, on a phone, in the dark, by keyboard, without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]


def _files(node: object) -> Iterator[str]:
    """All pages named in the table of contents, in reading order."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("root", "file") if key in node)
        for key in ("parts", "chapters", "sections"):
            yield from _files(node.get(key))
    elif isinstance(node, list):
        for item in node:
            yield from _files(item)


TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [f"{name}.html" for name in _files(TOC)]
every_page = pytest.mark.parametrize("path", PAGES)
every_size = pytest.mark.parametrize("size", ["desktop", "phone"])
every_theme = pytest.mark.parametrize("theme", ["light", "dark"])
Open = Callable[..., Any]  # the fixture `visit`: (path, theme, size) -> the loaded page and its problems


class _Document(HTMLParser):
    """Anchors, links and loaded resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") not in ("canonical", "license"):
            self.loaded.append(found.get("href", ""))
        if tag != "a" and "src" in found:
            self.loaded.append(found["src"])


@cache
def _document(path: Path) -> _Document:
    return _Document(path.read_text(encoding="utf-8"))


def test_toc_is_what_was_built(html: Path) -> None:
    """Every page of the table of contents is there, and no other page was built."""
    built = {p.relative_to(html).as_posix() for p in (html / "book").rglob("*.html")}
    assert built == set(PAGES)


def test_every_figure_of_the_source_has_its_picture(html: Path) -> None:
    """A cell that promises a figure must have drawn one: a caption without a picture builds without complaint."""
    missing = []
    for name in _files(TOC):
        source = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        page = (html / f"{name}.html").read_text(encoding="utf-8")
        for figure in re.findall(r"^ {4}name: (fig-[\w-]+)$", source, re.MULTILINE):
            found = re.search(rf'<figure[^>]*id="{figure}".*?</figure>', page, re.DOTALL)
            if found is None or "<img" not in found[0]:
                missing.append(f"{name}: {figure}")
    assert missing == []


def test_nothing_is_loaded_from_elsewhere(html: Path) -> None:
    """No script, style, font or image has a remote address."""
    remote = [
        f"{page.name}: {address}"
        for page in html.rglob("*.html")
        for address in _document(page).loaded
        if re.match(r"(https?:)?//", address)
    ]
    pattern = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^)'\"\s]+)")
    for sheet in html.rglob("*.css"):
        remote += [f"{sheet.name}: {found}" for found in pattern.findall(sheet.read_text(encoding="utf-8"))]
    assert not remote


@every_page
def test_internal_links_lead_somewhere(path: str, html: Path) -> None:
    """Each link inside the book names a page that exists and an anchor that is on it."""
    broken = []
    for link in _document(html / path).links:
        target, fragment = urldefrag(urljoin(f"http://book/{path}", link))
        if urlsplit(link).scheme or link.startswith("//"):
            continue
        file = html / unquote(target.removeprefix("http://book/"))
        missing = not file.is_file() or (
            fragment and file.suffix == ".html" and unquote(fragment) not in _document(file).anchors
        )
        if missing:
            broken.append(link)
    assert not broken


@every_page
def test_loads_cleanly(path: str, visit: Open) -> None:
    """No error on the console, no failed request, no request beyond the book."""
    assert visit(path).problems == []


def test_front_door_leads_to_the_first_page(visit: Open) -> None:
    """The bare address shows the first page."""
    opened = visit("index.html")
    opened.page.wait_for_url(f"**/{PAGES[0]}")
    assert opened.page.locator("article h1").count() == 1


@every_page
def test_formulas_are_typeset(path: str, html: Path, visit: Open) -> None:
    """Every formula in the source became a MathJax container, without errors and without raw delimiters left over."""
    page = visit(path).page
    source = (html / path).read_text(encoding="utf-8")
    written = len(re.findall(r'class="(?:[^"]* )?math notranslate', source))
    assert page.locator("mjx-container").count() >= written
    assert page.locator("mjx-merror, [data-mml-node='merror']").count() == 0
    text = page.evaluate(
        """() => {
          const copy = document.querySelector('article').cloneNode(true);
          copy.querySelectorAll('pre, code, script, style, mjx-container').forEach(e => e.remove());
          return copy.textContent;
        }"""
    )
    assert not re.findall(r"\\\(|\\\[|\$\$|\\[a-zA-Z]{2,}", text)
    assert not re.findall(r"\|\s*(?:-{3,}|\u2014)\s*\|", text), "a table that was not recognised as one"


@every_page
def test_pictures_are_described(path: str, visit: Open) -> None:
    """Each picture of the article has a text alternative and a caption."""
    bare = visit(path).page.evaluate(
        """() => [...document.querySelectorAll('article img, article svg[role=img]')].filter(img => {
          const label = ['alt', 'aria-label', 'aria-labelledby'].map(a => img.getAttribute(a)).find(Boolean);
          const caption = img.closest('figure')?.querySelector('figcaption');
          return !(label || '').trim() || !(caption?.textContent || '').trim();
        }).map(img => img.outerHTML.slice(0, 200))"""
    )
    assert bare == []


@every_page
def test_fits_a_phone(path: str, visit: Open) -> None:
    """At 375 px nothing makes the page scroll sideways, and the text is neither tiny nor squeezed."""
    page = visit(path, size="phone").page
    width, inner = page.evaluate("() => [document.scrollingElement.scrollWidth, window.innerWidth]")
    wide = page.evaluate(
        """() => [...document.querySelectorAll('.bd-article-container *')].filter(e => {
          if (e.getBoundingClientRect().right <= innerWidth + 1) return false;
          for (let p = e.parentElement; p; p = p.parentElement)
            if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX) && p.clientWidth <= innerWidth)
              return p.matches('body, html, .bd-main, .bd-content, .bd-article-container, main, article');
          return true;
        }).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert width <= inner + 1 and wide == []
    small = page.evaluate(
        """() => [...document.querySelectorAll('article p, article li, article td, article figcaption, article pre')]
          .filter(e => e.textContent.trim() && e.getClientRects().length)
          .filter(e => parseFloat(getComputedStyle(e).fontSize) < 13)
          .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert small == []
    assert page.locator("article").bounding_box()["width"] >= 300


@every_page
@every_theme
@every_size
def test_accessible(path: str, theme: str, size: str, visit: Open, axe_source: str) -> None:
    """The accessibility checker finds nothing serious or critical; the theme under test is the theme on screen."""
    page = visit(path, theme=theme, size=size).page
    assert page.evaluate("() => document.documentElement.dataset.theme") == theme
    page.evaluate(axe_source)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    grave = [
        f"{v['id']} ({v['impact']}): {n['target']} {n['html'][:160]} {n['failureSummary'][:300]}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"]
    ]
    assert not grave, "\n".join(grave)


def _tab_stops(opened: Any, count: int) -> list[dict[str, Any]]:
    """The first elements that the Tab key reaches."""
    stops = []
    for _ in range(count):
        opened.page.keyboard.press("Tab")
        stops.append(
            opened.page.evaluate(
                """() => {
                  const e = document.activeElement, s = getComputedStyle(e), box = e.getBoundingClientRect();
                  return {
                    href: e.getAttribute('href'), classes: e.className, text: e.textContent.trim(),
                    label: e.getAttribute('aria-label') || e.getAttribute('title') || e.textContent.trim(),
                    nav: !!e.closest('nav.bd-links, .bd-sidebar-primary nav, .sidebar-primary__section'),
                    shown: box.width > 0 && box.height > 0 && s.visibility !== 'hidden',
                    marked: s.outlineStyle !== 'none' || s.boxShadow !== 'none',
                  };
                }"""
            )
        )
    return stops


def test_keyboard_reaches_skip_link_and_navigation(visit: Open) -> None:
    """The first stop skips to the text; the next ones lead through the navigation; each is visible and marked."""
    opened = visit(PAGES[0])
    stops = _tab_stops(opened, 12)
    assert stops[0]["href"] == "#main-content" and "skip" in stops[0]["text"].lower()
    reached = {Path(stop["href"]).name for stop in stops if stop["nav"] and stop["href"]}
    assert {Path(page).name for page in PAGES[1:3]} <= reached
    assert all(stop["shown"] and stop["label"] for stop in stops)
    assert [stop for stop in stops if not stop["marked"]] == []


def test_keyboard_skip_link_moves_to_the_text(visit: Open) -> None:
    """Enter on the skip link goes to the main part, past the navigation."""
    page = visit(PAGES[0]).page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("() => !!document.activeElement.closest('main, .bd-main')")


def test_keyboard_opens_the_navigation_on_a_phone(visit: Open) -> None:
    """On a phone the navigation is behind a button that the Tab key reaches and Enter presses."""
    opened = visit(PAGES[0], size="phone")
    page = opened.page
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.matches('.primary-toggle')"):
            break
    assert page.evaluate("() => document.activeElement.matches('.primary-toggle')")
    page.keyboard.press("Enter")
    link = page.locator(f"a[href$='{Path(PAGES[1]).name}']").first
    link.wait_for(state="visible")

"""What a browser finds wrong with a page that is a file: Chromium, without a window, led by playwright."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDTHS = (400, 1280)  # a phone, and a slide's projector
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LOOK = """() => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  const root = document.documentElement, wrong = [];
  for (const image of document.images) {
    if (!image.complete || image.naturalWidth === 0) wrong.push("broken picture " + image.getAttribute("src"));
    if (!image.alt) wrong.push("picture without a text in its place: " + image.getAttribute("src"));
  }
  const [wide, window] = [root.scrollWidth, root.clientWidth];
  if (wide > window) wrong.push(`${wide} pixels wide in a window of ${window}`);
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(link.getAttribute("href").slice(1))) wrong.push("link to nothing: " + link.href);
  const steps = [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map(h => Number(h.tagName[1]));
  if (steps[0] !== 1 || steps.some((s, i) => i && s > steps[i - 1] + 1)) wrong.push("headings out of order: " + steps);
  return wrong;
}"""


def why_no_browser() -> str | None:
    """What is missing, with the command that brings it; None if nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "opening the page needs playwright: pip install playwright"
    if _program() is None:
        return "opening the page needs Chromium: apt-get install chromium"
    return None


def _program() -> str | None:
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


@contextlib.contextmanager
def a_browser() -> Iterator[Any]:
    """A browser for :func:`findings`; starting it takes a second."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # CI runs as the superuser, for whom Chromium has no sandbox. The pages are our own.
        browser = playwright.chromium.launch(executable_path=_program(), args=["--no-sandbox"])
        yield browser
        browser.close()


def findings(browser: Any, path: Path, width: int, scheme: str = "light", picture: Path | None = None) -> list[str]:
    """Everything that is wrong with the page in a window of this width, in the ``light`` or ``dark`` scheme.

    Broken pictures, messages on the browser's console, requests that fail or leave the machine, a page wider than its
    window, links to nothing. ``picture`` is a file for a screenshot of the whole page.
    """
    wrong: list[str] = []

    def request(asked: Any) -> None:
        if not asked.url.startswith(("file:", "data:")):
            wrong.append(f"request to {asked.url}")

    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda said: wrong.append(f"console, {said.type}: {said.text}"))
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("requestfailed", lambda asked: wrong.append(f"request failed: {asked.url}"))
    page.on("request", request)
    page.goto(path.resolve().as_uri())
    if picture is not None:
        page.screenshot(path=picture, full_page=True)
    wrong += page.evaluate(_LOOK)
    page.close()
    return wrong

"""The page of gpunn demo all: what is on it, and what a browser says of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpunn.cli import pictures
from gpunn.cli.gallery import write_gallery
from gpunn.cli.main import main
from gpunn.demos import NAMES
from tests.demos.page import WIDTHS, a_browser, findings, why_no_browser
from tests.demos.sizes import SIZES

pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[demo]'")
_NO_BROWSER = why_no_browser()
if _NO_BROWSER is not None and os.environ.get("GPUNN_TEST_BROWSER"):
    raise pytest.UsageError(f"GPUNN_TEST_BROWSER is set: {_NO_BROWSER}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Demonstrations that take no time, in place of all; what is put here by name runs instead."""
    own: dict[str, Any] = {}

    def draw(result: Any) -> Any:
        from gpunn.plots.style import new_figure

        figure = new_figure()
        figure.subplots().plot([0, 1])
        return figure

    lines = ["It is <so> & measured.", "  n   error", "  4   0.5", f"{'long ' * 40}end."]
    usual = SimpleNamespace(run=lambda **_: None, lines=lambda result: lines, draw=draw)
    monkeypatch.setattr(pictures, "load", lambda name: own.get(name, usual))
    return own


class _Structure(HTMLParser):
    """Tags that are open, to see that all are closed, and the attributes of all."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_has_pictures_lines_and_programs(quick: dict[str, Any], tmp_path: Path, capsys) -> None:
    assert main(["demo", "all", "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == f"The page is {tmp_path / 'new' / 'index.html'}."
    text = (tmp_path / "new" / "index.html").read_text()
    page = _Structure(text)
    assert page.open == []
    assert dict(page.tags)["html"] == {"lang": "en"}
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["src"] for image in images] == [f"{name}.png" for name in NAMES]
    assert all(image["alt"] for image in images)
    assert all((tmp_path / "new" / f"{name}.png").read_bytes()[:4] == b"\x89PNG" for name in NAMES)
    assert text.count("<p>It is &lt;so&gt; &amp; measured.</p>") == len(NAMES)
    assert text.count('<pre tabindex="0">n   error\n4   0.5</pre>') == len(NAMES), "columns keep their places"
    assert "def draw(r)" in text
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert main(["demo", "all", "--out", str(tmp_path / "new")]) == 0, "over its own"


def test_one_that_fails_is_told_and_the_others_run(quick: dict[str, Any], tmp_path: Path, capsys) -> None:
    def run(**_: Any) -> None:
        raise ValueError("no <numbers>")

    quick["approximation"] = SimpleNamespace(run=run)
    assert main(["demo", "all", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"1 of {len(NAMES)} failed: approximation. The page says why." in out
    text = (tmp_path / "index.html").read_text()
    assert text.count("Failed: ") == 1
    assert "no &lt;numbers&gt;" in text
    assert text.count("<img") == len(NAMES) - 1
    assert _Structure(text).open == []


def test_a_page_that_was_stopped_says_what_did_not_run(quick: dict[str, Any], tmp_path: Path) -> None:
    def run(**_: Any) -> None:
        raise KeyboardInterrupt

    quick[NAMES[1]] = SimpleNamespace(run=run)
    assert main(["demo", "all", "--out", str(tmp_path)]) == 130
    text = (tmp_path / "index.html").read_text()
    assert text.count("Not run yet.") == len(NAMES) - 1
    assert text.count("<img") == 1


# -- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if _NO_BROWSER is not None:
        pytest.skip(_NO_BROWSER)
    with a_browser() as found:
        yield found


def test_a_browser_notices_what_is_wrong(browser: Any, quick: dict[str, Any], tmp_path: Path) -> None:
    """So that the next test can fail."""
    assert write_gallery(tmp_path, seed=0, device="cpu", told=print, names=NAMES[:2])
    page = tmp_path / "index.html"
    text = page.read_text()
    for width in WIDTHS:
        assert findings(browser, page, width) == []
    for old, new, wrong in (
        (f'<img src="{NAMES[0]}.png"', '<img src="gone.png"', "broken picture gone.png"),
        ('alt="', 'title="', f"picture without a text in its place: {NAMES[0]}.png"),
        ("</body>", "<script>console.error('oh')</script></body>", "console, error: oh"),
        ("</body>", "<script>nobody()</script></body>", "script: nobody is not defined"),
        ("</body>", '<p style="width: 2000px">wide</p></body>', " pixels wide in a window of 1280"),
        ("</body>", '<img src="http://127.0.0.1:9/a.png" alt="a"></body>', "request to http://127.0.0.1:9/a.png"),
        (f'id="{NAMES[0]}"', 'id="other"', "link to nothing: "),
        ("<h1>", "<h3>", "headings out of order: 3,2"),
    ):
        assert old in text
        page.write_text(text.replace(old, new, 1))
        found = findings(browser, page, 1280)
        assert any(wrong in one for one in found), (wrong, found)


@pytest.mark.tools
def test_a_browser_finds_nothing_wrong_with_all_demonstrations(browser: Any, tmp_path: Path) -> None:
    """At reduced sizes. With a folder in GPUNN_TEST_PAGE the page and screenshots of it are kept there."""
    assert write_gallery(tmp_path, seed=0, device="cpu", told=print, sizes=SIZES)
    keep = os.environ.get("GPUNN_TEST_PAGE")
    if keep:
        shutil.copytree(tmp_path, keep, dirs_exist_ok=True)
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            picture = Path(keep) / f"{scheme}-{width}.png" if keep else None
            assert findings(browser, tmp_path / "index.html", width, scheme, picture) == []

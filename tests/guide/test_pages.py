"""Every example in the guide runs and prints what the guide shows; the pages that need PyTorch are elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.guide.programs import GUIDE, PAGES, blocks, check, programs


@pytest.mark.parametrize("page", programs("cpu"))
def test_runs(page: str, tmp_path: Path) -> None:
    check(page, "cpu", tmp_path)


@pytest.mark.emulator
@pytest.mark.parametrize("page", programs("emulator"))
def test_runs_on_the_emulator(page: str, tmp_path: Path) -> None:
    check(page, "emulator", tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("page", programs("gpu"))
def test_runs_on_a_gpu(page: str, tmp_path: Path) -> None:
    check(page, "gpu", tmp_path)


def test_every_page_has_its_module_and_is_listed() -> None:
    contents = (GUIDE / "guide.md").read_text()
    for page in PAGES:
        if page != "guide":
            assert f".. include:: {page}.md" in (GUIDE / f"{page}.py").read_text()
            assert f"`gpunn.guide.{page}`" in contents
            assert blocks(page), f"{page}.md has no example"


def test_what_is_not_run_is_said_to_be() -> None:
    """Chainer needs a NumPy and a Python of its time, which gpunn does not run with."""
    assert [block.page for page in PAGES for block in blocks(page) if block.kinds == ("nothing",)] == ["from_chainer"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", r"page.md:1 shows\s+3\s+and prints\s+2"),
        ("```python\nprint(1)\n```\n", r"page.md:1 shows\s+and prints\s+1"),
        ("\n```python\nx = 1\n1 / 0\n```\n", r'page.md", line 4.*ZeroDivisionError'),
        ("```python\nx = 1\n```\n\n```python\nprint(y)\n```\n", "NameError"),
        ("```text\n3\n```\n", "pop from empty list"),
        ("```ruby\n3\n```\n", "what is 'ruby'"),
        ("<!-- runs on: moon -->\n```python\n3\n```\n", "moon"),
    ],
)
def test_a_wrong_example_fails(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, IndexError)) as caught:
        check("page", "cpu", tmp_path, text)
    assert re.search(message, str(caught.value), re.DOTALL)

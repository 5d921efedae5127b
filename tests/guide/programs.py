"""The programs that the guide's pages are made of, and a process that runs one.

A page's code blocks that run on the same thing are one program, in their order. A comment says on what, from there on:
``<!-- runs on: cpu, gpu -->``; without one it is cpu. A block marked ``cuda`` is a file, which its first line names.
A block marked ``text`` is all that the block before it prints, line breaks aside; without one it prints nothing.
"""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).parent.parent.parent / "gpunn" / "guide"
PAGES = sorted(path.stem for path in GUIDE.glob("*.md"))
KINDS = ("cpu", "emulator", "gpu", "torch", "ranks", "nothing")  # ranks: by mpiexec; nothing: shown, and not run
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!-- runs on: ([\w, ]+) -->$", re.MULTILINE)
_END = "\x1e"
_DRIVER = f"""
import json, pathlib, re, sys
space = {{"__name__": "__main__"}}
for page, line, language, text in json.load(sys.stdin):
    if language == "cuda":
        pathlib.Path(re.match(r"// (\\w+\\.cu): ", text)[1]).write_text(text)
    else:
        exec(compile("\\n" * line + text, page, "exec"), space)
    print("{_END}", end="")
"""


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, the line of its fence, what it runs on and what it prints."""

    page: str
    line: int
    language: str
    text: str
    kinds: tuple[str, ...]
    prints: str = ""


def blocks(page: str, text: str | None = None) -> list[Block]:
    """A page's blocks that run, each with the output that the page shows."""
    text = (GUIDE / f"{page}.md").read_text() if text is None else text
    comments = [(found.start(), tuple(found[1].replace(" ", "").split(","))) for found in _COMMENT.finditer(text)]
    found: list[Block] = []
    for fence in _FENCE.finditer(text):
        kinds = next((kinds for start, kinds in reversed(comments) if start < fence.start()), ("cpu",))
        line = text[: fence.start()].count("\n") + 1
        assert set(kinds) <= set(KINDS), f"{page}.md: {kinds}"
        if fence[1] == "text":
            last = found.pop()
            assert last.language == "python", f"{page}.md:{line}: the output of what?"
            assert not last.prints, f"{page}.md:{line}: a second output"
            found.append(Block(page, last.line, last.language, last.text, last.kinds, fence[2]))
        elif fence[1] == "sh":
            assert re.fullmatch(r"(pip install .*\n)+", fence[2]), f"{page}.md:{line}: nothing runs this"
        else:
            assert fence[1] in ("python", "cuda"), f"{page}.md:{line}: what is {fence[1]!r}?"
            found.append(Block(page, line, fence[1], fence[2], kinds))
    return found


def programs(kind: str) -> list[str]:
    """The pages that have something to run on this."""
    return [page for page in PAGES if any(kind in block.kinds for block in blocks(page))]


def check(page: str, kind: str, folder: Path, text: str | None = None) -> None:
    """Run a page's program in a process of its own, and compare what each block prints with what the page shows."""
    program = [block for block in blocks(page, text) if kind in block.kinds]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _DRIVER],
        input=json.dumps([(f"{page}.md", block.line, block.language, block.text) for block in program]),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    checker = doctest.OutputChecker()
    for block, printed in zip(program, done.stdout.split(_END), strict=False):
        same = checker.check_output(block.prints, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert same, f"{page}.md:{block.line} shows\n{block.prints}\nand prints\n{printed}"

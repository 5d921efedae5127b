"""One static page with every demonstration: pictures, what they said, and their programs. No script, no network."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpunn import __version__
from gpunn.cli import failures, pictures
from gpunn.demos import NAMES, source, summary
from gpunn.errors import UsageError
from gpunn.plots.style import DPI, HEIGHT, WIDTH
from gpunn.serialize import write_atomically

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --soft: #595959; --line: #d0d0d0; --box: #f5f5f5;
  --link: #0b57a4; --bad: #a02020; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181a; --soft: #b0b0b0; --line: #44484c;
  --box: #212427; --link: #8ab8f0; --bad: #ff9c8f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
a { color: var(--link); }
h1 { font-size: 1.75rem; line-height: 1.2; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .5rem; }
nav ul { columns: 14rem; padding-left: 1.2rem; }
section { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: 1.5rem; }
figure { margin: 0; }
/* The pictures are slides on white. */
img { display: block; width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line); }
figcaption p { margin: .5rem 0; }
pre { overflow-x: auto; margin: .5rem 0; padding: .75rem; background: var(--box); border: 1px solid var(--line);
  font: .85rem/1.45 ui-monospace, monospace; }
summary { cursor: pointer; color: var(--link); }
.bad { color: var(--bad); font-weight: 600; }
.soft, footer { color: var(--soft); }
"""


@dataclass
class _Entry:
    """What is known of one demonstration so far."""

    name: str
    picture: str | None = None
    lines: list[str] = field(default_factory=list)
    error: str | None = None
    done: bool = False


def write_gallery(
    folder: Path,
    *,
    seed: int,
    device: str,
    told: Callable[[str], None],
    names: Sequence[str] = NAMES,
    sizes: Mapping[str, Mapping[str, Any]] | None = None,
) -> bool:
    """Run the demonstrations, and write ``index.html`` and a picture of each.

    The page is written anew after each, so one that fails or takes too long leaves the page of the others.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    seed, device
        As the demonstrations take them.
    told : callable
        Is given each line of text for the user.
    names : sequence of str
        Which.
    sizes : mapping, optional
        By name, arguments of a demonstration's ``run`` in place of its own.

    Returns
    -------
    bool
        Whether all of them succeeded.

    Raises
    ------
    UsageError
        If the folder is a file, or a file in it that has the name of one of ours was not written by us.
    DataError
        If nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out: gpunn demo all expected a folder; {folder} is a file.")
    pictures.check_folder(folder, "DIR")
    page = folder / "index.html"
    for path in (page, *(folder / f"{name}.png" for name in names)):
        pictures.keep_others(path, "--out DIR")
    entries = [_Entry(name) for name in names]
    for entry in entries:
        told(f"{entry.name}: {summary(entry.name)}")
        _run(entry, folder, seed, device, told, (sizes or {}).get(entry.name))
        told("")
        write_atomically(page, _page(entries, seed, device).encode())
    failed = [entry.name for entry in entries if entry.error]
    if failed:
        told(f"{len(failed)} of {len(entries)} failed: {', '.join(failed)}. The page says why.")
    told(f"The page is {page}.")
    return not failed


def _run(
    entry: _Entry, folder: Path, seed: int, device: str, told: Callable[[str], None], sizes: Mapping[str, Any] | None
) -> None:

    def line(text: str) -> None:
        entry.lines.append(text)
        told(text)

    picture = f"{entry.name}.png"
    try:
        pictures.make(entry.name, folder / picture, seed=seed, device=device, told=line, sizes=sizes)
        entry.picture = picture
    except Exception as error:  # whatever it is, the others still run, and page and exit status say it
        entry.error = failures.describe(error)[0]
        told(f"failed: {entry.error}")
    entry.done = True


def _page(entries: Sequence[_Entry], seed: int, device: str) -> str:
    links = "\n".join(f'<li><a href="#{entry.name}">{entry.name}</a></li>' for entry in entries)
    sections = "\n".join(_section(entry) for entry in entries)
    made = f"Made by <code>gpunn demo all</code> of gpunn {__version__}, seed {seed}, device {html.escape(device)}."
    # Without an icon of its own, browsers ask the server for one.
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{pictures.MARK} all">
<link rel="icon" href="data:,">
<title>Demonstrations of gpunn</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Demonstrations of gpunn</h1>
<p>What lectures on neural networks claim, shown by programs of less than 60 lines.
A picture opens in its full size.</p>
<nav aria-label="Demonstrations">
<ul>
{links}
</ul>
</nav>
</header>
<main>
{sections}
</main>
<footer>
<p>{made}</p>
</footer>
</body>
</html>
"""


def _section(entry: _Entry) -> str:
    claim, program = summary(entry.name), source(entry.name)
    parts = [f'<section id="{entry.name}" aria-labelledby="{entry.name}-title">']
    parts.append(f'<h2 id="{entry.name}-title">{entry.name}</h2>')
    parts.append(f"<p>{html.escape(claim)}</p>")
    said = _said(entry.lines)
    if entry.picture is not None:
        size = f'width="{round(WIDTH * DPI)}" height="{round(HEIGHT * DPI)}"'
        image = f'<img src="{entry.picture}" {size} alt="Slide: {html.escape(claim)}">'
        parts.append(f'<figure>\n<a href="{entry.picture}">{image}</a>\n<figcaption>\n{said}\n</figcaption>\n</figure>')
    elif said:
        parts.append(said)
    if entry.error is not None:
        parts.append(f'<p class="bad">Failed: {html.escape(entry.error)}</p>')
    elif not entry.done:
        parts.append('<p class="soft">Not run yet.</p>')
    count = len(program.splitlines())
    parts.append(f"<details>\n<summary>The program, {count} lines; <code>gpunn demo {entry.name}</code></summary>")
    parts.append(f'<pre tabindex="0"><code>{html.escape(program)}</code></pre>\n</details>\n</section>')
    return "\n".join(parts)


def _said(lines: Sequence[str]) -> str:
    """Its lines: sentences as paragraphs, which wrap; rows with columns keep their places."""
    parts: list[str] = []
    rows: list[str] = []
    for line in [*lines, ""]:
        if re.search(r"\S {2,}\S|^ ", line):
            rows.append(line)
            continue
        if rows:
            # On a telephone there is no room for an indentation.
            table = textwrap.dedent("\n".join(rows))
            parts.append(f'<pre tabindex="0">{html.escape(table)}</pre>')
            rows = []
        if line:
            parts.append(f"<p>{html.escape(line)}</p>")
    return "\n".join(parts)

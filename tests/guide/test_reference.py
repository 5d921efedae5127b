"""The pages that pdoc makes: every public name is there with its signature and docstring, and no link leads nowhere."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn._constants import layout
from gpunn._half import NoBfloat16
from gpunn._memory_format import memory_format
from tests.test_docstrings import _OPEN

pytest.importorskip("pdoc", reason="the guide's pages are made by pdoc: pip install 'gpunn[docs]'")

# Also public, in no package's __all__.
OPEN = [*_OPEN, "gpunn.autograd", "gpunn.emulator", "gpunn.gpu.launcher", "gpunn.onnx", "gpunn.primitive"]


class Page(HTMLParser):
    """The names and the links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id":
                self.names.add(value)
            elif key in ("href", "src") and not re.match(r"https?:|data:", value):
                self.links.append(value)


def build(folder: Path, *code: str) -> str:
    """Run the command as CI does, with warnings as errors; what it says."""
    program = [*(["-c", *code] if code else ["-m", "gpunn", "guide", "--out"]), str(folder)]
    done = subprocess.run([sys.executable, "-W", "error", *program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    assert build(folder) == f"wrote {folder / 'index.html'}\n"
    return folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(folder.rglob("*.html"))}


def test_every_link_leads_somewhere(folder: Path, pages: dict[Path, Page]) -> None:
    wrong, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            file, _, name = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if target.suffix == ".html" and target in pages:
                followed += 1
                wrong += [f"{path}: {link}"] if name and name not in pages[target].names else []
            else:
                wrong += [] if target.is_file() else [f"{path}: {link}"]
    assert wrong == []
    assert followed > 1000


def test_private_modules_have_no_page(folder: Path, pages: dict[Path, Page]) -> None:
    found = {".".join(path.relative_to(folder).with_suffix("").parts) for path in pages} - {"index"}
    assert {*OPEN} <= found
    for name in found - {*OPEN, "gpunn.guide"}:
        package, _, module = name.rpartition(".")
        assert module in importlib.import_module(package).__all__, name


@pytest.mark.parametrize("module", OPEN)
def test_every_public_name_is_there(module: str, folder: Path, pages: dict[Path, Page]) -> None:
    page = pages[folder / f"{module.replace('.', '/')}.html"]
    for name in importlib.import_module(module).__all__:
        thing: Any = getattr(importlib.import_module(module), name)
        if inspect.ismodule(thing) or name.startswith("__"):
            continue
        assert name in page.names, f"{module}.{name}"
        section = page.text[page.text.index(f'<section id="{name}">') :].split("</section>")[0]
        if not isinstance(thing, np.dtype | NoBfloat16 | memory_format | layout | float):
            assert 'class="docstring"' in section, f"{module}.{name} is there without its docstring"
        if inspect.isroutine(thing):
            assert 'class="signature' in section, f"{module}.{name} is there without its signature"


def test_a_class_has_what_its_private_bases_give_it(folder: Path, pages: dict[Path, Page]) -> None:
    names = pages[folder / "gpunn.html"].names
    assert {"Tensor.backward", "Tensor.sum", "Tensor.reshape", "Tensor.numpy", "Tensor.add_"} <= names
    names = pages[folder / "gpunn" / "nn.html"].names
    assert {"Module.named_parameters", "Module.load_state_dict", "Conv2d.__init__", "Conv2d.forward"} <= names
    assert not {"Conv2d.named_parameters", "Linear.load_state_dict"} & names, "Module's stand there once"


def test_signatures_show_types_by_their_public_names(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for signature in re.findall(r'<span class="signature.*?</span></span>', page.text):
            assert not re.search(r"gpunn\._", re.sub(r"<[^>]+>", "", signature)), path


def test_a_reference_to_nothing_is_told(tmp_path: Path) -> None:
    code = (
        "import sys, gpunn.errors; from gpunn.guide._build import write;"
        "gpunn.errors.ShapeError.__doc__ = 'See :class:`Nowhere`, and :class:`~gpunn.errors.DTypeError`.';"
        "write(sys.argv[1], ['gpunn.errors'])"
    )
    said = build(tmp_path, code)
    assert "gpunn.errors.ShapeError: the docstring refers to 'Nowhere', which is no public name" in said
    code = code.replace(":class:`Nowhere`", "nothing")
    assert build(tmp_path, code) == ""
    text = (tmp_path / "gpunn" / "errors.html").read_text()
    assert '<code><a href="#DTypeError">gpunn.errors.DTypeError</a></code>.' in text


def test_without_pdoc(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pdoc'] = None; from gpunn.cli.main import main;"
        "sys.exit(main(['guide', '--out', sys.argv[1]]))"
    )
    said = build(tmp_path, code)
    assert re.fullmatch(r"gpunn: error: the guide's pages .* pdoc \(.*\): pip install 'gpunn\[docs\]'\.\n", said)

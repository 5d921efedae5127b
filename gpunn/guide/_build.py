"""Writes the guide and the API reference as static HTML pages, by pdoc.

What pdoc does not know of itself is told here: which modules are public, that a class has what a private base gives
it, and that a name in a docstring which leads nowhere is a mistake. All of that is data for pdoc or a filter of its
templates; ``template/`` holds what looks different.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gpunn
from gpunn._version import __version__
from gpunn.errors import UsageError

# Packages stand for what their __all__ lists. The rest is public too, and in no __all__.
MODULES = (
    "gpunn",
    "gpunn.data.transforms",
    "gpunn.emulator",
    "gpunn.gpu.launcher",
    "gpunn.guide",
    "gpunn.nn.einops",
    "gpunn.nn.parallel",
    "gpunn.primitive",
)
_ROLE = re.compile(r":(mod|func|data|const|class|meth|attr|exc|obj):`~?([^`]+)`")
_MARK = "\u2060"  # behind a name that was written as a reference, from pdoc's first filter to its last
_UNRESOLVED = re.compile(rf"<code>([^<]+)</code>{_MARK}")
_LOST = re.compile(r"<code>(gpunn\.[\w.()]+)</code>")
# gpunn._device.Device in a signature, in pdoc's colours: a type that has no page. Its last name says enough.
_DOT = r'(?:\.|</span><span class="o">\.</span><span class="n">)'
_PRIVATE_TYPE = re.compile(rf"(?<![\w/\"])gpunn{_DOT}(?:\w+{_DOT})*(\w+)(?!\w|</a>)")


def write(folder: str | os.PathLike[str], modules: Sequence[str] = MODULES) -> None:
    """Write one page for each public module to ``folder``, with an ``index.html`` that leads to the first.

    Parameters
    ----------
    folder : path-like
        Made if it is not there. Pages in it are replaced.
    modules : sequence of str
        The modules, with all that their ``__all__`` lists; everything public if not given.

    Raises
    ------
    UsageError
        If pdoc is missing.

    Warns
    -----
    UserWarning
        Where a docstring refers to a name that has no page.
    """
    folder = Path(folder)
    try:
        import pdoc
        from pdoc import extract, render
    except ImportError as error:
        raise UsageError(f"the guide's pages are made by pdoc ({error}): pip install 'gpunn[docs]'.") from error
    # pdoc looks into a module's dictionary, where names that come when they are first asked for are not yet.
    for name in gpunn.__all__:
        vars(gpunn).setdefault(name, getattr(gpunn, name))
    render.configure(
        docformat="numpy",
        show_source=False,
        footer_text=f"gpunn {__version__}",
        template_directory=Path(__file__).parent / "template",
    )
    pages = {name: pdoc.doc.Module.from_name(name) for name in extract.walk_specs(modules)}
    _own_what_private_bases_give(pages.values())
    to_markdown, linkify = render.env.filters["to_markdown"], render.env.filters["linkify"]
    render.env.filters["to_markdown"] = _marking(to_markdown)
    render.env.filters["linkify"] = _checking(linkify)
    try:
        for name, page in pages.items():
            path = folder / f"{name.replace('.', '/')}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render.html_module(page, pages), encoding="utf-8")
        (folder / "index.html").write_text(render.html_index(pages), encoding="utf-8")
        (folder / "search.js").write_text(render.search_index(pages), encoding="utf-8")
    finally:
        render.env.filters.update(to_markdown=to_markdown, linkify=linkify)


def _own_what_private_bases_give(modules: Iterable[Any]) -> None:
    """Show a member that comes from a base without a page, such as Tensor's arithmetic, as the class's own.

    What comes from a base that has a page stands there alone, and names in docstrings do not lead to it by mistake.
    """
    classes = [thing for module in modules for thing in module.members.values() if thing.kind == "class"]
    public = {thing.obj for thing in classes}
    for thing in classes:
        above = [base for base in thing.obj.__mro__[1:] if base in public]
        own = {
            name: member
            for name, member in thing.members.items()
            if name in vars(thing.obj)
            or name == "__init__"
            or (member.taken_from[0].startswith("gpunn.") and not any(hasattr(base, name) for base in above))
        }
        thing.members, thing.own_members = own, [*own.values()]


def _marking(to_markdown: Any) -> Any:
    """pdoc's filter from docstrings to Markdown, but references (``:class:`Name```) are marked."""
    from jinja2 import pass_context

    @pass_context
    def marking(context: Any, docstring: str) -> Any:
        marked = _ROLE.sub(
            lambda found: f"`{found[2]}{'()' if found[1] in ('func', 'meth') else ''}`{_MARK}", docstring
        )
        return to_markdown(context, marked)

    return marking


def _checking(linkify: Any) -> Any:
    """pdoc's filter from names to links, but a marked name that became none is warned of."""
    from jinja2 import pass_context
    from markupsafe import Markup

    @pass_context
    def checking(context: Any, code: str, namespace: str = "", shorten: bool = True) -> Any:
        linked = str(linkify(context, code, namespace=namespace, shorten=shorten))
        # The guide has no roles: whatever is written in full as one of ours is meant as a link.
        lost = _LOST if context["module"].modulename.startswith("gpunn.guide") else _UNRESOLVED
        for name in lost.findall(linked):
            place = f"{context['module'].modulename}.{namespace}".rstrip(".")
            warnings.warn(f"{place}: the docstring refers to {name!r}, which is no public name.", stacklevel=2)
        if shorten:  # a signature
            linked = _PRIVATE_TYPE.sub(r"\1", linked)
        return Markup(linked.replace(_MARK, ""))

    return checking

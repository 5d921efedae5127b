"""Launch code in Python: which functions are, and the places in them that an edit may change."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

PACKAGE = Path(__file__).parent.parent.parent / "gpunn"
# Of gpunn/gpu: what loads kernels, keeps memory or explains errors, and chooses and launches nothing.
_NO_LAUNCHES = {
    "__init__.py", "diagnosis.py", "emulated.py", "graph_memory.py", "launches.py", "loaders.py", "plans.py",
    "signatures.py", "streams.py",
}  # fmt: skip
# Of these files, what launches use; the rest checks arguments and compiles.
_PARTS = {"gpu/launcher.py": {"divisor", "divisor_struct", "vector_width", "ceil_div"}}

Function = ast.FunctionDef | ast.AsyncFunctionDef
_NOT_COMPUTED = (ast.Assert, ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Place:
    """Where a node stands.

    Attributes
    ----------
    function : str
        "" outside of all.
    first, last : int
        Lines that Python runs for it: those of its statement, or of the head of a compound one.
    at_import : bool
        Whether it is computed when the module is imported.
    """

    function: str
    first: int
    last: int
    at_import: bool


def files() -> list[str]:
    """Names of files of launch code, relative to the package: ``gpu/gemm.py``, ``ops/relu.py``."""
    gpu = [f"gpu/{path.name}" for path in sorted((PACKAGE / "gpu").glob("*.py")) if path.name not in _NO_LAUNCHES]
    ops = [f"ops/{path.name}" for path in sorted((PACKAGE / "ops").glob("*.py")) if ".kernel\n" in path.read_text()]
    return gpu + ops


class LaunchCode:
    """The text of one file of launch code.

    Parameters
    ----------
    file : str
        Relative to the package; of an op's file the kernel bodies, what they call and the constants they use are
        launch code, of ``gpu/`` all is.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.tree = ast.parse(text)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self._functions = sorted(
            (*self._extent(node), _named(node))
            for node in ast.walk(self.tree)
            if isinstance(node, Function | ast.ClassDef)
        )
        self._lines = [line.encode() for line in text.splitlines(keepends=True)]
        starts = [0]
        for line in text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self._starts = starts

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Where the node begins and ends in the text."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def source(self, node: ast.expr | ast.stmt) -> str:
        """The node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def _at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1][:column].decode())

    @functools.cached_property
    def nodes(self) -> list[ast.expr | ast.stmt]:
        """What is computed: neither annotations nor decorators, messages of errors, imports or declarations."""
        return [node for statement in self._wanted() for node in self._computed(statement)]

    def function(self, line: int) -> str:
        """The innermost function or class that a line is in, a kernel body by its primitive, "" outside of all."""
        inside = [name for first, last, name in self._functions if first <= line <= last]
        return inside[-1] if inside else ""

    @staticmethod
    def _extent(node: ast.stmt) -> tuple[int, int]:
        return node.lineno, node.end_lineno or node.lineno

    def place(self, node: ast.expr | ast.stmt) -> Place:
        """Where a node stands."""
        statement: ast.AST | None = None
        at_import, inner = True, cast(ast.AST, node)
        while inner in self.parents:
            if statement is None and isinstance(inner, ast.stmt):
                statement = inner
            outer = self.parents[inner]
            if isinstance(outer, Function) and inner in outer.body:
                at_import = False
            inner = outer
        assert isinstance(statement, ast.stmt)
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        body = getattr(statement, "body", None)
        if isinstance(body, list):
            last = max(first, body[0].lineno - 1)
        return Place(self.function(node.lineno), first, last, at_import)

    def _wanted(self) -> Iterator[ast.stmt]:
        top = [node for node in self.tree.body if not _declares(node)]
        if self.file.startswith("gpu/") and self.file not in _PARTS:
            yield from top
            return
        named = {node.name: node for node in top if isinstance(node, Function | ast.ClassDef) and node.name != "_"}
        waiting: list[ast.stmt] = [node for node in top if isinstance(node, Function) and _is_kernel_body(node)]
        waiting += [named[name] for name in sorted(_PARTS.get(self.file, set()))]
        taken: list[ast.stmt] = []
        used: set[str] = set()
        while waiting:
            node = waiting.pop()
            if node not in taken:
                taken.append(node)
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                used |= names
                waiting += [named[name] for name in names & set(named)]
        for node in top:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if node in taken or any(isinstance(t, ast.Name) and t.id in used for t in targets):
                yield node

    def _computed(self, node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
        if isinstance(node, _NOT_COMPUTED) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return
        if isinstance(node, ast.expr | ast.stmt):
            yield node
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_comment", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._computed(child)


def _declares(node: ast.stmt) -> bool:
    """Whether a statement declares a source's macros, a struct or a type, which the launcher or nobody checks."""
    if not isinstance(node, ast.Assign):
        return False
    words = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
    words |= {n.attr for n in ast.walk(node.value) if isinstance(n, ast.Attribute)}
    return bool(words & {"KernelSource", "Callable", "dtype"}) or isinstance(node.value, ast.Subscript)


def _named(node: Function | ast.ClassDef) -> str:
    """The name; of a kernel body, which is called ``_`` like all of them, its decorator: ``gemm.kernel``."""
    return ast.unparse(node.decorator_list[0]) if node.name == "_" and node.decorator_list else node.name


def _is_kernel_body(node: Function) -> bool:
    return any(isinstance(d, ast.Attribute) and d.attr == "kernel" for d in node.decorator_list)

"""The edits of launch code: what each operator makes of the text of a Python file."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.mutants.launch_code import PACKAGE, LaunchCode
from tests.mutants.operators import Edit, Mutant, numbered, squeezed

Node = ast.expr | ast.stmt
# (the node whose place it is, the edit)
Found = tuple[Node, Edit]

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.FloorDiv: "*", ast.Mod: "//", ast.LShift: ">>", ast.RShift: "<<",
    ast.Div: "*", ast.BitOr: "&", ast.BitAnd: "|",
}  # fmt: skip
_DTYPES = {"int64": "int32", "int32": "int64", "uint64": "uint32", "uint32": "int32", "float64": "float32",
           "float32": "float64", "bool_": "int32"}  # fmt: skip
_COMMENT = r"(?:^|\s)#(?=\s)"
_DIVISORS = {"divisor", "divisor_struct"}


def _called(node: ast.AST) -> str:
    """The name of the function that a call calls, "" if it is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _instead(code: LaunchCode, node: Node, text: str) -> Found:
    return node, (*code.span(node), text)


def _guard(code: LaunchCode) -> Iterator[Found]:
    """A condition that always holds, or never."""
    for node in code.nodes:
        tests: list[ast.expr] = []
        if isinstance(node, ast.If | ast.IfExp):
            tests = [node.test]
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            tests = [test for generator in node.generators for test in generator.ifs]
        for test in tests:
            yield _instead(code, test, "True")
            yield _instead(code, test, "False")


def _compare(code: LaunchCode) -> Iterator[Found]:
    """The other bound, the other equality."""
    for node in code.nodes:
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for i, operator in enumerate(node.ops):
                between = code.span(sides[i])[1], code.span(sides[i + 1])[0]
                closing = code.text[slice(*between)]
                brackets = closing[: len(closing) - len(closing.lstrip(") \n"))].rstrip()
                opening = closing[len(closing.rstrip("( \n")) :].lstrip()
                yield node, (*between, f"{brackets} {_COMPARISONS[type(operator)]} {opening}")


def _logic(code: LaunchCode) -> Iterator[Found]:
    """``or`` for ``and``; no ``not``."""
    for node in code.nodes:
        if isinstance(node, ast.BoolOp):
            word = " or " if isinstance(node.op, ast.And) else " and "
            yield _instead(code, node, "(" + word.join(f"({code.source(value)})" for value in node.values) + ")")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield _instead(code, node, f"bool({code.source(node.operand)})")


def _arithmetic(code: LaunchCode) -> Iterator[Found]:
    """Another operator; one operand alone."""
    for node in code.nodes:
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = code.source(node.left), code.source(node.right)
            yield _instead(code, node, f"(({left}) {_ARITHMETIC[type(node.op)]} ({right}))")
            yield _instead(code, node, f"({left})")
            if isinstance(node.op, ast.Mult):
                yield _instead(code, node, f"({right})")
        elif isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
            target, value = code.source(node.target), code.source(node.value)
            yield _instead(code, node, f"{target} {_ARITHMETIC[type(node.op)]}= {value}")


def _constant(code: LaunchCode) -> Iterator[Found]:
    """A number that is one larger, a large one halved or doubled; the other truth value."""
    for node in code.nodes:
        if not isinstance(node, ast.Constant):
            continue
        value = node.value
        if isinstance(value, bool):
            yield _instead(code, node, str(not value))
        elif isinstance(value, int):
            yield _instead(code, node, str(value + 1))
            if value >= 16:
                yield _instead(code, node, str(2 * value))
                yield _instead(code, node, str(value // 2))
        elif isinstance(value, float):
            yield _instead(code, node, f"(2 * {code.source(node)} + 1)")


def _extremum(code: LaunchCode) -> Iterator[Found]:
    """``max`` for ``min``; without one of the limits."""
    for node in code.nodes:
        if isinstance(node, ast.Call) and (name := _called(node)) in ("min", "max") and len(node.args) > 1:
            yield _instead(code, node.func, "max" if name == "min" else "min")
            for i in range(len(node.args)):
                rest = [code.source(a) for k, a in enumerate(node.args) if k != i]
                yield _instead(code, node, f"({rest[0]})" if len(rest) == 1 else f"{name}({', '.join(rest)})")


def _ceil(code: LaunchCode) -> Iterator[Found]:
    """A quotient rounded down, or one more than that."""
    for node in code.nodes:
        if isinstance(node, ast.Call) and _called(node) == "ceil_div" and len(node.args) == 2:
            down = f"({code.source(node.args[0])}) // ({code.source(node.args[1])})"
            yield _instead(code, node, f"({down})")
            yield _instead(code, node, f"({down} + 1)")


def _shapes(code: LaunchCode) -> Iterator[ast.expr]:
    """Grids and blocks: tuples of three, and numbers of threads in calls that launch."""
    seen: set[ast.AST] = set()
    for node in code.nodes:
        if isinstance(node, ast.Tuple) and len(node.elts) == 3 and isinstance(node.ctx, ast.Load):
            one = any(isinstance(e, ast.Constant) and e.value == 1 for e in node.elts)
            parent = code.parents[node]
            named = isinstance(parent, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id in ("grid", "block") for t in parent.targets
            )
            starred = any(isinstance(e, ast.Starred) for e in node.elts)
            if (one or named) and not starred and node not in seen:
                seen.add(node)
                yield node
        elif isinstance(node, ast.Call) and _called(node) == "launch" and len(node.args) >= 5:
            yield from [] if isinstance(node.args[3], ast.Tuple) else [node.args[3]]


def _grid(code: LaunchCode) -> Iterator[Found]:
    """One block or thread more, one less, twice as many; two axes exchanged."""
    for shape in _shapes(code):
        parts = shape.elts if isinstance(shape, ast.Tuple) else [shape]
        for part in parts:
            if isinstance(part, ast.Constant):
                continue
            text = code.source(part)
            for edited in (f"({text}) + 1", f"max(0, ({text}) - 1)", f"2 * ({text})"):
                yield _instead(code, part, edited)
        for one, other in itertools.pairwise(parts):
            yield _swapped(code, one, other)


def _swapped(code: LaunchCode, one: Node, other: Node) -> Found:
    (start, first_end), (second, end) = code.span(one), code.span(other)
    between = code.text[first_end:second]
    return one, (start, end, f"{code.source(other)}{between}{code.source(one)}")


def _swap(code: LaunchCode) -> Iterator[Found]:
    """Two neighbouring arguments exchanged."""
    plain = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant)
    shapes = set(_shapes(code))
    for node in code.nodes:
        parts: Sequence[ast.expr] = ()
        if isinstance(node, ast.Call) and _called(node) not in ("isinstance", "getattr", "min", "max"):
            parts = node.args
        elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and node not in shapes:
            parts = node.elts
        for one, other in itertools.pairwise(parts):
            same = ast.dump(one) == ast.dump(other)
            device = "device" in (code.source(one), code.source(other))  # whose kind is another: nothing runs at all
            if isinstance(one, plain) and isinstance(other, plain) and not same and not device:
                yield _swapped(code, one, other)


def _shared(code: LaunchCode) -> Iterator[Found]:
    """A few bytes of shared memory less, half of it."""
    for node in code.nodes:
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "shared":
                    text = code.source(keyword.value)
                    yield _instead(code, keyword.value, f"({text}) - 4")
                    yield _instead(code, keyword.value, f"({text}) // 2")


def _divisor(code: LaunchCode) -> Iterator[Found]:
    """A division by the next number."""
    for node in code.nodes:
        if isinstance(node, ast.Call) and _called(node) in _DIVISORS and len(node.args) == 1:
            argument = node.args[0]
            if not isinstance(argument, ast.Starred):
                yield _instead(code, argument, f"({code.source(argument)}) + 1")
        elif isinstance(node, ast.Name) and node.id == "divisor" and _called(code.parents[node]) == "map":
            yield _instead(code, node, "(lambda value: divisor(value + 1))")


def _fresh(code: LaunchCode) -> Iterator[Found]:
    """Memory that nobody has cleared."""
    for node in code.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "zeros":
            start, end = code.span(node.func)
            yield node, (start, end, f"{code.source(node.func.value)}.empty")


def _vector(code: LaunchCode) -> Iterator[Found]:
    """Vectors always, or never; an array or the length that nobody asks."""
    for node in code.nodes:
        if isinstance(node, ast.Call) and _called(node) in ("vector_width", "_vector") and node.args:
            yield _instead(code, node, "4")
            yield _instead(code, node, "1")
            length, *arrays = (code.source(a) for a in node.args)
            rest = [f"{k.arg}={code.source(k.value)}" for k in node.keywords]
            name = code.source(node.func)
            if length != "4":
                yield _instead(code, node, f"{name}({', '.join(['4', *arrays, *rest])})")
            for i in range(len(arrays)):
                kept = [length, *(a for k, a in enumerate(arrays) if k != i), *rest]
                yield _instead(code, node, f"{name}({', '.join(kept)})")


def _dtype(code: LaunchCode) -> Iterator[Found]:
    """Another type of number."""
    for node in code.nodes:
        if isinstance(node, ast.Attribute) and node.attr in _DTYPES and code.source(node.value) == "np":
            yield _instead(code, node, f"np.{_DTYPES[node.attr]}")


def _acts(node: ast.stmt) -> bool:
    """Whether a statement does something to what is there already."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Subscript | ast.Attribute) for t in node.targets)
    return isinstance(node, ast.AugAssign)


def _delete(code: LaunchCode) -> Iterator[Found]:
    """A statement less."""
    for node in code.nodes:
        if isinstance(node, ast.stmt) and _acts(node):
            yield _instead(code, node, "pass" + "\n" * code.source(node).count("\n"))


def _move(code: LaunchCode) -> Iterator[Found]:
    """Two neighbouring statements exchanged, of which one acts."""
    simple = (ast.Expr, ast.Assign, ast.AugAssign)
    for node in [*code.nodes, code.tree]:
        for field in ("body", "orelse"):
            statements = getattr(node, field, [])
            if not isinstance(statements, list):
                continue
            for one, other in itertools.pairwise(statements):
                both = isinstance(one, simple) and isinstance(other, simple)
                documents = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
                if both and not documents and (_acts(one) or _acts(other)):
                    yield _swapped(code, one, other)


LAUNCH_OPERATORS: dict[str, Callable[[LaunchCode], Iterator[Found]]] = {
    "grid": _grid,
    "ceil": _ceil,
    "shared": _shared,
    "divisor": _divisor,
    "fresh": _fresh,
    "vector": _vector,
    "dtype": _dtype,
    "swap": _swap,
    "guard": _guard,
    "compare": _compare,
    "logic": _logic,
    "arithmetic": _arithmetic,
    "constant": _constant,
    "extremum": _extremum,
    "delete": _delete,
    "move": _move,
}


@dataclass(frozen=True)
class LaunchMutant(Mutant):
    """One edit of launch code.

    Attributes
    ----------
    lines : (int, int)
        First and last line that Python runs for it.
    at_import : bool
        Whether importing the module computes it.
    """

    lines: tuple[int, int] = (0, 0)
    at_import: bool = False


def launch_mutants(file: str, text: str | None = None, operators: Sequence[str] | None = None) -> list[LaunchMutant]:
    """Every edit of a file of launch code, each once, in the order of the text."""
    code = LaunchCode(file, (PACKAGE / file).read_text(encoding="utf-8") if text is None else text)
    made: dict[tuple[str, ...], LaunchMutant] = {}

    def inside(name: str) -> Callable[[int], bool]:
        return lambda at: code.function(code.text.count("\n", 0, at) + 1) == name

    for name, find in LAUNCH_OPERATORS.items():
        if operators is not None and name not in operators:
            continue
        for node, (start, end, replacement) in find(code):
            place = code.place(node)
            first, last = code.text.rfind("\n", 0, start) + 1, code.text.find("\n", end)
            last = len(code.text) if last < 0 else last
            before = numbered(code.text, first, last, inside(place.function), _COMMENT)
            after = squeezed(code.text[first:start] + replacement + code.text[end:last], _COMMENT)
            line = code.text.count("\n", 0, start) + 1
            lines = (place.first, place.last)
            made_here = LaunchMutant(
                file, name, line, place.function, start, end, replacement, before, after, lines, place.at_import
            )
            if code.text[start:end] != replacement:
                made.setdefault(made_here.key, made_here)
    return sorted(made.values(), key=lambda m: (m.start, m.end, m.replacement))

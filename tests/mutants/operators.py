"""The edits: what each operator makes of the text of a kernel file."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import statements
from tests.mutants.code import Code

Edit = tuple[int, int, str]  # start, end, what stands there instead

_BARRIER = re.compile(
    r"\b(?:__(?:syncthreads|syncwarp|threadfence(?:_block)?)|cp_async_(?:wait|commit)\s*(?:<[^<>;]*>)?)\s*\([^()]*\)(?!\s*\{)"
)
_INTEGER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)")
_FLOAT = re.compile(r"\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+")
_WIDE = re.compile(r"(?<!typedef )\b(?:unsigned long long|long long|size_t)\b(?=\s+\w|\)\s*[\w(-])")
_BOUNDS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_PAIRS = ("h w", "H W", "R S", "P Q", "r s", "p q", "top left", "height width", "rows columns", "row column")
_TWINS = {a: b for pair in _PAIRS for a, b in (pair.split(), pair.split()[::-1])}
_TWINS |= {f"{head}_{a}": f"{head}_{b}" for head in ("stride", "pad", "dilation", "by") for a, b in _TWINS.items()}
_INDICES = {"threadIdx", "blockIdx", "blockDim", "gridDim"}


def _barrier(code: Code) -> Iterator[Edit]:
    """No barrier, fence or wait for copies; what stands around it still compiles. Those of macros too."""
    for match in _BARRIER.finditer(code.bare):
        yield *match.span(), "((void)0)"


def _replacing(table: dict[str, str]) -> Callable[[Code], Iterator[Edit]]:
    """Another operator with two operands."""

    def edits(code: Code) -> Iterator[Edit]:
        for token in code.tokens:
            if token.spaced and token.text in table:
                yield token.start, token.end, table[token.text]

    return edits


def _one_off(code: Code) -> Iterator[Edit]:
    """``+ 1`` or ``- 1`` left out."""
    for token, one in zip(code.tokens, code.tokens[1:], strict=False):
        if token.spaced and token.text in ("+", "-") and one.text == "1":
            yield token.start, one.end, ""


def _terms(code: Code) -> Iterator[Edit]:
    """``a * b + c`` becomes ``a * c + b``."""
    for i, token in enumerate(code.tokens):
        if token.text != "*" or not token.spaced:
            continue
        b = code.operand_after(i + 1)
        if b is None or b + 2 >= len(code.tokens) or code.tokens[b + 1].text != "+":
            continue
        c = code.operand_after(b + 2)
        if c is not None:
            spans = [(code.tokens[i + 1].start, code.tokens[b].end), (code.tokens[b + 2].start, code.tokens[c].end)]
            (b0, b1), (c0, c1) = spans
            yield b0, c1, code.text[c0:c1] + code.text[b1:c0] + code.text[b0:b1]


def _guard(code: Code) -> Iterator[Edit]:
    """A condition of ``if`` or ``?`` that always holds, or never."""
    for i, token in enumerate(code.tokens):
        span = None
        if token.text == "if" and code.tokens[i + 1].text == "(":
            span = code.tokens[i + 1].end, code.tokens[code.partner[i + 1]].start
        elif token.text == "?":
            first = code.condition_before(i)
            span = None if first is None else (code.tokens[first].start, code.tokens[i - 1].end)
        if span is not None:
            yield *span, "true"
            yield *span, "false"


def _stride(code: Code) -> Iterator[Edit]:
    """A ``for`` that goes in steps of twice the size."""
    for i, token in enumerate(code.tokens):
        if token.text != "for":
            continue
        close = code.partner[i + 1]
        depth_last = [k for k in range(i + 2, close) if code.tokens[k].text == ";"]
        start = depth_last[-1] + 1
        words = code.tokens[start:close]
        if len(words) >= 2 and words[0].text == "++":
            yield words[0].start, words[1].end, f"{words[1].text} += 2"
        elif len(words) >= 3 and words[1].text == "+=":
            end = code.operand_after(start + 2)
            if end is not None:
                at = code.tokens[start + 2].start
                yield at, at, "2 * "


def _factor(code: Code) -> Iterator[Edit]:
    """``a * b`` becomes ``a``: a grid-wide stride that is only a block's, an index without its pitch."""
    for i, token in enumerate(code.tokens):
        if token.text == "*" and token.spaced and (last := code.operand_after(i + 1)) is not None:
            yield token.start, code.tokens[last].end, ""


def _axis(code: Code) -> Iterator[Edit]:
    """Another component of ``threadIdx`` and its like."""
    for i in range(len(code.tokens) - 2):
        if code.tokens[i].text in _INDICES:
            component = code.tokens[i + 2]
            yield component.start, component.end, {"x": "y", "y": "x", "z": "x"}[component.text]


def _twin(code: Code) -> Iterator[Edit]:
    """Height for width, rows for columns and the other way round, where the function uses both."""
    used: dict[str, set[str]] = {}
    for token in code.tokens:
        used.setdefault(code.function(token.start), set()).add(token.text)
    for before, token, after in zip(code.tokens, code.tokens[1:], code.tokens[2:], strict=False):
        named = re.match(r"[A-Za-z_]", before.text) and before.text != "return"
        declared = named or (before.text in "*&" and not before.spaced) or (before.text == "," and after.text in ",;=")
        if not declared and (twin := _TWINS.get(token.text)) in used[code.function(token.start)] and twin is not None:
            yield token.start, token.end, twin


def _mask(code: Code) -> Iterator[Edit]:
    """Lanes missing from a mask; a bit mask that is not applied."""
    for i, token in enumerate(code.tokens):
        if token.text == "FULL_MASK":
            yield token.start, token.end, "0x7fffffffu"
        elif token.text == "&" and token.spaced and (last := code.operand_after(i + 1)) is not None:
            yield token.start, code.tokens[last].end, ""


def _width(code: Code) -> Iterator[Edit]:
    """Offsets and counts of elements in 32 bits: casts, variables and parameters."""
    for match in _WIDE.finditer(code.bare):
        yield *match.span(), "unsigned" if match[0].startswith("unsigned") else "int"


def _initial(code: Code) -> Iterator[Edit]:
    """A sum that begins at 1, a product or a factor at 0."""
    other = {"0": "1", "1": "0", "false": "true", "true": "false"}
    for before, token, after in zip(code.tokens, code.tokens[1:], code.tokens[2:], strict=False):
        cast = before.text == "(" and after.text == ")"
        if token.text in other and (cast or (before.text == "=" and after.text in (",", ";"))):
            yield token.start, token.end, other[token.text]


def _constant(code: Code) -> Iterator[Edit]:
    """A whole number that is one larger, another one twice as large."""
    for token in code.tokens:
        if integer := _INTEGER.fullmatch(token.text):
            value = int(integer[1], 0) + 1
            yield token.start, token.end, (hex(value) if integer[1][:2] in ("0x", "0X") else str(value)) + integer[2]
        elif _FLOAT.fullmatch(token.text):
            yield token.start, token.end, f"(2 * {token.text})"


def _sign(code: Code) -> Iterator[Edit]:
    """``-a`` becomes ``a``."""
    for before, token, after in zip(code.tokens, code.tokens[1:], code.tokens[2:], strict=False):
        if token.text == "-" and not token.spaced and before.text != "-" and re.match(r"[\w(]", after.text):
            yield token.start, token.end, ""


OPERATORS: dict[str, Callable[[Code], Iterator[Edit]]] = {
    "barrier": _barrier,
    "bound": _replacing(_BOUNDS),
    "equality": _replacing({"==": "!=", "!=": "=="}),
    "one-off": _one_off,
    "terms": _terms,
    "arithmetic": _replacing({"+": "-", "-": "+", "*": "+", "/": "*", "%": "/", "^": "|", "<<": ">>", ">>": "<<"}),
    "division": _replacing({"/": "%"}),
    "guard": _guard,
    "logic": _replacing({"&&": "||", "||": "&&"}),
    "stride": _stride,
    "factor": _factor,
    "axis": _axis,
    "twin": _twin,
    "mask": _mask,
    "accumulate": _replacing({"+=": "=", "-=": "+=", "*=": "=", "/=": "=", "^=": "="}),
    "width": _width,
    "initial": _initial,
    "constant": _constant,
    "sign": _sign,
    "cast": statements.cast,
    "type": statements.type_,
    "order": statements.order,
    "swizzle": statements.swizzle,
    "delete": statements.delete,
    "move": statements.move,
}


@dataclass(frozen=True)
class Mutant:
    """One edit of one file.

    Attributes
    ----------
    before, after : str
        The line (or lines) as it is and as it becomes, without indentation; how people and ``explained.tsv`` know
        the edit. Where a function has the line several times, ``before`` of the n-th ends with ``  #n``.
    """

    file: str
    operator: str
    line: int
    function: str
    start: int
    end: int
    replacement: str
    before: str
    after: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.function, self.before, self.after

    def apply(self, text: str) -> str:
        """The file's text with the edit made."""
        return text[: self.start] + self.replacement + text[self.end :]


def mutants_of(path: Path, operators: list[str] | None = None) -> list[Mutant]:
    """Every edit of a file, each once, in the order of the text."""
    code = Code(path.read_text(encoding="utf-8"))
    text = code.text
    made: dict[tuple[str, ...], Mutant] = {}

    def inside(function: str) -> Callable[[int], bool]:
        return lambda at: code.function(at) == function

    for name, edits in OPERATORS.items():
        if operators is not None and name not in operators:
            continue
        for start, end, replacement in edits(code):
            first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
            last = len(text) if last < 0 else last
            function = code.function(start)
            before = numbered(text, first, last, inside(function))
            after = squeezed(text[first:start] + replacement + text[end:last])
            mutant = Mutant(path.name, name, code.line(start), function, start, end, replacement, before, after)
            made.setdefault(mutant.key, mutant)  # two operators may come to the same
    return sorted(made.values(), key=lambda m: (m.start, m.end, m.replacement))


def numbered(text: str, first: int, last: int, inside: Callable[[int], bool], comment: str = "//") -> str:
    """The line (or lines), and which of several equal ones of its function (``inside``) it is."""
    line, count = squeezed(text[first:last], comment), text.count("\n", first, last) + 1
    nth = sum(start < first and inside(start) for start in _where(text, count, comment).get(line, [])) + 1
    return line if nth == 1 else f"{line}  #{nth}"


@functools.lru_cache(maxsize=32)
def _where(text: str, count: int, comment: str) -> dict[str, list[int]]:
    """So many lines together, squeezed = where they begin."""
    starts = [0, *(m.end() for m in re.finditer("\n", text))]
    ends = [*starts[count:], len(text) + 1]  # so many lines on; others are indented otherwise
    found: dict[str, list[int]] = {}
    for start, end in zip(starts, ends, strict=False):
        found.setdefault(squeezed(text[start : end - 1], comment), []).append(start)
    return found


def squeezed(lines: str, comment: str = "//") -> str:
    """Without indentation, line ends and comments, which may change without the edit changing."""
    return " ".join(re.sub(rf"\s*{comment}.*", "", line).strip() for line in lines.splitlines()).strip()

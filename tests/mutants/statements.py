"""Edits of kernels that are about statements, types, the order of sums, and where numbers lie in shared memory."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from tests.mutants.code import Code

Edit = tuple[int, int, str]  # start, end, what stands there instead

_TYPES = {"int", "unsigned", "float", "double", "real", "size_t", "long", "char", "short", "uint64", "T"}
_DECLARED = re.compile(r"\b(double|unsigned(?!\s+(?:long|short|char))|int)\s+(?=\w+\s*(?:=(?!=)|;|\[))")
_OTHER_TYPE = {"double": "float ", "unsigned": "int ", "int": "unsigned "}
_PADDING = re.compile(r"\w*(?:PAD|SKEW)\w*")
_KEYWORDS = {
    "if", "for", "while", "do", "else", "return", "switch", "case", "default", "break", "continue", "using", "typedef",
    "struct", "enum", "goto", "static_assert", "template", "asm",
}  # fmt: skip
_ASSIGNS = re.compile(r"(?:<<|>>|[+\-*/%&|^])?=")
Statement = tuple[int, int]  # numbers of its first token and of its semicolon


def cast(code: Code) -> Iterator[Edit]:
    """A value in the type that it has."""
    for i, token in enumerate(code.tokens):
        if token.text == "(" and i + 1 < len(code.tokens):
            close = code.partner[i]
            inside = {t.text for t in code.tokens[i + 1 : close]}
            before = code.tokens[i - 1].text if i else ""
            called = re.match(r"[A-Za-z_]", before) and before != "return"
            after = code.tokens[close + 1].text if close + 1 < len(code.tokens) else ""
            if inside and inside <= _TYPES and not called and re.match(r"[\w(*&-]", after):
                yield token.start, code.tokens[close].end, ""
            elif before in _TYPES and inside and code.tokens[i + 1].text != "&" and not _declares(code, i - 1):
                yield code.tokens[i - 1].start, token.start, ""


def _declares(code: Code, i: int) -> bool:
    """Whether the type in front of a bracket belongs to a declaration or to a longer type."""
    before = code.tokens[i - 1].text if i else ""
    return before in _TYPES | {"const", "typedef", "<", "::", "operator"} or code.tokens[i + 2].text == "*"


def type_(code: Code) -> Iterator[Edit]:
    """Sums of doubles in float, counts without a sign, and the other way round."""
    for match in _DECLARED.finditer(code.bare):
        if not code.bare[: match.start()].rstrip().endswith("("):  # a loop's variable: never negative here
            yield *match.span(), _OTHER_TYPE[match[1]]


def order(code: Code) -> Iterator[Edit]:
    """A sum that is added up the other way round: another order, other bits."""
    for i, token in enumerate(code.tokens):
        if token.text == "for":
            yield from _backwards(code, i)
        elif token.text == "+" and token.spaced:
            yield from _regrouped(code, i)


def _backwards(code: Code, i: int) -> Iterator[Edit]:
    """``for (int k = a; k < b; ++k)`` from b - 1 down to a, where the loop adds to something."""
    close = code.partner[i + 1]
    words = [t.text for t in code.tokens[i + 2 : close]]
    if words.count(";") != 2 or words[0] != "int" or words[2] != "=":
        return
    first, second = (n for n, word in enumerate(words) if word == ";")
    name, test, step = words[1], words[first + 1 : second], words[second + 1 :]
    if step != ["++", name] or test[:2] != [name, "<"] or "," in words[:first] or "&&" in test:
        return
    end = _end_of(code, close + 1)
    if not any(name not in _target(code, k) for k in range(close + 1, end + 1) if code.tokens[k].text == "+="):
        return  # each turn adds to something else
    place = i + 2
    start, bound = (
        code.text[code.tokens[a].start : code.tokens[b].end]
        for a, b in ((place + 3, place + first - 1), (place + first + 3, place + second - 1))
    )
    text = f"int {name} = ({bound}) - 1; {name} >= ({start}); --{name}"
    yield code.tokens[place].start, code.tokens[close - 1].end, text


def _target(code: Code, i: int) -> set[str]:
    """The words of what the assignment at token i writes."""
    first = i
    while first > 0:
        before = code.tokens[first - 1].text
        if before in (";", "{", "}", ",") or (before == ")" and _controls(code, first - 1)):
            break
        first = code.partner[first - 1] if before in (")", "]") else first - 1
    return {t.text for t in code.tokens[first:i]}


def _end_of(code: Code, i: int) -> int:
    """Number of the last token of the statement that begins with token i."""
    while code.tokens[i].text in ("for", "if", "while"):
        i = code.partner[i + 1] + 1
    if code.tokens[i].text == "{":
        return code.partner[i]
    return next((k for k in range(i, len(code.tokens)) if code.tokens[k].text == ";"), len(code.tokens) - 1)


def _regrouped(code: Code, i: int) -> Iterator[Edit]:
    """``a + b + c`` as ``a + (b + c)`` in a statement about floating numbers."""
    middle = code.operand_after(i + 1)
    if middle is None or middle + 2 >= len(code.tokens):
        return
    again = code.tokens[middle + 1]
    last = code.operand_after(middle + 2)
    if again.text != "+" or not again.spaced or last is None:
        return
    first = code.operand_before(i - 1)
    head = i
    while head > 0 and code.tokens[head - 1].text not in ";{}":
        head -= 1
    about = {t.text for t in code.tokens[head : head + 2]} | ({"+="} & {t.text for t in code.tokens[head : i + 1]})
    if any(code.tokens[k].text in ("load", "store") for k in range(head, i)):  # the sum may be an address
        return
    following = code.tokens[last + 1].text if last + 1 < len(code.tokens) else ""
    if first is None or not about & {"real", "float", "double", "+="} or following in ("*", "/", "%"):
        return
    if code.tokens[first - 1].text in ("*", "/", "%", "-", "["):
        return
    start, end = code.tokens[i + 1].start, code.tokens[last].end
    yield start, end, f"({code.text[start:end]})"


def swizzle(code: Code) -> Iterator[Edit]:
    """Rows of shared memory one below the other, without what spreads them over the banks."""
    for before, token, after in zip(code.tokens, code.tokens[1:], code.tokens[2:], strict=False):
        if _PADDING.fullmatch(token.text) and before.text == "+" and before.spaced:
            yield before.start, token.end, ""
        elif _PADDING.fullmatch(token.text) and after.text == "=":
            number = code.tokens[code.tokens.index(after) + 1]
            if number.text.isdigit() and number.text != "0":
                yield number.start, number.end, "0"
    for i, token in enumerate(code.tokens):
        if token.text == "^" and token.spaced and (last := code.operand_after(i + 1)) is not None:
            yield token.start, code.tokens[last].end, ""


def statements(code: Code) -> Iterator[list[Statement]]:
    """Runs of simple statements that follow one another: no declarations of variables, no control."""
    run: list[Statement] = []
    i = 0
    while i < len(code.tokens):
        before = code.tokens[i - 1].text if i else ""
        starts = before in (";", "{", "}") or (before == ")" and _controls(code, i - 1)) or before == "else"
        if not starts or code.tokens[i].text in "{};":
            i += 1
            continue
        end = _simple(code, i)
        if end is None:
            if run:
                yield run
            run = []
            i += 1
            continue
        if run and run[-1][1] + 1 != i:
            yield run
            run = []
        if before in (")", "else"):  # alone under its condition: not a neighbour of others
            if run:
                yield run
            yield [(i, end)]
            run = []
        else:
            run.append((i, end))
        i = end + 1
    if run:
        yield run


def _controls(code: Code, close: int) -> bool:
    """Whether a closing bracket is that of ``if (...)``, ``for (...)`` or ``while (...)``."""
    opening = code.partner[close]
    return opening > 0 and code.tokens[opening - 1].text in ("if", "for", "while")


def _simple(code: Code, i: int) -> int | None:
    """Number of the semicolon of a statement that begins with token i, if it is an assignment or a call."""
    tokens = code.tokens
    if tokens[i].text in _KEYWORDS or not code.function(tokens[i].start):
        return None
    if tokens[i].text in ("++", "--"):
        target = code.operand_after(i + 1)
    else:
        target = code.operand_after(i + 1) if tokens[i].text == "*" else code.operand_after(i)
    if target is None or target + 1 >= len(tokens):
        return None
    if tokens[target + 1].text == "<" and not tokens[target + 1].spaced:  # cp_async_wait<1>()
        closing = next((k for k in range(target + 2, min(target + 6, len(tokens) - 1)) if tokens[k].text == ">"), None)
        if closing is not None and tokens[closing + 1].text == "(":
            target = code.partner[closing + 1]
    following = tokens[target + 1].text
    if following == ";":
        done = tokens[target].text in (")",) or tokens[i].text in ("++", "--")
        return target + 1 if done and tokens[i].text not in ("return",) else None
    if following in ("++", "--") and tokens[target + 2].text == ";":
        return target + 2
    if not _ASSIGNS.fullmatch(following):
        return None
    k = target + 2
    while k < len(tokens) and tokens[k].text != ";":
        if tokens[k].text in "{}":
            return None
        k = code.partner[k] + 1 if tokens[k].text in "([" else k + 1
    return k if k < len(tokens) else None


def delete(code: Code) -> Iterator[Edit]:
    """An assignment or a call less."""
    for run in statements(code):
        for first, last in run:
            if not code.tokens[first].text.startswith("__sync"):  # the barrier's
                yield code.tokens[first].start, code.tokens[last].end, "((void)0);"


def move(code: Code) -> Iterator[Edit]:
    """Two neighbouring statements exchanged, of which one names what the other writes, or calls something."""
    for run in statements(code):
        for one, other in itertools.pairwise(run):
            if not _depend(code, one, other):
                continue
            (a, b), (c, d) = ((code.tokens[f].start, code.tokens[last].end) for f, last in (one, other))
            yield a, d, code.text[c:d] + code.text[b:c] + code.text[a:b]


def _depend(code: Code, one: Statement, other: Statement) -> bool:
    words = [{t.text for t in code.tokens[first : last + 1]} for first, last in (one, other)]
    written = [code.tokens[first].text for first, _ in (one, other)]
    called = [code.tokens[last - 1].text == ")" and not _assigns(code, (first, last)) for first, last in (one, other)]
    return any(called) or written[0] in words[1] or written[1] in words[0]


def _assigns(code: Code, statement: Statement) -> bool:
    first, last = statement
    return any(_ASSIGNS.fullmatch(t.text) for t in code.tokens[first:last])

"""A light look at C++: tokens with their places, brackets, and the function that a place is in."""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass

_BLANK = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'", re.DOTALL)
_CONDITIONAL = re.compile(r"^[ \t]*#[ \t]*(if(?:n?def)?|else|endif)\b[ \t]*(\w*)", re.MULTILINE)
_PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.MULTILINE)
_TOKEN = re.compile(
    r"[A-Za-z_]\w*|0[xX][0-9a-fA-F]+\w*|\d+\.?\d*(?:[eE][+-]?\d+)?\w*"
    r"|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|[+\-*/%&|^]=|->|::|\S"
)
# What is written for the compiler and not computed.
_DECLARATIVE = re.compile(r"\b(template\s*<|(?:static_assert|__launch_bounds__|__align__|alignas)\s*\()")
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True)
class Token:
    """One word, number or operator."""

    text: str
    start: int
    end: int
    spaced: bool  # with white space on both sides, as binary operators are written here


class Code:
    """The tokens of one kernel file; comments, strings and preprocessor lines have none.

    Attributes
    ----------
    text : str
        The file as it is.
    bare : str
        The same with comments, strings and what only a GPU compiles blanked, every character where it was.
    tokens : list of Token
        Without those of ``template <...>`` and of declarations like ``__launch_bounds__(...)``.
    partner : dict
        Number of a bracket's token = number of the bracket that it belongs to.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.bare = _without_gpu_alone(_BLANK.sub(_spaces, text))
        computed = _PREPROCESSOR.sub(_spaces, self.bare)
        for match in list(_DECLARATIVE.finditer(computed)):
            end = _end_of_brackets(computed, match.end() - 1)
            computed = computed[: match.start()] + _spaces(computed[match.start() : end]) + computed[end:]
        self.tokens = [
            Token(m[0], *m.span(), computed[m.start() - 1 : m.start()].isspace() and computed[m.end() :][:1].isspace())
            for m in _TOKEN.finditer(computed)
        ]
        self.partner: dict[int, int] = {}
        waiting: list[int] = []
        for i, token in enumerate(self.tokens):
            if token.text in _OPEN:
                waiting.append(i)
            elif token.text in _CLOSE:
                self.partner[i] = waiting.pop()
                self.partner[self.partner[i]] = i
        self._starts, self._names = self._functions()

    def line(self, position: int) -> int:
        """Number of the line that a position is on, from 1."""
        return self.text.count("\n", 0, position) + 1

    def function(self, position: int) -> str:
        """The function, struct or macro that a position is in, "" outside of all."""
        i = bisect.bisect_right(self._starts, position) - 1
        return self._names[i] if i >= 0 else ""

    def _functions(self) -> tuple[list[int], list[str]]:
        """Where each definition begins and ends (with the name "")."""
        found = [(0, "")]
        head, i = 0, 0
        while i < len(self.tokens):
            text = self.tokens[i].text
            if text == "{":
                name = _name([t.text for t in self.tokens[head:i]])
                found += [(self.tokens[head].start, name), (self.tokens[self.partner[i]].end, "")]
                i = self.partner[i]
            if text in ("{", ";"):
                head = i + 1
            i += 1
        for macro in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(?:[^\n\\]|\\.|\\\n)*", self.bare, re.MULTILINE):
            found += [(macro.start(), macro[1]), (macro.end(), "")]
        found.sort(key=lambda place: place[0])
        return [start for start, _ in found], [name for _, name in found]

    # -- expressions around a token --------------------------------------------------------------

    def operand_after(self, i: int) -> int | None:
        """Number of the last token of the operand that begins with token i: ``(int)x.y[2]``; None if there is none."""
        tokens = self.tokens
        if i >= len(tokens):
            return None
        if tokens[i].text == "(":
            close = self.partner[i]
            is_cast = all(re.match(r"[A-Za-z_]", t.text) for t in tokens[i + 1 : close])
            if is_cast and close + 1 < len(tokens) and re.match(r"[A-Za-z_(\d]", tokens[close + 1].text):
                return self.operand_after(close + 1)
            last = close
        elif re.match(r"[A-Za-z_\d]", tokens[i].text):
            last = i
        else:
            return None
        while last + 1 < len(tokens):
            following = tokens[last + 1].text
            if following in "([" and tokens[last].text != "return":
                last = self.partner[last + 1]
            elif following in (".", "->", "::"):
                last += 2
            else:
                break
        return last

    def operand_before(self, i: int) -> int | None:
        """Number of the first token of the operand that ends with token i."""
        tokens = self.tokens
        first = self.partner[i] if tokens[i].text in ")]" else i
        while first > 0:
            before, here = tokens[first - 1].text, tokens[first].text
            if here in "([" and (before in ")]" or re.match(r"[A-Za-z_]", before)):
                if before == "return":
                    break
                first = self.partner[first - 1] if before in ")]" else first - 1
            elif before in (".", "->", "::") and first > 1:
                first = self.partner[first - 2] if tokens[first - 2].text in ")]" else first - 2
            elif before == ")" and re.match(r"[A-Za-z_\d]", here):  # a cast
                first = self.partner[first - 1]
            else:
                break
        return first if re.match(r"[A-Za-z_\d(]", tokens[first].text) else None

    def condition_before(self, i: int) -> int | None:
        """Number of the first token of the condition whose ``?`` is token i."""
        first = i
        while first > 0:
            before = self.tokens[first - 1].text
            if before in "([{,;?:" or before == "return" or re.fullmatch(r"(?:<<|>>|[+\-*/%&|^])?=", before):
                return first if first < i else None
            first = self.partner[first - 1] if before in _CLOSE else first - 1
        return None


def _spaces(what: re.Match[str] | str) -> str:
    return re.sub(r"[^\n]", " ", what if isinstance(what, str) else what[0])


def _without_gpu_alone(text: str) -> str:
    """The text with the ``#else`` of every ``#ifdef GPUNN_EMULATOR`` blanked: edits there would change nothing."""
    open_: list[tuple[str, int]] = []  # of each #if, its words and where its #else ends, 0 without one
    for match in _CONDITIONAL.finditer(text):
        if match[1].startswith("if"):
            open_.append((f"{match[1]} {match[2]}", 0))
        elif match[1] == "else":
            open_[-1] = open_[-1][0], match.end()
        else:
            asked, start = open_.pop()
            if asked == "ifdef GPUNN_EMULATOR" and start:
                text = text[:start] + _spaces(text[start : match.start()]) + text[match.start() :]
    return text


def _end_of_brackets(text: str, start: int) -> int:
    """One past the bracket that closes the one at ``start``."""
    open_, close = text[start], {"(": ")", "<": ">"}[text[start]]
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == open_) - (text[i] == close)
        if depth == 0:
            return i + 1
    return len(text)


def _name(head: list[str]) -> str:
    """What a definition with these tokens in front of its brace is called."""
    if "struct" in head:
        return head[head.index("struct") + 1]
    for word, following in itertools.pairwise(head):
        if following == "(" and re.match(r"[A-Za-z_]", word) and not word.startswith("__"):
            return word
    return ""

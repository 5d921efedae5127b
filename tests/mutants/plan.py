"""Which mutants to try, and which kernel files each of them changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.code import Code
from tests.mutants.operators import Mutant

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def sample(mutants: Sequence[Mutant], count: int | None, seed: int) -> list[Mutant]:
    """``count`` of a file's mutants: the operators take turns, each on lines that had few.

    The choice hangs on the seed and on each mutant's own text: a change elsewhere in the file moves little.
    """
    if count is None or len(mutants) <= count:
        return list(mutants)

    def rank(mutant: Mutant) -> str:
        return hashlib.sha256("\0".join((str(seed), *mutant.key)).encode()).hexdigest()

    left: dict[str, list[Mutant]] = {}
    for mutant in sorted(mutants, key=rank):
        left.setdefault(mutant.operator, []).append(mutant)
    taken: list[Mutant] = []
    on_line: dict[int, int] = {}
    while len(taken) < count:
        for of_operator in [ms for ms in left.values() if ms][: count - len(taken)]:
            mutant = min(of_operator, key=lambda m: (on_line.get(m.line, 0), rank(m)))
            of_operator.remove(mutant)
            on_line[mutant.line] = on_line.get(mutant.line, 0) + 1
            taken.append(mutant)
    return sorted(taken, key=lambda m: (m.start, m.end, m.replacement))


class Users:
    """Finds the ``.cu`` files that a place is compiled into."""

    def __init__(self, *folders: Path) -> None:
        paths = [path for folder in folders for path in sorted(folder.glob("*.cu*"))]
        texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
        if len(texts) < len(paths):
            raise ValueError(f"two files of {', '.join(map(str, folders))} have the same name")
        self._codes = {name: Code(text) for name, text in texts.items()}
        direct = {name: {f for f in _INCLUDE.findall(text) if f in texts} for name, text in texts.items()}

        def all_of(name: str) -> set[str]:
            return direct[name].union(*(all_of(other) for other in direct[name]))

        self._included = {name: all_of(name) for name in texts}

    def files(self, mutant: Mutant) -> set[str]:
        """The file itself; of a header those files that use the function that the mutant is in."""
        if mutant.file.endswith(".cu"):
            return {mutant.file}
        including = {f for f, headers in self._included.items() if f.endswith(".cu") and mutant.file in headers}
        if not mutant.function:
            return including
        home = self._codes[mutant.file]
        names, waiting = set(), {mutant.function}
        while waiting:  # helpers of the same header may stand in between
            names.add(name := waiting.pop())
            used = re.finditer(rf"\b{name}\b", home.bare)
            waiting |= {home.function(match.start()) for match in used} - names - {""}
        word = re.compile(rf"\b(?:{'|'.join(names)})\b")
        return {
            file
            for file in including
            if any(word.search(self._codes[f].bare) for f in {file, *self._included[file]} - {mutant.file})
        }

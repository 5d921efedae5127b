"""``explained.tsv``: the edits that change nothing that could be noticed, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.mutants.operators import Mutant

FILE = Path(__file__).parent / "explained.tsv"
HEAD = ("file", "function", "line", "becomes", "reason")

Key = tuple[str, str, str, str]


def read(path: Path) -> dict[Key, str]:
    """Reasons by ``Mutant.key``; ValueError naming a line that is not as it should be."""
    head, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    if tuple(head) != HEAD:
        raise ValueError(f"{path}: expected the columns {', '.join(HEAD)}; got {', '.join(head)}")
    reasons: dict[Key, str] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(HEAD) or not row[4].strip():
            raise ValueError(f"{path}:{number}: expected {len(HEAD)} columns with a reason in the last; got {row}")
        key = (row[0], row[1], row[2], row[3])
        if key in reasons:
            raise ValueError(f"{path}:{number}: explained twice: {key}")
        reasons[key] = row[4]
    return reasons


def stale(reasons: Iterable[Key], mutants: Iterable[Mutant]) -> list[Key]:
    """The explanations of edits that no operator makes any more: the text has changed."""
    made = {mutant.key for mutant in mutants}
    return [key for key in reasons if key not in made]

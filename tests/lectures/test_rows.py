"""Every row of the lectures' list has a test that carries its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROWS = [
    *("G1", "G3", "G4", "G5", "G6", "G7"),
    *(f"L{n}" for n in range(1, 17)),
    "L18",
    *(f"T{n}" for n in range(7)),
    *("T8", "T9"),
    *("N1", "N2", "N4"),
]


def _tests() -> list[str]:
    names = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        names += [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return names


@pytest.mark.parametrize("row", ROWS)
def test_row_has_a_test(row: str) -> None:
    assert any(name == f"test_{row}" or name.startswith(f"test_{row}_") for name in _tests()), f"no test_{row}_…"

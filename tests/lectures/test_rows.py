"""Every row of the lectures' list has a test that carries its name."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

ROWS = [
    *(f"G{n}" for n in range(1, 8)),
    *(f"L{n}" for n in range(1, 19)),
    *(f"T{n}" for n in range(10)),
    *(f"N{n}" for n in range(1, 5)),
    *(f"D{n}" for n in range(1, 9)),
]


@functools.cache
def _tests() -> list[str]:
    files = Path(__file__).parent.parent.rglob("test_*.py")
    return [name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("row", ROWS)
def test_row_has_a_test(row: str) -> None:
    assert any(name == f"test_{row}" or name.startswith(f"test_{row}_") for name in _tests()), f"no test_{row}_…"

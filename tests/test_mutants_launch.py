"""The mutation run over launch code: its edits, that a changed module is in place, and caught told from survived."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests.mutants import checks, explained, launch_checks, launch_code
from tests.mutants.forked import Say, run_forked
from tests.mutants.launch_operators import LAUNCH_OPERATORS, launch_mutants
from tests.mutants.launch_run import CHOICES
from tests.mutants.run import verdict

ROOT = Path(__file__).parent.parent
LAUNCH = '''\
"""a // b: no code."""

import numpy as np

SOURCE = KernelSource("toy.cu", VEC=(1, 4))
_BLOCK = 256


@functools.lru_cache(maxsize=7)
def launch_toy(device, x: Any, rows: int = 1):
    """a * b."""
    assert rows + 1
    y = device.zeros((rows,), np.int64)
    vec = vector_width(rows, x, y)
    if rows == 0 or not x:
        raise ValueError(f"{rows + 1}")
    slices = max(1, min(rows // 3, 40))
    grid = (ceil_div(rows, vec), slices, 1)
    args = (y, x, divisor_struct(rows))
    device.note(rows)
    x[0] = y
    SOURCE.launch(device, "toy", grid, _BLOCK, args, shared=4 * rows)
    return y
'''


def _after(operator: str) -> list[str]:
    return [mutant.after for mutant in launch_mutants("gpu/toy.py", LAUNCH, [operator])]


@pytest.mark.parametrize(
    ("operator", "edits"),
    [
        ("grid", ["(ceil_div(rows, vec)) + 1, slices", "max(0, (slices) - 1), 1)", "2 * (_BLOCK), args"]),
        ("grid", ["(slices, ceil_div(rows, vec), 1)", "(ceil_div(rows, vec), 1, slices)"]),
        ("ceil", ["(((rows) // (vec)), slices", "((rows) // (vec) + 1)"]),
        ("shared", ["shared=(4 * rows) - 4", "shared=(4 * rows) // 2"]),
        ("divisor", ["divisor_struct((rows) + 1)"]),
        ("fresh", ["device.empty((rows,), np.int64)"]),
        ("vector", ["vec = 4", "vec = 1", "vector_width(4, x, y)", "vector_width(rows, y)", "vector_width(rows, x)"]),
        ("dtype", ["np.int32"]),
        ("swap", ["(x, y, divisor", "launch(device, grid, \"toy\"", "_BLOCK, grid, args"]),
        ("guard", ["if True:", "if False:"]),
        ("compare", ["rows != 0"]),
        ("logic", ["(rows == 0) and (not x)", "or bool(x)"]),
        ("arithmetic", ["((rows) * (3))", "min((rows), 40)", "shared=((4) + (rows))", "shared=(rows))"]),
        ("constant", ["_BLOCK = 257", "_BLOCK = 512", "_BLOCK = 128", "max(2,", "// 4, 40", "41)", "20)", "80)"]),
        ("extremum", ["min(1, min(", "max(1, max(rows", "(1)", "max(1, (rows // 3))", "max(1, (40))"]),
        ("delete", ["pass"]),
        ("move", ["x[0] = y device.note(rows)", "device.note(rows) args ="]),
    ],
)  # fmt: skip
def test_launch_operators(operator: str, edits: list[str]) -> None:
    found = _after(operator)
    for edit in edits:
        assert any(edit in after for after in found), (edit, found)


def test_edits_are_python_each_once_and_of_what_is_computed() -> None:
    mutants = launch_mutants("gpu/toy.py", LAUNCH)
    assert {m.operator for m in mutants} == set(LAUNCH_OPERATORS)
    texts = [m.apply(LAUNCH) for m in mutants]
    assert len({*texts, LAUNCH}) == len(texts) + 1
    for text in texts:
        ast.parse(text)
        assert all(line in text for line in LAUNCH.splitlines()[:5])
        for untouched in ("maxsize=7", '"""a * b."""', "assert rows + 1", 'f"{rows + 1}"', "x: Any"):
            assert untouched in text


def test_a_launch_mutant_knows_its_place() -> None:
    (zeros,) = launch_mutants("gpu/toy.py", LAUNCH, ["fresh"])
    assert (zeros.place, zeros.function, zeros.lines, zeros.at_import) == (
        "gpu/toy.py:13",
        "launch_toy",
        (13, 13),
        False,
    )
    block, default = launch_mutants("gpu/toy.py", LAUNCH, ["constant"])[0], "rows: int = 2"
    assert (block.function, block.at_import) == ("", True)
    assert [m.at_import for m in launch_mutants("gpu/toy.py", LAUNCH) if default in m.after] == [True]


def test_of_an_ops_file_only_what_launches_is_changed() -> None:
    text = (
        "_USED, _FREE = 7, 1\n_USED_TOO = 8\n_OF_NUMPY = 9\n\n\ndef helper(n):\n    return n + _USED_TOO\n\n\n"
        "@toy.kernel\ndef _(device, x):\n    return helper(3)\n\n\n@toy.numpy\ndef _(x):\n    return 4 + _OF_NUMPY\n"
    )
    found = launch_mutants("ops/toy.py", text, ["constant"])
    assert [(m.before, m.function) for m in found] == [("_USED_TOO = 8", ""), ("return helper(3)", "toy.kernel")]


def test_choices_are_functions_that_there_are() -> None:
    for file, name in CHOICES:
        tree = ast.parse((launch_code.PACKAGE / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("file", "before", "after", "at_import"),
    [
        ("gpu/elementwise.py", "arrays[0].size", "arrays[0].size + 1", False),  # in the place of a function
        ("gpu/elementwise.py", "_BLOCK = 256", "_BLOCK = 2048", True),  # of a module
    ],
)
@pytest.mark.emulator
def test_a_changed_module_is_in_place(file: str, before: str, after: str, at_import: bool) -> None:
    """In a process of its own, also where this one remembers the launch; here the launch is as it was."""
    text = (launch_code.PACKAGE / file).read_text()
    assert before in text
    for _ in range(3):  # from the second call on, a plan launches
        checks.Examples(["relu_forward"]).run("relu_forward", "forward")

    def fails(say: Say, changed: str) -> None:
        there = launch_checks.put_in_place(file, changed, at_import)
        try:
            there.Examples(["relu_forward"]).run("relu_forward", "forward")
        except Exception as error:
            say({"failed": f"{type(error).__name__}: {error}"})

    def said(changed: str) -> list[dict[str, Any]]:
        ((_, ending),) = run_forked([lambda say: fails(say, changed)], 1)
        return ending.said

    assert said(text) == []
    assert "failed" in said(text.replace(before, after, 1))[0]


def test_a_module_that_cannot_be_imported_is_noticed() -> None:
    file = "gpu/elementwise.py"
    text = (launch_code.PACKAGE / file).read_text().replace("_BLOCK = 256", "_BLOCK, _ROWS = 256,", 1)

    def tried(say: Say) -> None:
        launch_checks.try_battery(say, file, text, True, checks.Examples(["relu_forward"]), ["relu_forward"], {})

    ((_, ending),) = run_forked([tried], 1)
    assert verdict(ending) == {"how": "error", "where": file, "message": ANY}


@pytest.mark.tools
@pytest.mark.emulator
def test_caught_survived_and_explained_launches(tmp_path: Path) -> None:
    """gpu/elementwise.py: one block more is idle, one less is missed, and a tail cut off is seen."""
    reasons = tmp_path / "explained.tsv"
    reasons.write_text("\t".join(explained.HEAD) + "\n")
    status, output = _command(reasons)
    assert status == 1, output
    assert "+ grid = ((ceil_div(n, vec * _BLOCK)) + 1, 1, 1)" in output
    assert "SURVIVED  gpu/elementwise.py" in output
    assert "max(0, (ceil_div" not in output
    survivors = [m for m in launch_mutants("gpu/elementwise.py", None, ["grid"]) if m.after in output]
    with reasons.open("a") as file:
        file.writelines("\t".join((*m.key, "the block is idle")) + "\n" for m in survivors)
    status, output = _command(reasons)
    assert status == 0, output
    assert "the block is idle" in output


def _command(reasons: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.mutants", "--launch", "--file", "gpu/elementwise.py", "--only", "grid"]
    options = ["--all", "--battery", "--primitive", "relu_forward", "--explained", str(reasons)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr

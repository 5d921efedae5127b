"""Which instructions the main loops have: read from a disassembler's text, kept in a table, held to floors."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from pathlib import Path

import pytest

from benchmarks import instruction_mix as mix
from benchmarks.compile_gate import GateError, Job
from gpunn.bench import machine_code

# Of a kernel with a loop in a loop: the inner one multiplies most, one instruction of it under a predicate.
SASS = """\
.text.first:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   FFMA R2, R1, R1, R2 ;
.L_x_1:
        /*0020*/                   LDG.E.128 R4, [R2.64] ;
.L_x_0:
        /*0030*/                   LDS.128 R8, [R3] ;
        /*0040*/                   FFMA R2, R1, R1, R2.reuse ;
        /*0050*/              @!P0 FFMA R5, R1, R1, R5 ;
        /*0060*/               @P1 BRA `(.L_x_0) ;
        /*0070*/                   FFMA R2, R1, R1, R2 ;
        /*0080*/               @P2 BRA `(.L_x_1) ;
        /*0090*/               @P2 BRA `(.L_x_2) ;
.L_x_2:
        /*00a0*/                   EXIT ;
.text.second:
        /*0000*/                   FFMA R2, R1, R1, R2 ;
        /*0010*/                   EXIT ;
"""


def test_the_main_loop_is_the_innermost_that_multiplies_most() -> None:
    kernels = dict(machine_code.kernels_of(SASS))
    assert list(kernels) == ["first", "second"]
    assert mix.main_loop(kernels["first"]) == {"LDS": 1, "FFMA": 2, "BRA": 1}
    assert mix.main_loop(kernels["second"]) is None


def test_product_loops_are_all_that_have_no_loop_inside_and_multiply() -> None:
    again = """\
.L_x_5:
        /*0100*/                   LDS.128 R8, [R3] ;
        /*0110*/                   HMMA.1684.F32 R4, R4, R8, R4 ;
        /*0120*/               @P1 BRA `(.L_x_5) ;
.L_x_6:
        /*0130*/                   STS [R3], R8 ;
        /*0140*/               @P1 BRA `(.L_x_6) ;
"""
    kernels = dict(machine_code.kernels_of(SASS.replace(".text.second", again + ".text.second")))
    assert mix.product_loops(kernels["first"]) == {"LDS": 2, "FFMA": 2, "HMMA": 1, "BRA": 2}
    assert mix.product_loops(kernels["second"]) is None


def _row(multiply: int, source: str = "abc") -> mix.Row:
    return mix.Row("gemm.cu", "REAL=float TILE=128 VEC=4", "gemm_nt", 100, multiply, 5, 2, source)


def test_a_share_below_its_floor_and_a_stale_table_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.tsv"
    monkeypatch.setattr(mix, "TABLE", table)
    monkeypatch.setattr(mix, "wanted", lambda: [Job("gemm.cu", "REAL=float TILE=128 VEC=4", 90, "abc")])
    monkeypatch.setitem(mix.FLOORS, ("gemm_nt", "128"), 0.86)
    for rows, status, told in (
        ([_row(86)], 0, "86.0% of   100  gemm.cu gemm_nt"),
        ([_row(85)], 1, "TOO LOW: gemm.cu gemm_nt [REAL=float TILE=128 VEC=4]: 85.0% of its loop multiplies, not 86%"),
        ([_row(90, "old")], 1, "STALE: gemm.cu [REAL=float TILE=128 VEC=4]"),
        ([], 1, "STALE"),
    ):
        mix.write_table(rows, table)
        assert mix.read_table(table) == rows
        assert mix.main(["--check"]) == status
        assert told in capsys.readouterr().out
    table.write_text("gemm.cu\t3\n")
    assert mix.main(["--check"]) == 2
    assert "expected 8 cells; got 2" in capsys.readouterr().err


def test_without_a_disassembler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "files", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GateError, match=r"pip install 'gpunn\[sass\]'"):
        machine_code.disassembler()


def test_floors_are_of_kernels_that_there_are() -> None:
    rows = mix.read_table(mix.TABLE)
    assert {kernel for kernel, _ in mix.FLOORS} <= {row.kernel for row in rows}
    # Each floor holds something: with nothing that multiplies, as many rows and more are too low.
    failing = {(row.kernel, row.macros) for row in rows if dataclasses.replace(row, multiply=0).fault}
    assert len(failing) >= len(mix.FLOORS)
    assert {row.file for row in rows} == set(mix.FILES)

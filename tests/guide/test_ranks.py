"""The guide's examples that several processes run together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distributed.launch import NEEDS_MPI, run
from tests.guide.programs import blocks, programs


@NEEDS_MPI
@pytest.mark.parametrize("page", programs("ranks"))
@pytest.mark.parametrize("ranks", [2, 3])
def test_runs_on_ranks(page: str, ranks: int, tmp_path: Path) -> None:
    program = [block for block in blocks(page) if "ranks" in block.kinds]
    file = tmp_path / "program.py"
    file.write_text("\n".join(block.text for block in program))
    status, said = run(ranks, str(file))
    assert status == 0, said
    assert said == "".join(block.prints for block in program)

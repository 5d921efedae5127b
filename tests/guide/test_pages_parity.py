"""The guide's examples that need torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guide.programs import check, programs
from tests.parity import torch as torch  # skips this file where it is missing


@pytest.mark.parametrize("page", programs("torch"))
def test_runs_with_torch(page: str, tmp_path: Path) -> None:
    check(page, "torch", tmp_path)

"""The page of differences says what the tables say that raise the errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpunn import differences
from gpunn.errors import UsageError


def test_the_page_is_up_to_date() -> None:
    assert differences.main(["--check"]) == 0, "run python -m gpunn.differences"


def test_check_finds_an_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    text = differences.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(differences, "PAGE", tmp_path / "DIFFERENCES.md")
    differences.PAGE.write_text(text.replace("sparse_grad", "sparse"), encoding="utf-8")
    assert differences.main(["--check"]) == 1
    assert "run python -m gpunn.differences" in capsys.readouterr().out
    assert differences.main([]) == 0
    assert differences.PAGE.read_text(encoding="utf-8") == text


def test_what_stands_around_the_tables_is_kept() -> None:
    page = f"before\n{differences.BEGIN}\nout of date\n{differences.END}\nbehind\n"
    made = differences.with_arguments(page)
    assert made.startswith("before\n" + differences.BEGIN)
    assert made.endswith(differences.END + "\nbehind\n")
    assert "out of date" not in made


@pytest.mark.parametrize("row", differences.REFUSED, ids=lambda row: f"{row.where[0]}-{row.keyword}")
def test_every_row_refuses_and_accepts(row: differences.Refused) -> None:
    for op in row.where:
        for value in row.values:
            differences.refuse(op, **{row.keyword: value})
        with pytest.raises(UsageError, match=f"^{op}: {row.keyword}=") as caught:
            differences.refuse(op, **{row.keyword: "something else"})
        for part in (row.why, row.instead[1:]):
            assert part in str(caught.value)

"""The device report's sanitizer section, with programs that stand in for compute-sanitizer."""

from __future__ import annotations

import stat
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks._report import sanitized, sanitizer
from benchmarks._report.book import Section
from benchmarks._report.health import BROKEN

OPTIONS = Namespace(device="cuda")


@pytest.fixture
def section(tmp_path: Path) -> Section:
    return Section("sanitizer", tmp_path / "part.json", 400)


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """A program called compute-sanitizer that does ``body`` in Python; ``argv`` has what it was given."""
    program = folder / "bin" / "compute-sanitizer"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nargv = sys.argv[1:]\n{body}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder / "nothing"))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("CUDA_HOME", str(folder))
    return program


def _without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PATH", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(sanitizer, "_USUAL", str(tmp_path))


def test_it_says_when_it_is_not_installed(section: Section, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _without(monkeypatch, tmp_path)
    sanitizer.run(section, OPTIONS)
    assert section.data["values"]["compute-sanitizer"] == "not installed"
    assert "compute-sanitizer is not installed" in section.data["cut"][0]["what"]
    assert section.data["failures"] == []


@pytest.mark.parametrize("name", ["PATH", "CUDA_HOME", "CUDA_PATH"])
def test_it_is_found(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _without(monkeypatch, tmp_path)
    folder = tmp_path / "cuda"
    folder.mkdir()
    program = _install(folder, monkeypatch, "")
    _without(monkeypatch, tmp_path)
    monkeypatch.setenv(name, str(program.parent if name == "PATH" else folder))
    assert sanitizer.find() == str(program)


CLEAN = """
print("========= COMPUTE-SANITIZER")
print("ITEM 0 relu_forward, example 0 (x=float32[3])")
print("END 1 of 1")
print("========= ERROR SUMMARY: 0 errors")
"""


def test_all_tools_run(section: Section, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _install(tmp_path, monkeypatch, CLEAN)
    sanitizer.run(section, OPTIONS)
    rows = section.data["tables"]["runs"]
    assert [row["tool"] for row in rows] == ["memcheck", "racecheck", "synccheck", "initcheck"]
    assert {(row["examples"], row["of"], row["exit status"]) for row in rows} == {(1, 1, 0)}
    assert {row["summary"] for row in rows} == {"ERROR SUMMARY: 0 errors"}
    assert section.data["failures"] == section.data["cut"] == []


FAULTY = """
print("========= COMPUTE-SANITIZER")
print("ITEM 0 relu_forward, example 0 (x=float32[3])")
print("ITEM 1 gemm, example 0 (x=float32[3])")
if argv[argv.index("--tool") + 1] == "racecheck":
    print("========= Error: Race reported between Write access at gemm_nt+0x40")
print("END 2 of 2")
sys.exit(99 if "racecheck" in argv else 0)
"""


def test_what_a_tool_finds_is_a_failure_with_the_example(
    section: Section, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(tmp_path, monkeypatch, FAULTY)
    sanitizer.run(section, OPTIONS)
    (failure,) = section.data["failures"]
    assert failure["what"].startswith(
        "racecheck found errors:\nITEM 1 gemm, example 0 (x=float32[3])\n========= Error:"
    )
    assert len(section.data["tables"]["runs"]) == 4


BREAKING = """
first = int(argv[argv.index("--first") + 1])
for number in range(first, 3):
    print("ITEM", number, "made, example 0 ()")
    if number == 1:
        print("========= Invalid __global__ write of size 4 bytes")
        sys.exit(99)
print("END 3 of 3")
"""


def test_behind_an_example_that_breaks_the_context_it_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    section = Section("sanitizer", tmp_path / "part.json", 40)
    _install(tmp_path, monkeypatch, BREAKING)
    monkeypatch.setattr(sanitizer, "_TOOLS", {"memcheck": []})
    sanitizer.run(section, OPTIONS)
    assert [row["examples"] for row in section.data["tables"]["runs"]] == [2, 1]
    (failure,) = section.data["failures"]
    assert "ITEM 1 made" in failure["what"]


def test_a_tool_that_cannot_be_used_here_is_no_failure(
    section: Section, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(tmp_path, monkeypatch, "print('========= Error: Device not supported')\nsys.exit(1)")
    sanitizer.run(section, OPTIONS)
    assert section.data["failures"] == []
    assert len(section.data["cut"]) == 4
    assert "could not be used here (exit status 1)" in section.data["cut"][0]["what"]


def test_examples_left_out_and_tools_left_out_are_said(
    section: Section, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(tmp_path, monkeypatch, CLEAN.replace("END 1 of 1", "END 1 of 9"))
    sanitizer.run(section, OPTIONS)
    assert section.data["cut"][0]["what"] == "memcheck: 8 of 9 examples left out for want of time"
    short = Section("short", tmp_path / "short.json", 10)
    sanitizer.run(short, OPTIONS)
    assert len(short.data["cut"]) == 4
    assert "runs" not in short.data["tables"]


# -- what runs under it ---------------------------------------------------------------------------


def test_every_kernels_first_example_comes_before_any_second() -> None:
    made = sanitized.items()
    numbers = [number for _, number, _ in made]
    assert numbers == sorted(numbers)
    assert len({primitive.name for primitive, number, _ in made if number == 0}) == numbers.count(0) > 100


def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [item for item in sanitized.items() if item[0].name == "relu_forward"][:3]
    monkeypatch.setattr(sanitized, "items", lambda: made)


def test_it_says_where_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _few(monkeypatch)
    assert sanitized.main(["--device", "cpu", "--seconds", "60", "--first", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "ITEM 1 relu_forward, example 1",
        "ITEM 2 relu_forward, example 2",
        "END 3 of 3",
    ]
    assert sanitized.main(["--device", "cpu", "--seconds", "-1"]) == 0
    assert capsys.readouterr().out == "END 0 of 3\n"


def test_it_ends_when_the_context_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("cudaErrorIllegalAddress")

    _few(monkeypatch)
    monkeypatch.setattr(sanitized, "outputs", fail)
    assert sanitized.main(["--device", "cpu", "--seconds", "60"]) == 0  # an error that passes: the battery has it
    assert capsys.readouterr().out.count("RuntimeError: cudaErrorIllegalAddress") == 3
    monkeypatch.setattr(sanitized, "broken", lambda device: "gone")
    assert sanitized.main(["--device", "cpu", "--seconds", "60"]) == BROKEN
    assert "END" not in capsys.readouterr().out

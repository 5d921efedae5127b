"""The house is in order: what belongs together is there, and one name leads to all of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPS = sorted(p.stem for p in (ROOT / "gpunn" / "ops").glob("*.py") if not p.stem.startswith("_") and p.stem != "all")
# Ops that exist for other ops and are tested through them, and the battery.
HELPERS = {"arithmetic", "bias", "convert", "geometry", "scalars"}


def test_top_level_holds_what_the_design_lists() -> None:
    expected = {"pyproject.toml", "README.md", "CONTRIBUTING.md", "LICENSE", "CHANGELOG.md"}
    expected |= {"gpunn", "kernels", "benchmarks", "tests"}
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    built = {p for p in found if p in ("build", "dist", "runs", "out", "scratch") or p.endswith(".egg-info")}
    assert expected <= found
    assert found - built - expected == set()


@pytest.mark.parametrize("op", [o for o in OPS if o not in HELPERS])
def test_every_op_has_its_test(op: str) -> None:
    assert (ROOT / "tests" / "ops" / f"test_{op}.py").is_file(), f"gpunn/ops/{op}.py needs tests/ops/test_{op}.py"


def test_every_kernel_file_is_launched_by_an_op() -> None:
    from gpunn.gpu.launcher import KernelSource
    from gpunn.ops import import_all

    import_all()
    files = {p.name for p in (ROOT / "kernels").glob("*.cu")}
    assert files == set(KernelSource.registry), "a .cu file without a KernelSource, or the other way round"


@pytest.mark.parametrize("path", sorted((ROOT / "kernels").glob("*.cu*")), ids=lambda p: p.name)
def test_kernel_files_open_with_what_they_do(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"// {path.name}: "), "a kernel file opens with its name and its formula"
    if path.suffix == ".cu":
        assert any(line.startswith("// Launch: ") for line in lines), "say the launch shape"


@pytest.mark.parametrize("path", sorted((ROOT / "gpunn").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_say_what_they_hold_and_fit_in_the_head(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module opens with what it holds"
    assert len(text.splitlines()) <= 450, "a file that grows past some 400 lines is asking to be split"

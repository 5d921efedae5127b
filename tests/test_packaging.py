"""The wheel carries everything: built, unpacked and imported outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling: pip install 'gpunn[dev]'")
    folder = tmp_path_factory.mktemp("wheel")
    # hatchling's own command: the build environment is this one, nothing is fetched.
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_carries_kernels_emulator_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    kernels = {f"gpunn/_{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "kernels").rglob("*.cu*")}
    emulator = {f"gpunn/emulator/{p.name}" for p in (ROOT / "gpunn" / "emulator").iterdir() if p.is_file()}
    assert kernels | emulator | {"gpunn/py.typed", "gpunn/_kernels/kernel_resources.tsv"} <= names
    assert not [n for n in names if n.startswith(("tests", "benchmarks", "kernels"))]


def test_imports_and_finds_its_kernels_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import gpunn, gpunn.gpu.launcher as l, pathlib; from gpunn.ops import import_all; import_all();"
        "folder = l.kernel_folder();"
        "assert folder == pathlib.Path(gpunn.__file__).parent / '_kernels', folder;"
        "assert all(s.text for s in l.KernelSource.registry.values());"
        "print(gpunn.tensor([1.0, 2.0]).sum().item())"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program] if sys.version_info >= (3, 11) else [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3.0"

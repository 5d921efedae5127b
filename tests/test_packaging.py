"""The wheel carries everything: unpacked and imported outside the checkout, and installed where nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
    guide = {f"gpunn/guide/{p.name}" for p in (ROOT / "gpunn" / "guide").glob("*.md")}
    assert guide | {"gpunn/DIFFERENCES.md", "gpunn/guide/template/custom.css"} <= names
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


# -- installed --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gpunn:
    """The installed command in an empty folder; in ``packages`` Python looks too."""

    python: Path
    folder: Path
    packages: str = ""

    def __call__(self, *words: str, missing: str = "") -> subprocess.CompletedProcess[str]:
        """Run it, as if the package ``missing`` were not installed."""
        code = f"import sys; sys.modules[{missing!r}] = None; from gpunn.cli.main import main; sys.exit(main())"
        start = [self.python, "-c", code] if missing else [self.python.with_name("gpunn")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GPUNN_"))}
        return subprocess.run(
            [*start, *words],
            cwd=self.folder,
            env=environment | {"PYTHONPATH": self.packages},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python in an environment with the wheel and what it needs, from the package index, and nothing else."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    done = subprocess.run([*pip, str(wheel)], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def bare(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Gpunn:
    return Gpunn(python, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def full(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Gpunn:
    """With this environment's packages, which stand for the extras. An editable gpunn, a .pth file, is not seen so."""
    program = Gpunn(python, tmp_path_factory.mktemp("full"), sysconfig.get_path("purelib"))
    start = [str(python), "-c", "import gpunn; print(gpunn.__file__)"]
    environment = os.environ | {"PYTHONPATH": program.packages}
    done = subprocess.run(start, cwd=program.folder, env=environment, capture_output=True, text=True, check=False)
    assert Path(done.stdout.strip()).is_relative_to(python.parent.parent), done.stdout + done.stderr
    return program


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error that the user can mend."""
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    assert done.stderr.startswith("gpunn: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.tools
def test_without_extras_and_checkout_networks_and_kernels_work(bare: Gpunn) -> None:
    done = bare("summary", "resnet50")
    assert (done.returncode, done.stderr) == (0, "")
    assert "layer4.2.conv3" in done.stdout
    # The kernels, the emulator's own sources and the compile gate's table, out of the wheel.
    done = bare("explain", "lenet5", "fc2", "--card", "T4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "registers" in done.stdout
    np.savez(bare.folder / "w.npz", weight=np.ones(3, np.float32))
    done = bare("convert", "w.npz", "w.safetensors")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.tools
@pytest.mark.parametrize(
    ("words", "install"),
    [
        ("train lenet5", "'gpunn[demo]'"),
        ("demo approximation", "'gpunn[demo]'"),
        ("plot runs/a", "'gpunn[plot]'"),
        ("guide --out pages", "'gpunn[docs]'"),
        ("export lenet5 a.onnx", "'gpunn[onnx]'"),
        ("bench --against torch", "torch"),
    ],
)
def test_without_extras_a_command_says_which_it_needs(bare: Gpunn, words: str, install: str) -> None:
    assert f"pip install {install}" in _told(bare(*words.split()))


@pytest.mark.tools
def test_with_the_extras_the_same_commands_work(full: Gpunn) -> None:
    for words, written in (
        ("train lenet5 --max-steps 20 --out a", "a/model.safetensors"),
        ("plot a --out a.svg", "a.svg"),
        ("demo approximation --out b.svg", "b.svg"),
    ):
        done = full(*words.split())
        assert (done.returncode, done.stderr) == (0, ""), words
        assert (full.folder / written).is_file(), words
    for words, missing, install in (
        ("predict a.png --run a", "PIL", "'gpunn[vision]'"),
        ("train lenet5 --tensorboard", "tensorboard", "'gpunn[tensorboard]'"),
        ("sweep lenet5 --lr 0.1,0.2", "optuna", "'gpunn[sweep]'"),
    ):
        assert f"pip install {install}" in _told(full(*words.split(), missing=missing)), words

"""``gpunn doctor`` on machines with all kinds of faults: each is told with what mends it; none ends the examination."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpunn import doctor, nn
from gpunn.cli.main import main
from gpunn.doctor import checks, probes
from gpunn.doctor.apart import apart
from gpunn.doctor.findings import Examination, Finding
from gpunn.gpu import diagnosis
from tests.devices import GPU

_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libraries and /proc as Linux has them")
_LONG = 60.0  # seconds for what answers at once, however busy the machine


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that come before all others, here and in the processes of probes."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return folder


def install(site: Path, distribution: str, version: str, module: str = "", code: str = "") -> None:
    """A stand-in for an installed package."""
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    if module:
        (site / module).mkdir(exist_ok=True)
        (site / module / "__init__.py").write_text(code)


def fake_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A libcuda.so.1 that does as it is told."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the stand-in of libcuda")
    (tmp_path / "cuda.c").write_text(code)
    target = tmp_path / "lib" / "libcuda.so.1"
    target.parent.mkdir()
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(target), str(tmp_path / "cuda.c")], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(target.parent))


def driver(limit: float = _LONG) -> Finding:
    return apart("driver", "driver", limit, "cuda", True)


# -- a sound machine -------------------------------------------------------------------------------


def test_a_sound_machine(capsys: Any) -> None:
    assert main(["doctor", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok      gpunn: gpunn ")
    assert lines[1].startswith("ok      numpy: NumPy ")
    assert "; gpunn uses " in lines[1]
    assert "ok      step on cpu: a linear layer and its gradient are right to " in "\n".join(lines)
    assert lines[-1] == "Works: cpu."
    assert not [line for line in lines if "driver" in line or "g++" in line]


@pytest.mark.emulator
def test_the_emulator_as_json(capsys: Any) -> None:
    assert main(["doctor", "--device", "emulator", "--json", "--limit", "300"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is True
    assert found["works"] == {"cpu": True, "emulator": True}
    by_name = {check["name"]: check for check in found["checks"]}
    assert by_name["g++"]["status"] == "ok"
    assert by_name["step on emulator"]["group"] == "emulator"
    assert set(by_name["g++"]) == {"name", "group", "status", "failure", "text", "fix"}


@pytest.mark.gpu
def test_a_gpu() -> None:
    examination = doctor.examine(GPU, 300)
    assert examination.failures == (), examination.failures
    assert examination.works == {"cpu": True, GPU: True}
    names = {finding.name for finding in examination.findings}
    assert {"driver", "CuPy packages", "CuPy", "CuPy's cache", "NVRTC", "CUDA headers", "cuBLAS", "NCCL"} <= names


# -- the driver ------------------------------------------------------------------------------------


_INIT = "int cuInit(unsigned f) {{ {} }}\n"


@_LINUX
def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: _raise(OSError(f"{name}: cannot open: No such file")))
    status, text, fix = probes.driver()
    assert status == "absent"
    assert text == "no NVIDIA driver: libcuda.so.1 was not found"
    assert "docker run --gpus all" in fix
    monkeypatch.setattr(ctypes, "CDLL", lambda name: _raise(OSError(f"{name}: file too short")))
    status, text, fix = probes.driver()
    assert (status, text) == ("broken", "libcuda.so.1 cannot be loaded: libcuda.so.1: file too short")


def _raise(error: Exception) -> Any:
    raise error


@_LINUX
@pytest.mark.parametrize(
    ("code", "status", "text", "fix"),
    [
        (_INIT.format("return 100;"), "absent", "the driver sees no GPU", "nvidia-smi"),
        (_INIT.format("return 803;"), "broken", "the driver's library and its kernel module differ", "sudo reboot"),
        (_INIT.format("return 999;"), "broken", "the driver does not start (CUDA error 999)", "modprobe nvidia_uvm"),
        (_INIT.format("return *(volatile int *)0;"), "broken", "ended its process (SIGSEGV)", "nvidia-smi"),
        ("#include <stdlib.h>\n" + _INIT.format("exit(3);"), "broken", "ended its process (status 3)", "nvidia-smi"),
    ],
)
def test_a_driver_that_fails(
    code: str, status: str, text: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_driver(tmp_path, monkeypatch, code)
    found = driver()
    assert found.status == status
    assert text in found.text
    assert fix in found.fix
    if "100" in code:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
        assert driver().text == "CUDA_VISIBLE_DEVICES='7' hides all GPUs, or names none there is"


@_LINUX
def test_a_driver_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, "#include <unistd.h>\n" + _INIT.format("for (;;) pause();"))
    found = driver(limit=2)
    assert (found.status, found.text) == ("broken", "gave no answer in 2 s")
    assert "restart the machine" in found.fix


_GPU = _INIT.format("return 0;") + (
    "#include <string.h>\n#include <stddef.h>\n"
    "int cuDriverGetVersion(int* v) { *v = VERSION; return 0; }\nint cuDeviceGetCount(int* n) { *n = 1; return 0; }\n"
    'int cuDeviceGetName(char* n, int l, int d) { strcpy(n, "NVIDIA Fake"); return 0; }\n'
    "int cuDeviceGetAttribute(int* v, int a, int d) { *v = a == 75 ? MAJOR : 0; return 0; }\n"
    "int cuDeviceTotalMem_v2(size_t* b, int d) { *b = (size_t)8 << 30; return 0; }\n"
)


@_LINUX
@pytest.mark.parametrize(
    ("version", "major", "status", "text"),
    [
        (12090, 9, "ok", "driver for CUDA 12.9; cuda:0 NVIDIA Fake (9.0, 8 GiB)"),
        (12090, 7, "broken", "gpunn needs compute capability 7.5 or later"),
        (11040, 9, "broken", "too old for the CuPy that gpunn needs"),
    ],
)
def test_gpus_and_drivers_that_are_too_old(
    version: int, major: int, status: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_driver(tmp_path, monkeypatch, _GPU.replace("VERSION", str(version)).replace("MAJOR", str(major)))
    found = driver()
    assert found.status == status
    assert text in found.text


# -- CuPy ------------------------------------------------------------------------------------------


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examination without the driver's probe, which would find this machine's."""
    real = apart

    def stand_in(name: str, probe: str, limit: float, *rest: Any, **how: Any) -> Finding:
        if probe == "driver":
            return Finding("driver", "absent", "no NVIDIA driver", "", "cuda", True)
        return (
            real(name, probe, limit, *rest, **how)
            if probe in ("cupy", "nvrtc")
            else Finding(name, "ok", "", "", rest[0])
        )

    monkeypatch.setattr(checks, "apart", stand_in)


def cuda(device: str = "cuda") -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(device, _LONG).findings}


def test_two_cupy_packages_at_once(site: Path, no_driver: None) -> None:
    install(site, "cupy-cuda12x", "14.2.0")
    install(site, "cupy-cuda13x", "14.2.0", "cupy", "raise ImportError('DLL')")
    found = cuda()["CuPy packages"]
    assert found.status == "broken"
    assert found.text == "cupy-cuda12x 14.2.0 and cupy-cuda13x 14.2.0 at once: they overwrite each other's files"
    assert found.fix.startswith("pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install 'gpunn[cuda12]'")


def test_no_cupy(no_driver: None, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(diagnosis, "_installed", lambda name: None)
    found = cuda()["CuPy packages"]
    assert found.status == "absent"
    assert found.fix == "pip install 'gpunn[cuda12]' or 'gpunn[cuda13]' to match your driver"
    # A laptop without a GPU is sound, unless it is asked to have one.
    assert main(["doctor"]) == 0
    assert "-       CuPy packages: CuPy is not installed" in capsys.readouterr().out
    assert main(["doctor", "--device", "cuda"]) == 1
    assert capsys.readouterr().out.endswith("To mend: driver, CuPy packages.\n")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise ImportError('libcudart.so.12: bad magic')", "is installed but cannot be imported (libcudart.so.12"),
        ("import no_such_module", "without the package 'no_such_module' that it needs"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGABRT)", "ended its process (SIGABRT)"),
        ("print('noise', flush=True)\nraise SystemExit(7)", "ended its process (status 7)"),
    ],
)
def test_a_cupy_that_fails(site: Path, no_driver: None, code: str, text: str) -> None:
    install(site, "cupy-cuda12x", "14.2.0", "cupy", code)
    found = cuda()
    assert found["CuPy"].status == "broken"
    assert text in found["CuPy"].text
    assert "NVRTC" not in found, "what cannot work is not tried"


def test_a_driver_that_does_not_work_is_not_tried_again(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "cupy-cuda12x", "14.2.0")
    broken = Finding("driver", "broken", "hangs", "", "cuda", True)
    monkeypatch.setattr(checks, "apart", lambda name, *rest, **how: broken)
    assert cuda()["CuPy"].text == "not tried: the driver does not work"


# -- g++, caches, packages -------------------------------------------------------------------------


@_LINUX
@pytest.mark.parametrize(
    ("script", "status", "text"),
    [
        (None, "absent", "the emulator needs g++ (version 9 or later), which is not on PATH: apt install g++"),
        ("echo 'cc1plus: missing' >&2; exit 1", "broken", "g++ does not run (status 1: cc1plus: missing)"),
        ("echo 7.5.0", "broken", "g++ 7.5.0 is too old: the emulator needs 9 or later"),
        ("echo 12.2.0", "ok", "g++ 12.2.0"),
    ],
)
def test_compilers(script: str | None, status: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if script is not None:
        (tmp_path / "g++").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = apart("g++", "gxx", _LONG, "emulator", True)
    assert (found.status, found.text) == (status, text)


@_LINUX
def test_what_the_emulator_lacks_fails_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    examination = doctor.examine("emulator", _LONG)
    assert [finding.name for finding in examination.failures] == ["g++", "step on emulator"]
    assert examination.works == {"cpu": True, "emulator": False}
    everything = Examination("auto", examination.findings, examination.works)
    assert everything.failures == ()


@_LINUX
@pytest.mark.parametrize(
    ("name", "variable", "check"),
    [("emulator's cache", "GPUNN_CACHE", checks._emulator), ("CuPy's cache", "CUPY_CACHE_DIR", checks._cuda)],
)
def test_caches(name: str, variable: str, check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> Finding:
        fine = Finding("", "ok", "")
        monkeypatch.setattr(diagnosis, "packages", lambda: ["cupy-cuda12x"])
        more = () if check is checks._emulator else ("cuda",)
        found = check(lambda *what, **how: lambda: fine, fine, *more)
        return next(finding for finding in found if finding.name == name)

    monkeypatch.setenv(variable, str(tmp_path / "a" / "b"))
    assert look().status == "ok"
    assert not list(tmp_path.iterdir()), "it is not made"
    monkeypatch.setenv(variable, "/proc/cache")
    assert look().status == "broken"
    assert look().text.startswith("/proc/cache cannot be written (")
    assert look().fix == f"export {variable}=FOLDER, one that can be written"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert look().status == "broken"


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("", "ok", "pillow 99.0"),
        (
            "raise ImportError('libjpeg.so.62: not found')",
            "broken",
            "pillow 99.0 cannot be imported (ImportError: libjpeg",
        ),
        ("import os\nos._exit(5)", "broken", "ended its process (status 5)"),
    ],
)
def test_packages(site: Path, code: str, status: str, text: str) -> None:
    install(site, "pillow", "99.0", "PIL", code)
    found = apart("pillow", "package", _LONG, "everywhere", distribution="pillow", module="PIL", use="for images")
    assert found.status == status
    assert text in found.text
    assert ("pip install --force-reinstall pillow" in found.fix) is ("cannot" in text)


def test_a_package_that_is_not_there() -> None:
    found = probes.package("no-such-package", "no_such_module", "for nothing")
    assert found == ("absent", "not installed; for nothing", "pip install no-such-package")


_MPI = """
import sys, types

class rc:
    pass

module = types.ModuleType("mpi4py.MPI")
module.Get_library_version = lambda: "Open MPI v5\\nmore"
sys.modules["mpi4py.MPI"] = module
"""


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("", "broken", "mpi4py 4.1 finds no MPI (No module named 'mpi4py.MPI')"),
        (_MPI, "ok", "mpi4py 4.1 with Open MPI v5"),
    ],
)
def test_mpi(site: Path, code: str, status: str, text: str) -> None:
    install(site, "mpi4py", "4.1", "mpi4py", code or "class rc: pass")
    found = apart("MPI", "mpi", _LONG, "several GPUs")
    assert (found.status, found.text) == (status, text)


# -- the small step --------------------------------------------------------------------------------


def test_a_step_with_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x, **how: forward(self, x, **how) * 1.001)
    status, text, fix = probes.smoke("cpu")
    assert status == "broken"
    assert text.startswith("a linear layer and its gradient are off by ")
    assert fix == "gpunn lockstep mlp --devices cpu,cpu"


def test_a_device_that_is_not_there() -> None:
    status, text, _ = probes.smoke("cuda:77")
    assert status == "broken"
    assert text.startswith("device 'cuda")


# -- the command -----------------------------------------------------------------------------------


def test_broken_things_are_told_with_what_mends_them(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Finding("one", "broken", "is broken", "mend it so")
    lacking = Finding("two", "absent", "is not here", "pip install two", "cuda", True)
    monkeypatch.setattr(checks, "_all", lambda *rest: iter([broken, lacking]))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "BROKEN  one: is broken",
        "        mend it so",
        "-       two: is not here",
        "        pip install two",
        "Works: nothing.",
        "To mend: one.",
    ]
    assert main(["doctor", "--json", "--device", "cuda"]) == 1
    assert [check["failure"] for check in json.loads(capsys.readouterr().out)["checks"]] == [True, True]


def test_ctrl_c_ends_what_still_runs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from gpunn.doctor import apart as module

    ended = []
    monkeypatch.setattr(checks, "end_all", lambda: ended.append(True))
    monkeypatch.setattr(checks, "_all", lambda *rest: (_raise(KeyboardInterrupt()) for _ in range(1)))  # type: ignore[arg-type]
    assert main(["doctor"]) == 130
    assert ended == [True]
    assert capsys.readouterr().err == "gpunn: interrupted\n"
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    module._running.add(process)
    try:
        module.end_all()
        assert process.poll() is not None
    finally:
        module._running.discard(process)
        process.kill()

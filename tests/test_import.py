"""``import gpunn`` brings in nothing that only some programs need, and is fast by that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gpunn

ROOT = Path(__file__).parent.parent


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_brings_in_few_modules_beside_numpys() -> None:
    # These take about 26 ms here; a clock would say something else on every machine, and is not asked.
    code = "import sys, numpy; before = {*sys.modules}; import gpunn; print(*{*sys.modules} - before)"
    ours = {"errors", "tape", "cpu", "cpu.threads", "cpu.blas", "cpu.memory", "_capture_state", "_creation"}
    ours |= {"_chosen_device", "_default_device", "_device"}
    ours |= {"_calls", "_creation_arguments", "_creation_shared", "_grad_mode", "_half", "_hook_handle", "_in_place"}
    ours |= {"_interop", "_keywords", "_layout", "_promotion", "_rows", "_storage", "_tensor", "_version", "_views"}
    ours |= {f"_tensor_{part}" for part in ("absent", "convert", "export", "inplace", "late", "math", "reduce")}
    ours |= {"_tensor_shape"}
    theirs = {"__future__", "_heapq", "_queue", "copy", "dataclasses", "heapq", "queue", "threading"}
    # Which of the others NumPy has brought in already is its own business, and differs between its versions.
    theirs |= {"collections", "contextlib", "ctypes", "functools", "itertools", "math", "re", "typing", "weakref"}
    assert {*run(code).split()} - {"gpunn", *(f"gpunn.{name}" for name in ours)} <= theirs


def test_calls_few_functions() -> None:
    # Some 5,300 behind NumPy's import, 1,300 of them to wrap Tensor's methods. It was 12,400 when generators, files and
    # the launcher were brought in too.
    code = (
        "import sys, numpy\ncalls = 0\n"
        "def count(frame, event, argument):\n    global calls\n    calls += event == 'call'\n"
        "sys.setprofile(count)\nimport gpunn\nsys.setprofile(None)\nprint(calls)"
    )
    run(code)  # compiles what is not compiled yet
    assert 1000 < int(run(code)) < 6000


def test_brings_in_no_optional_package() -> None:
    heavy = ("cupy", "sklearn", "matplotlib", "rich", "safetensors", "torch", "scipy", "PIL", "threadpoolctl")
    code = f"import sys, gpunn; print([name for name in {heavy} if name in sys.modules])"
    assert run(code).strip() == "[]"
    assert run(code.replace("gpunn;", "gpunn.nn, gpunn.optim, gpunn.data, gpunn.train;")).strip() == "[]"


def test_help_brings_in_neither_rich_nor_the_layers() -> None:
    code = (
        "import contextlib, sys\nfrom gpunn.cli.main import main\n"
        "with contextlib.suppress(SystemExit):\n    main(['train', '--help'])\n"
        "print([name for name in ('rich', 'safetensors', 'sklearn', 'gpunn.nn') if name in sys.modules])"
    )
    assert run(code).splitlines()[-1] == "[]"


def test_public_names() -> None:
    for name in gpunn.__all__:
        assert getattr(gpunn, name) is not None
    assert set(gpunn.__all__) <= set(dir(gpunn))
    assert callable(gpunn.device)
    assert gpunn.Trainer is gpunn.train.Trainer
    assert gpunn.cuda.is_available() in (True, False)
    assert gpunn.cuda.device_count() >= 0
    assert gpunn.zeros(2, dtype=gpunn.int64).dtype == gpunn.int64
    assert gpunn.tensor([1.0]).dtype == gpunn.float32
    with pytest.raises(AttributeError, match="module 'gpunn' has no attribute 'Tensr'"):
        _ = gpunn.Tensr


@pytest.mark.parametrize("name", ["nn", "optim", "data", "models", "train", "cuda", "Trainer"])
def test_lazy_names_need_only_import_gpunn(name) -> None:
    assert run(f"import gpunn; print(gpunn.{name}.__name__)").strip() in (f"gpunn.{name}", name)

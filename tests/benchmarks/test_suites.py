"""The pytest-benchmark suites are collected when asked for, and run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.tools
def test_suites_run_on_tiny_cases() -> None:
    words = ["benchmarks", "--benchmark-only", "--bench-size", "tiny", "-q", "-p", "no:cacheprovider"]
    words += [
        "--benchmark-max-time",
        "0.01",
        "--benchmark-min-rounds",
        "2",
        "-k",
        "conv02.forward or mlp or mnist.load",
    ]
    torch = importlib.util.find_spec("torch") is not None
    words += ["--bench-against", "torch"] if torch else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for test in ("test_layers[conv02.forward-gpunn]", "test_steps[mlp-b3.step-gpunn]", "test_data[mnist.load-gpunn]"):
        assert test in done.stdout
    assert ("test_layers[conv02.forward-torch-channels_last]" in done.stdout) == torch


def test_they_are_no_part_of_the_test_run(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getini("testpaths") == ["tests"]
    assert not list((ROOT / "tests").rglob("bench_*.py"))

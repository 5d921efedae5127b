"""Every reader of files against wrong files: read or refused by our own error, in little memory and time.

Hypothesis chooses the changes here, and shows the smallest file that breaks a rule. ``python -m tests.fuzz`` makes as
many as one likes, and so does atheris where it is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpunn.errors import DataError
from tests.fuzz import run as command
from tests.fuzz.mutations import LONGEST, mutated
from tests.fuzz.targets import TARGETS, Target, put
from tests.fuzz.trial import attempt

pytest.importorskip("PIL")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, links and the count of memory are POSIX's")


@pytest.fixture(scope="module", params=TARGETS)
def reader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged tags
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False))
def test_a_wrong_file_is_read_or_refused(reader: str, tmp_path_factory: pytest.TempPathFactory, rng: Random) -> None:
    target = TARGETS[reader]
    place = tmp_path_factory.getbasetemp() / f"wrong-{reader}"
    place.mkdir(exist_ok=True)
    outcome = attempt(target, place, target.make(rng, target.whole()))
    assert outcome.fault is None


@pytest.mark.filterwarnings("ignore")
def test_the_command_finds_nothing(reader: str) -> None:
    record = command.run(reader, 150, 20, trace=True)
    assert record["faults"] == 0
    assert sum(record["outcomes"].values()) == 150
    # Wrong files are made so that readers get far with them: some are read, and most are not.
    assert record["outcomes"].get("read", 0) > 0
    assert record["outcomes"]["DataError"] > 20
    assert record["longest_message"] < 500


def test_a_seed_makes_the_same_inputs(reader: str) -> None:
    target = TARGETS[reader]
    first, again, other = (
        [target.make(command.generator(seed, i), target.whole()) for i in range(20)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_changes_are_many_and_bounded() -> None:
    data = bytes(range(256)) * 200
    results = {mutated(Random(i), data, [b"other"]) for i in range(300)}
    assert len(results) > 250
    assert max(map(len, results)) <= LONGEST


class Panic(BaseException):
    """As Rust's are."""


def _raising(error: BaseException) -> Any:
    def read(folder: Path) -> None:
        raise error

    return read


def _hungry(folder: Path) -> None:
    bytearray(20_000_000)
    raise DataError("x")


def _slow(folder: Path) -> None:
    import time

    begin = time.process_time()
    while time.process_time() - begin < 1.1:
        pass
    raise DataError("x")


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (_raising(KeyError("x")), "a foreign exception: KeyError: 'x'"),
        (_raising(MemoryError()), "a foreign exception: MemoryError"),
        (_raising(Panic("rust")), "a foreign exception: Panic: rust"),
        (_raising(RecursionError()), "a foreign exception: RecursionError"),
        (_hungry, "bytes traced"),
        (_slow, "seconds of processor time"),
        (_raising(DataError("x")), None),
    ],
)
def test_what_breaks_a_rule_is_noticed(tmp_path: Path, read: Any, fault: str | None) -> None:
    target = Target(lambda: [b"x"], lambda rng, files: b"x", read, put("x"))
    tracemalloc.start()
    try:
        outcome = attempt(target, tmp_path, b"x")
    finally:
        tracemalloc.stop()
    assert (outcome.fault is None) if fault is None else (fault in (outcome.fault or ""))


def test_long_messages_and_such_for_a_terminal_are_noticed(tmp_path: Path) -> None:
    from gpunn.errors import UsageError

    for message in ("x" * 500, "a\rb", "\x1b[2J"):
        target = Target(lambda: [b"x"], lambda rng, files: b"x", _raising(UsageError(message)), put("x"))
        assert "a message of" in (attempt(target, tmp_path, b"x").fault or "")


def test_the_command_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.fuzz", "--reader", "cifar10", "--count", "30", "--out", str(tmp_path / "r")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=command.ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r").read_text() == done.stdout
    again = subprocess.run([*words, "--number", "7"], capture_output=True, text=True, check=False, cwd=command.ROOT)
    assert "Outcome(refused=" in again.stdout


def test_atheris_is_used_where_it_is_installed() -> None:
    words = [sys.executable, "-m", "tests.fuzz", "--reader", "config", "--atheris", "--count", "50"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=command.ROOT)
    if importlib.util.find_spec("atheris") is None:
        assert done.returncode == 2
        assert "Install it with pip install atheris." in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        record = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
        assert (record["count"], record["faults"], record["by"][:8]) == (50, 0, "atheris ")


def test_the_record_has_every_reader() -> None:
    """What ``python -m tests.fuzz --count 100000 --out benchmarks/results/fuzz.jsonl`` left."""
    lines = [json.loads(line) for line in command.RECORDS.read_text().splitlines()]
    records = {line["reader"]: line for line in lines if line["by"] == "tests.fuzz"}
    assert set(records) == set(TARGETS)
    for record in records.values():
        assert record["count"] >= 100_000
        assert record["faults"] == 0
        assert record["slowest_ms"] < 1000
        assert record["longest_message"] < 500


@pytest.mark.parametrize("dtype", [",u8", "O", "<f8,<f8", "S1000000", "V9", "", None, ["<f8"], "f" * 5000])
def test_dtypes_of_a_checkpoint_are_plain(dtype: Any) -> None:
    """NumPy raises SyntaxError for the first: found by the command."""
    from gpunn.train.checkpoint import _from_json

    with pytest.raises(TypeError, match="an array of"):
        _from_json({"$array": [dtype, [1], [1]]})

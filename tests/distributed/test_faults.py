"""One rank that fails ends the job, and its error is shown once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.distributed.launch import NEEDS_MPI, finish, gpunn, run, start

pytestmark = NEEDS_MPI


def _faults(kind: str, ranks: int = 2, **environment: str) -> tuple[int, str]:
    return run(ranks, "-m", "tests.distributed.checks", "faults", kind, **environment)


def test_a_rank_that_raises_ends_all_and_is_shown_once() -> None:
    status, said = _faults("one raises", 3)
    assert status != 0
    assert said.count("ValueError: only here") == 1
    assert "done" not in said


def test_an_error_of_all_ranks_is_shown_once() -> None:
    status, said = _faults("all raise", 3)
    assert status == 1
    assert said.count("ValueError: everywhere") == 1
    assert "Abort" not in said  # they end by themselves


def test_a_rank_that_ends_while_others_wait_for_it() -> None:
    status, said = _faults("one exits")
    assert status != 0
    assert said.count("barrier: rank 1 (") == 1
    assert "ended before" in said


def test_a_killed_rank_ends_the_job() -> None:
    status, said = _faults("killed")
    assert status != 0
    assert "done" not in said


def test_a_late_rank_is_named_and_waited_for() -> None:
    status, said = _faults("late", 3, GPUNN_LATE_AFTER="1")
    assert status == 0
    assert said.count("done") == 3
    late = [line for line in said.splitlines() if "has not come for" in line]
    assert len(late) == 1
    assert "barrier: rank 1 (" in late[0]
    assert "rank 0 waits" in late[0]


def test_a_rank_that_never_comes_ends_the_job_after_the_limit() -> None:
    status, said = _faults("never", GPUNN_LATE_AFTER="1")
    assert status != 0
    assert "rank 1 (" in said
    assert "did not come within 4 s" in said


def test_a_wrong_limit_is_refused() -> None:
    status, said = _faults("late", 2, GPUNN_LATE_AFTER="soon")
    assert status == 1
    assert "GPUNN_LATE_AFTER: expected a number of seconds above 0; got 'soon'" in said


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["train", "lenet5", "--epochs", "none"], 2, "argument --epochs: expected a whole number"),
        (["train", "nothing-such"], 2, "nothing-such"),
        (["train", "lenet5", "--device", "nowhere"], 2, "unknown device 'nowhere'"),
    ],
)
def test_a_wrong_command_line_is_shown_once(words: list[str], status: int, message: str) -> None:
    code, said = gpunn(3, *words)
    assert code == status
    assert said.count("gpunn: error:") == 1
    assert message in said


def test_ctrl_c_ends_all_ranks_with_a_checkpoint(tmp_path: Path) -> None:
    words = ["train", "lenet5", "--device", "cpu", "--max-steps", "1000", "--epochs", "1000", "--out", str(tmp_path)]
    process = start(2, "-m", "gpunn", *words)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    status, said = finish(process)
    assert status == 130
    assert said.count("gpunn: interrupted;") == 1
    assert "--resume" in said
    assert list((tmp_path / "checkpoints").iterdir())

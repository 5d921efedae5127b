"""``python -m tests.soak`` in a short form, and that it would see what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.soak import growth

LOOKS = [{"resident_kib": 50_000 + 4 * i, "threads": 3, "files": 5, "objects": 30_000 + i} for i in range(10)]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_nothing_grows_in_300_steps_with_a_resume() -> None:
    command = [sys.executable, "-m", "tests.soak", "--steps", "300"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["grown"] == []
    assert [len(half["threads"]) for half in outcome["looks"]] == [10, 10]


@pytest.mark.parametrize(("name", "more"), [("resident_kib", 500), ("threads", 1), ("files", 1), ("objects", 20)])
def test_what_grows_is_named(name, more) -> None:
    assert growth(LOOKS) == []
    leaking = [{**look, name: look[name] + more * i} for i, look in enumerate(LOOKS)]
    assert [what.split(":")[0] for what in growth(leaking)] == [name]

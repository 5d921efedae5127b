"""A probe in a process of its own: it may hang, crash or print what it likes, and the examination goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

from gpunn.doctor.findings import ABSENT, BROKEN, Finding

MARK = "gpunn-doctor:"  # begins the line that has the result
# The same modules as here. With -c alone those of the working folder come first, where a user's own cupy.py may lie.
_CHILD = (
    "import sys; sys.path.pop(0); import json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gpunn.doctor.probes import main; main(json.loads(sys.argv[2]))"
)
_running: set[subprocess.Popen[bytes]] = set()
_GRACE = 2.0  # seconds for a killed process to end; one that hangs in a driver does not


def apart(name: str, probe: str, limit: float, group: str, needed: bool = False, **arguments: Any) -> Finding:
    """Run a probe of ``probes`` by name.

    Parameters
    ----------
    name : str
        Of the finding.
    limit : float
        Seconds; after them the process is killed, or left behind if it cannot be.
    """
    words = [
        sys.executable,
        "-c",
        _CHILD,
        json.dumps([p or os.getcwd() for p in sys.path]),
        json.dumps([probe, arguments]),
    ]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Files, not pipes: nobody has to read them, however much a library prints.
        own_group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **own_group)
        except OSError as error:
            return Finding(name, BROKEN, f"no process can be started: {error}", "", group, needed)
        _running.add(process)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            _end(process)
            return Finding(name, BROKEN, f"gave no answer in {limit:g} s", _hanging(group), group, needed)
        finally:
            _running.discard(process)
        out.seek(0)
        err.seek(0)
        said = out.read().decode(errors="replace")
        errors = [line.strip() for line in err.read().decode(errors="replace").splitlines() if line.strip()]
    result = next((line for line in reversed(said.splitlines()) if line.startswith(MARK)), None)
    if result is not None:
        found = json.loads(result[len(MARK) :])
        return Finding(name, found["status"], found["text"], found["fix"], group, needed)
    how = f"status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-status).name
    last = f": {errors[-1][:200]}" if errors else ""
    return Finding(name, BROKEN, f"ended its process ({how}){last}", _hanging(group), group, needed)


def end_all() -> None:
    """Kill what still runs, as after Ctrl-C: the processes are in groups of their own, and do not hear of it."""
    for process in tuple(_running):
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def _hanging(group: str) -> str:
    if group == "cuda":
        return (
            "See whether nvidia-smi answers; restart the machine, or sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm"
        )
    return ""


def absent(name: str, text: str, group: str, fix: str = "", needed: bool = False) -> Finding:
    """Something that is not here, or was not looked at."""
    return Finding(name, ABSENT, text, fix, group, needed)

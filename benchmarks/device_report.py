"""First contact with a GPU: is it right, is it repeatable, how fast is it, in six minutes.

``python -m benchmarks.device_report --out DIR`` writes ``DIR/report.json`` and ``DIR/report.md``:

- environment: GPU, driver, libraries, commit;
- battery: every primitive on its examples against its plain body on NumPy, when what that needs has been compiled by
  many processes at once;
- capture: LeNet's steps give the CPU's losses, captured steps equal eager ones to the last bit, and so does a
  repeated run;
- compile: all other specialisations of every kernel, so that no section after it waits for the compiler;
- kernels: the benchmark's cases by CUDA events, with bytes, FLOP and shares of the ceilings measured here, beside
  PyTorch;
- steps: whole training steps, eager and captured, beside PyTorch eager, as one CUDA graph, and compiled;
- launches: every launch of those steps by itself;
- sweep: every other kernel on large tensors, launch by launch;
- training: LeNet on MNIST (Digits where there is none);
- sanitizer: the battery under compute-sanitizer, where it is installed.

At its top the report says which of the project's targets were met, and lists those that were not.

Each section is a process of its own with a share of the time. One that crashes, hangs or breaks the CUDA context is
reported as a failure, and another process goes on behind the item at which it happened (the battery: with the next
primitive). When the fifth of these has ended badly too, the section is given up, and what it had left is listed. Exit
status 1 if anything failed; a target that was not met is no failure. ``--device emulator --quick`` is the same without
a GPU, small enough for a CI job.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._report.book import GIVEN_UP, NO_TIME, Section, gather, markdown, started, started_log, write_whole
from benchmarks._report.health import BROKEN, BrokenContext, broken

# name, share of the time, the function that does it. The sanitizer comes last: it makes use of any time that is left.
SECTIONS = (
    ("environment", 0.03, "benchmarks._report.environment:run"),
    ("battery", 0.22, "benchmarks._report.battery:run"),
    ("capture", 0.08, "benchmarks._report.repeatable:run"),
    ("compile", 0.08, "benchmarks._report.compiled:run"),
    ("kernels", 0.16, "benchmarks._report.kernels:run"),
    ("steps", 0.12, "benchmarks._report.steps:run"),
    ("choices", 0.08, "benchmarks._report.choices:run"),
    ("launches", 0.05, "benchmarks._report.launches:run"),
    ("sweep", 0.07, "benchmarks._report.sweep:run"),
    ("training", 0.07, "benchmarks._report.training:run"),
    ("sanitizer", 0.04, "benchmarks._report.sanitizer:run"),
)
# Elsewhere the report only says why they are not there.
_NEED_A_GPU = {
    "compile": "needs a GPU: NVRTC compiles for the card that is there; see python -m benchmarks.compile_gate",
    "kernels": "needs a GPU: times of anything else say nothing about kernels",
    "steps": "needs a GPU; elsewhere see gpunn bench --cases steps",
    "choices": "needs a GPU: times of anything else say nothing about kernels",
    "launches": "needs a GPU: times of anything else say nothing about kernels",
    "sweep": "needs a GPU: times of anything else say nothing about kernels",
    "sanitizer": "needs a GPU; the emulator watches every access, race and barrier by itself",
}
_ROOT = Path(__file__).parent.parent
_GRACE = 10.0  # seconds over its time before a section is stopped
_STALL = 60.0  # seconds without a word from a section on a GPU, after which a kernel is taken to hang
_LEAST = 4.0  # seconds: a process that gets less has hardly started when they are over
_RESTARTS = 5  # of a section whose processes end badly, before it is given up
_SHOWN = 40  # failures on the terminal
_MINUTES, _QUICK_MINUTES = 6.0, 0.8


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_report", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    parser.add_argument("--minutes", type=float, metavar="M", help="for all of it (default 6; --quick: 0.8)")
    parser.add_argument("--device", default="cuda", help="cuda (the default), cuda:1, emulator or cpu")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--only", action="append", metavar="SECTION", help="this section alone (may be repeated)")
    parser.add_argument("--data-dir", metavar="DIR", help="the folder with mnist/ in it (default: $GPUNN_DATA)")
    parser.add_argument("--child", metavar="NAME=MODULE:FUNCTION", help=argparse.SUPPRESS)
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--given-up", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None, sections: Sequence[tuple[str, float, str]] = SECTIONS) -> int:
    """Make the report; 1 if it has failures."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.minutes is None:
        options.minutes = _QUICK_MINUTES if options.quick else _MINUTES
    if options.child:
        return _run_child(options)
    unknown = set(options.only or ()) - {name for name, _, _ in sections}
    if unknown:
        parser.error(f"--only: expected one of {', '.join(name for name, _, _ in sections)}; got {', '.join(unknown)}")
    options.out.mkdir(parents=True, exist_ok=True)
    gpu = options.device.startswith("cuda")
    sections = [entry for entry in sections if not options.only or entry[0] in options.only]
    sections = [(name, share if gpu or name not in _NEED_A_GPU else 0.0, target) for name, share, target in sections]
    heading = {
        "device": options.device,
        "command": f"`python -m benchmarks.device_report {' '.join(arguments or sys.argv[1:])}`",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "finished": False,
    }
    end = time.time() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="gpunn-report-") as work:
        parts: list[Path] = []
        for number, (name, share, target) in enumerate(sections):
            parts.append(Path(work) / f"{number}.json")
            if not share:
                Section(name, parts[-1], 0).cut(_NEED_A_GPU[name])
                continue
            seconds = allot(end - time.time(), [share for _, share, _ in sections[number:]])
            print(f"{name}: up to {seconds:.0f} s", flush=True)
            if seconds < _LEAST and gpu:
                Section(name, parts[-1], 0).cut(f"all of it {NO_TIME}")
            else:
                _run_section(name, target, seconds, parts, options, heading)
        heading["finished"] = True
        report = _write(options.out, parts, heading)
    print(f"{len(report['failures'])} failures, {len(report['cut'])} left out: {options.out / 'report.md'}")
    for failure in report["failures"][:_SHOWN]:
        print(f"FAILED: {failure['section']}: {failure['what']}")
    if len(report["failures"]) > _SHOWN:
        print(f"and {len(report['failures']) - _SHOWN} more failures, all in the report")
    return int(bool(report["failures"]))


def allot(left: float, shares: Sequence[float]) -> float:
    """The seconds of the first of the sections still to come; what earlier ones did not use goes to them all.

    The last one keeps back what a section may run over its time, so that the whole is over when it should be.
    """
    seconds = left * shares[0] / sum(shares)
    return max(0.0, min(seconds, left - _GRACE))


def _write(folder: Path, parts: list[Path], heading: dict[str, Any]) -> dict[str, Any]:
    """Write both files from what the sections have so far."""
    data = [json.loads(part.read_text(encoding="utf-8")) for part in parts if part.exists()]
    report = gather(data, heading)
    write_whole(folder / "report.json", json.dumps(report, indent=1))
    write_whole(folder / "report.md", markdown(report))
    return report


def _run_section(
    name: str,
    target: str,
    seconds: float,
    parts: list[Path],
    options: argparse.Namespace,
    heading: dict[str, Any],
) -> None:
    """Run one section in processes until it is done, out of time, given up, or ends without getting any further."""
    part, until = parts[-1], time.time() + seconds
    stall = _STALL if options.device.startswith("cuda") else float("inf")
    for process in range(_RESTARTS + 2):
        given_up = process > _RESTARTS  # this one only lists what is left
        before = started(part)
        if given_up:
            Section(name, part, 0).fail(f"given up after {process} processes that ended badly; see what is left out")
            until = time.time()
        command = [sys.executable, "-m", "benchmarks.device_report", "--child", f"{name}={target}"]
        command += ["--part", str(part), "--until", str(until), "--out", str(options.out)]
        command += ["--device", options.device, *(["--quick"] if options.quick else [])]
        command += ["--given-up"] if given_up else []
        command += ["--data-dir", options.data_dir] if options.data_dir else []
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            child = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT)
            stopped = _wait(child, until + _GRACE, stall, options.out, parts, heading)
            log.seek(0)
            said = log.read()[-6000:]
        if child.returncode == 0 and not stopped:
            return
        if child.returncode != BROKEN:  # one that ends with that has put the failure down itself
            at = started(part)[-1] if started(part) else "the beginning"
            ended = f"{stopped or f'died with status {child.returncode}'}, at {at}"
            Section(name, part, 0).fail(f"{ended}; its output ends:\n{said}" if said else ended)
        if started(part) == before or time.time() > until:
            return


def _wait(
    child: subprocess.Popen[bytes], until: float, stall: float, folder: Path, parts: list[Path], heading: dict[str, Any]
) -> str:
    """Wait for a child, keeping the report up to date; if it had to be killed, why."""
    heard, changed = time.time(), 0.0
    try:
        while True:
            try:
                child.wait(timeout=1.0)
                return ""
            except subprocess.TimeoutExpired:
                _write(folder, parts, heading)
            signs = (parts[-1], started_log(parts[-1]))
            latest = max((sign.stat().st_mtime for sign in signs if sign.exists()), default=0.0)
            if latest != changed:
                heard, changed = time.time(), latest
            reason = f"stopped {_GRACE:.0f} s after its time was up" if time.time() > until else ""
            if time.time() > heard + stall:
                reason = f"stopped after {stall:.0f} s without getting any further (a kernel that hangs?)"
            if reason:
                child.kill()
                child.wait()
                return reason
    finally:
        if child.poll() is None:  # this process is being stopped itself
            child.kill()
            child.wait()
        _write(folder, parts, heading)


def _run_child(options: argparse.Namespace) -> int:
    """The inside of a section's process."""
    name, _, target = options.child.partition("=")
    why = GIVEN_UP if options.given_up else NO_TIME
    section = Section(name, options.part, options.until - time.time(), options.device, why)
    module, _, function = target.partition(":")
    status = 0
    try:
        getattr(importlib.import_module(module), function)(section, options)
    except BrokenContext:
        status = BROKEN
    except Exception as error:
        section.fail("the section stopped here", error)
        if broken(options.device) is not None:
            status = BROKEN
    section.save()
    if status == BROKEN:
        sys.stdout.flush()
        os._exit(BROKEN)  # what frees memory at the end of a process would only complain, or hang
    return status


if __name__ == "__main__":
    sys.exit(main())

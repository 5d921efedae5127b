"""First contact with a GPU: is it right, is it repeatable, how fast is it, in a few minutes.

``python -m benchmarks.device_report --out DIR --minutes 8`` writes ``DIR/report.json`` and ``DIR/report.md``:

- environment: GPU, driver, libraries, commit;
- parity: every primitive on its examples against its plain body on NumPy;
- capture: recorded steps equal eager ones to the last bit, and so does a repeated run;
- kernels: times from CUDA events, beside PyTorch's where it has CUDA;
- step: the lecture LeNet's training step, eager and captured, beside PyTorch's eager and CUDA graph;
- training: LeNet on MNIST (Digits where there is none).

Each section is a process of its own with a share of the time: one that crashes, hangs or breaks the CUDA
context is reported as a failure and the others still run. Exit status 1 if anything failed.
``--device emulator --quick`` is the same without a GPU, small enough for a CI job.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._report.book import Section, gather, markdown, write_whole

# name, share of the time, the function that does it
SECTIONS = (
    ("environment", 0.05, "benchmarks._report.environment:run"),
    ("parity", 0.20, "benchmarks._report.parity:run"),
    ("capture", 0.10, "benchmarks._report.repeatable:run"),
    ("kernels", 0.30, "benchmarks._report.kernels:run"),
    ("step", 0.15, "benchmarks._report.step:run"),
    ("training", 0.20, "benchmarks._report.training:run"),
)
_NEED_A_GPU = ("kernels", "step")  # elsewhere they only say so
_ROOT = Path(__file__).parent.parent
_GRACE = 10.0  # seconds over its time before a section is stopped
_QUICK_MINUTES = 0.8


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_report", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    parser.add_argument("--minutes", type=float, metavar="M", help="for all of it (default 8; --quick: 0.8)")
    parser.add_argument("--device", default="cuda", help="cuda (the default), cuda:1, emulator or cpu")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--data-dir", metavar="DIR", help="the folder with mnist/ in it (default: $GPUNN_DATA)")
    parser.add_argument("--child", metavar="NAME=MODULE:FUNCTION", help=argparse.SUPPRESS)
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None, sections: Sequence[tuple[str, float, str]] = SECTIONS) -> int:
    """Make the report; 1 if it has failures."""
    options = _parser().parse_args(arguments)
    if options.minutes is None:
        options.minutes = _QUICK_MINUTES if options.quick else 8.0
    if options.child:
        return _run_child(options)
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.device.startswith("cuda"):
        sections = [(n, 0.01 if n in _NEED_A_GPU else share, target) for n, share, target in sections]
    heading = {
        "device": options.device,
        "command": f"`python -m benchmarks.device_report {' '.join(arguments or sys.argv[1:])}`",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "finished": False,
    }
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="gpunn-report-") as work:
        parts: list[Path] = []
        for number, (name, share, target) in enumerate(sections):
            # What earlier sections did not use goes to those that follow.
            shares = sum(s for _, s, _ in sections[number:])
            seconds = max(5.0, (end - time.monotonic()) * share / shares)
            parts.append(Path(work) / f"{number}.json")
            print(f"{name}: up to {seconds:.0f} s", flush=True)
            _run_section(name, target, seconds, parts, options, heading)
        heading["finished"] = True
        report = _write(options.out, parts, heading)
    print(f"{len(report['failures'])} failures, {len(report['cut'])} left out: {options.out / 'report.md'}")
    for failure in report["failures"]:
        print(f"FAILED: {failure['section']}: {failure['what']}")
    return int(bool(report["failures"]))


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
    """Run one section in processes until it is done, out of time, or dies without getting any further."""
    part, deadline = parts[-1], time.monotonic() + seconds
    while True:
        before = _started(part)
        left = deadline - time.monotonic()
        command = [sys.executable, "-m", "benchmarks.device_report", "--child", f"{name}={target}"]
        command += ["--part", str(part), "--seconds", str(left), "--out", str(options.out)]
        command += ["--device", options.device, *(["--quick"] if options.quick else [])]
        command += ["--data-dir", options.data_dir] if options.data_dir else []
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            child = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT)
            stopped = _wait(child, deadline + _GRACE, options.out, parts, heading)
            log.seek(0)
            said = log.read()[-6000:]
        if child.returncode == 0:
            return
        section = Section(name, part, 0)
        at = section.data["started"][-1] if section.data["started"] else "the beginning"
        ended = f"stopped {_GRACE:.0f} s after its time was up" if stopped else f"died with status {child.returncode}"
        section.fail(f"{ended}, at {at}; its output ends:\n{said}" if said else f"{ended}, at {at}")
        if stopped or _started(part) == before or time.monotonic() > deadline:
            return


def _started(part: Path) -> list[str]:
    return json.loads(part.read_text(encoding="utf-8"))["started"] if part.exists() else []


def _wait(
    child: subprocess.Popen[bytes], until: float, folder: Path, parts: list[Path], heading: dict[str, Any]
) -> bool:
    """Wait for a child, keeping the report up to date; True if it had to be killed."""
    try:
        while True:
            try:
                child.wait(timeout=1.0)
                return False
            except subprocess.TimeoutExpired:
                _write(folder, parts, heading)
            if time.monotonic() > until:
                child.kill()
                child.wait()
                return True
    finally:
        if child.poll() is None:  # this process is being stopped itself
            child.kill()
            child.wait()
        _write(folder, parts, heading)


def _run_child(options: argparse.Namespace) -> int:
    """The inside of a section's process."""
    name, _, target = options.child.partition("=")
    section = Section(name, options.part, options.seconds)
    module, _, function = target.partition(":")
    try:
        getattr(importlib.import_module(module), function)(section, options)
    except Exception as error:
        section.fail("the section stopped here", error)
    section.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())

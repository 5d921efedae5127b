"""Kill a training run again and again, resume it each time, and see that it ends in the same bits.

    python -m tests.kills --kills 200                      # SIGKILL at random moments
    python -m tests.kills --kills 20 --device emulator
    python -m tests.kills --points                         # at every operation on a file of the run's folder
    python -m tests.kills --kills 20 --ranks 1,2,4         # one of the processes that mpiexec starts; not the same bits

After every kill all checkpoints must be whole, but for files that are still being written under a temporary name;
after every run nothing but the run's files may be left. ``--record FILE`` appends the outcome as a line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

# Everything that has a state: batch norm, dropout, momentum, a schedule by steps, augmentation, shuffling.
_NET = """
from gpunn import nn

def net(input_shape, classes):
    c, h, w = input_shape
    return nn.Sequential(
        nn.Conv2d(c, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(4 * h * w, classes),
    )
"""
_EPOCHS, _STEPS = 3, 4
_HANGS = 120  # seconds: a job that lost a process, and has not ended by then, hangs
_TEMPORARY = re.compile(r"\..+\.tmp|\.gpunn-write-test-.+|\.lock")
_WANTED = re.compile(r"config\.json|metrics\.jsonl|model\.safetensors|checkpoints|checkpoints/step-\d{9}\.safetensors")


class _Runs:
    """Starts runs in folders of their own and says what is wrong with what they leave."""

    def __init__(self, scratch: Path, device: str, ranks: list[int] | None = None) -> None:
        self.scratch, self.device = scratch, device
        self.ranks = ranks or [1]
        (scratch / "net.py").write_text(_NET)
        rng = np.random.Generator(np.random.Philox(1))
        n, test = 8 * _STEPS - 3, 5
        pixels = rng.integers(0, 256, (n + test, 8, 8), dtype=np.uint8)
        labels = np.arange(n + test) % 3
        np.savez(scratch / "data.npz", x_train=pixels[:n], y_train=labels[:n], x_test=pixels[n:], y_test=labels[n:])

    def command(self, folder: Path) -> list[str]:
        """What starts the run in ``folder``, or goes on with it."""
        if (folder / "config.json").exists():
            return ["train", "--resume", str(folder), "--trust"]
        return [
            *(
                "train",
                f"{self.scratch / 'net.py'}:net",
                "--data",
                str(self.scratch / "data.npz"),
                "--out",
                str(folder),
            ),
            *("--epochs", str(_EPOCHS), "--batch-size", "8", "--schedule", "one-cycle", "--augment", "crop,flip"),
            *("--checkpoint-every", "3", "--device", self.device),
        ]

    def start(self, folder: Path, ranks: int = 1) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "gpunn", *self.command(folder)]
        if ranks > 1:
            mpiexec = shutil.which(
                "mpiexec", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
            )
            if mpiexec is None:
                raise SystemExit("--ranks: expected mpiexec; pip install mpi4py mpich")
            words = [mpiexec, "-n", str(ranks), *words]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def damage(folder: Path) -> list[str]:
    """Which of the run's files are not whole, or should not be there."""
    from gpunn.errors import GpunnError
    from gpunn.serialize import load_file
    from gpunn.train.checkpoint import read_checkpoint

    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _TEMPORARY.fullmatch(path.name):
            continue
        try:
            if path.name.startswith("step-"):
                read_checkpoint(path)
            elif path.name == "model.safetensors":
                load_file(path)
            elif path.suffix in (".json", ".jsonl"):
                text = path.read_text()
                for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
                    json.loads(line)
            if not _WANTED.fullmatch(name):
                found.append(f"{name} should not be there")
        except (GpunnError, ValueError) as error:
            found.append(f"{name}: {error}")
    return found


def litter(folder: Path) -> list[str]:
    """What a complete run has left behind."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return [name for name in paths if not _WANTED.fullmatch(name)]


def _end(folder: Path, reference: bytes | None) -> list[str]:
    """What is wrong with a complete run; ``reference``: the weights that it should have, where that is known."""
    wrong = [f"left {name}" for name in litter(folder)]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    if [json.loads(line)["epoch"] for line in lines] != list(range(1, _EPOCHS + 1)):
        wrong.append(f"metrics.jsonl has {len(lines)} lines")
    if reference is not None and (folder / "model.safetensors").read_bytes() != reference:
        wrong.append("other weights than the undisturbed run's")
    return wrong


def at_random(runs: _Runs, kills: int, seed: int) -> dict[str, Any]:
    """Kill processes at random moments of their lives."""
    choose = random.Random(seed)
    begun = time.perf_counter()
    folder = runs.scratch / "undisturbed"
    _complete(runs.start(folder, max(runs.ranks)))
    # Parts of a batch are summed in another order, and draw other masks: the number of ranks shows in the bits.
    reference = (folder / "model.safetensors").read_bytes() if len(runs.ranks) == 1 else None
    lasts = time.perf_counter() - begun
    done = complete = 0
    slowest = 0.0
    wrong: list[str] = []
    while done < kills or complete == 0:
        folder = runs.scratch / f"run{complete}"
        while True:
            process = runs.start(folder, choose.choice(runs.ranks))
            with contextlib.suppress(subprocess.TimeoutExpired):
                if done < kills:
                    process.wait(choose.uniform(0, 1.1 * lasts))
                else:
                    process.wait()
            if process.poll() is None:
                os.kill(choose.choice(_ranks_of(process)), signal.SIGKILL)
                killed = time.perf_counter()
                process.communicate(timeout=_HANGS)
                slowest = max(slowest, time.perf_counter() - killed)
                done += 1
                wrong += [f"after kill {done}: {what}" for what in damage(folder)] if folder.exists() else []
                continue
            _complete(process)
            wrong += [f"run {complete}: {what}" for what in _end(folder, reference)]
            shutil.rmtree(folder)
            complete += 1
            break
    return {"kills": done, "runs": complete, "seconds_to_end": round(slowest, 1), "wrong": wrong}


def _ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that train: those below mpiexec that have none below them, or the only one."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                below.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [process.pid]
    while waiting:
        pid = waiting.pop()
        children = below.get(pid, [])
        waiting += children
        if not children:
            found.append(pid)
    return found


def _complete(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run that was not killed ended with {process.returncode}: {said}")


def at_points(runs: _Runs, every: int) -> dict[str, Any]:
    """Kill a forked child before each operation on a file of its run's folder; ``every`` n-th of them."""
    import gpunn.cli.train
    import gpunn.train.trainer  # noqa: F401  (once, and not in each child)

    folder = runs.scratch / "undisturbed"
    points = _child(runs, folder, 0)
    reference = (folder / "model.safetensors").read_bytes()
    wrong: list[str] = []
    numbers = range(1, points + 1, every)
    for number in numbers:
        folder = runs.scratch / f"point{number}"
        if _child(runs, folder, number) != -signal.SIGKILL:
            wrong.append(f"point {number}: was not reached")
        wrong += [f"point {number}: {what}" for what in (damage(folder) if folder.exists() else [])]
        _child(runs, folder, 0)
        wrong += [f"point {number}: {what}" for what in _end(folder, reference)]
        shutil.rmtree(folder)
    return {"points": points, "kills": len(numbers), "wrong": wrong}


def _child(runs: _Runs, folder: Path, kill_at: int) -> int:
    """Run in a forked child; how many operations it made, or -SIGKILL."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            count = 0

            def point() -> None:
                nonlocal count
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

            def audit(event: str, args: tuple[Any, ...]) -> None:
                if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(args[0]).startswith(str(folder)):
                    point()

            sync = os.fsync

            def fsync(descriptor: Any) -> None:
                point()
                sync(descriptor)

            os.fsync = fsync  # type: ignore[assignment]
            sys.addaudithook(audit)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            from gpunn.cli.main import main

            status = main(runs.command(folder))
            os.write(writing, str(count).encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -signal.SIGKILL:
        return status
    if status:
        raise SystemExit(f"a run that was not killed ended with {status}")
    return int(said)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kills", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument(
        "--kills", type=int, default=200, metavar="N", help="how many, at random moments (default: 200)"
    )
    parser.add_argument("--points", action="store_true", help="at every operation on a file instead")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="with --points: at every n-th only")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (the default) or emulator")
    parser.add_argument("--ranks", default="1", metavar="N,M", help="start so many processes, one of these numbers")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random moments (default: 0)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the outcome to this file")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        runs = _Runs(Path(scratch), args.device, [int(n) for n in args.ranks.split(",")])
        outcome = at_points(runs, args.every) if args.points else at_random(runs, args.kills, args.seed)
    from gpunn import __version__

    how = {"how": "points", "every": args.every} if args.points else {"how": "random", "seed": args.seed}
    record = {"gpunn": __version__, "device": args.device, "ranks": args.ranks, **how, **outcome}
    print(json.dumps(record))
    if args.record is not None:
        with args.record.open("a") as file:
            file.write(json.dumps(record) + "\n")
    return int(bool(outcome["wrong"]))


if __name__ == "__main__":
    sys.exit(main())

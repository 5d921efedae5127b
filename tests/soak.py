"""Train a small model for long, resume it once in the middle, and see that nothing grows.

    python -m tests.soak --steps 20000                     # on the CPU
    python -m tests.soak --steps 500 --device emulator

Memory (the process's resident set), threads, open files and Python's objects are noted ten times, each after a garbage
collection; after the first three looks of each half, none may grow. ``--record FILE`` appends the outcome as a line of
JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_LOOKS = 10
_WARM = 3
# What an allocator may take and keep from one look to the next without a leak; a leak of one small array a step would
# be more after a hundred steps.
_SLACK = {"resident_kib": 1536, "threads": 0, "files": 0, "objects": 50}


def look() -> dict[str, int]:
    """What the process has at the moment."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "resident_kib": int(status["VmRSS"].split()[0]),
        "threads": int(status["Threads"]),
        "files": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
    }


def train(folder: Path, device: str, steps: int, resume: bool) -> list[dict[str, int]]:
    """Half of the run: ``steps`` steps, in epochs; what there was at ten moments."""
    import gpunn
    from gpunn import nn, optim
    from gpunn.data import DataLoader, TensorDataset
    from gpunn.train import Callback, Trainer

    gpunn.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 3),
    )
    rng = np.random.Generator(np.random.Philox(2))
    per_epoch = max(1, min(100, steps // 5))
    data = TensorDataset(rng.normal(size=(4 * per_epoch, 1, 8, 8)).astype(np.float32), np.arange(4 * per_epoch) % 3)
    looks: list[dict[str, int]] = []

    class Look(Callback):
        def on_progress(self, trainer, progress):
            done = trainer.step - before
            if done * _LOOKS // steps > len(looks):
                looks.append(look())

    trainer = Trainer(
        model,
        optim.Adam(model.parameters()),
        device=device,
        out=folder,
        log=None,
        callbacks=[Look()],
        checkpoint_every=per_epoch // 2 or 1,
    )
    if resume:
        trainer.resume()
    before = trainer.step
    train_loader = DataLoader(data, 4, shuffle=True, num_workers=2, device=device)
    trainer.fit(train_loader, DataLoader(data, 64, device=device), epochs=steps // per_epoch + 1, max_steps=steps)
    return looks


def growth(looks: list[dict[str, int]]) -> list[str]:
    """What grew after the first looks: the least of the last two against the largest of the first two."""
    later = looks[_WARM:]
    grown = []
    for name, slack in _SLACK.items():
        first, last = max(entry[name] for entry in later[:2]), min(entry[name] for entry in later[-2:])
        if last > first + slack:
            grown.append(f"{name}: at most {first}, later at least {last}")
    return grown


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=20000, metavar="N", help="of the whole run (default: 20000)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (the default) or emulator")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the outcome to this file")
    parser.add_argument("--half", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)  # the process that trains
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.half is not None:
        print(json.dumps(train(args.half, args.device, args.steps, args.resume)))
        return 0
    from gpunn import __version__

    halves: list[list[dict[str, int]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for resume in (False, True):
            command = [sys.executable, "-m", "tests.soak", "--half", folder, "--device", args.device]
            command += ["--steps", str(args.steps // 2), *(["--resume"] if resume else [])]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            halves.append(json.loads(done.stdout))
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    if json.loads(lines[-1])["step"] != 2 * (args.steps // 2):
        raise SystemExit(f"the run ended after step {json.loads(lines[-1])['step']}")
    grown = [what for looks in halves for what in growth(looks)]
    record: dict[str, Any] = {"gpunn": __version__, "device": args.device, "steps": args.steps, "grown": grown}
    record["looks"] = [{name: [entry[name] for entry in looks] for name in _SLACK} for looks in halves]
    print(json.dumps(record))
    if args.record is not None:
        with args.record.open("a") as file:
            file.write(json.dumps(record) + "\n")
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())

"""The peak memory of one side of one case, in a process of its own: ``python -m gpunn.bench.memory``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_CALLS = 5


def peak_memory(case_id: str, side: str, size: str, dtype: str, device: str, threads: int) -> dict[str, float]:
    """Measure in a fresh process: ``{"peak_mb": of the process, "device_mb": of the GPU's memory, if any}``."""
    words = [case_id, side, size, dtype, device, str(threads)]
    done = subprocess.run(
        [sys.executable, "-m", "gpunn.bench.memory", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the side a few times and print the peak."""
    parser = argparse.ArgumentParser(prog="python -m gpunn.bench.memory", description=__doc__)
    for name in ("case", "side", "size", "dtype", "device"):
        parser.add_argument(name)
    parser.add_argument("threads", type=int)
    options = parser.parse_args(arguments)
    print(json.dumps(_measure(options)))
    return 0


def _measure(options: argparse.Namespace) -> dict[str, float]:
    import importlib

    from gpunn._device import device as get_device
    from gpunn.bench.cases import by_id
    from gpunn.bench.runner import Settings, prepare
    from gpunn.bench.sides import limited_threads

    torch: Any = importlib.import_module("torch") if options.side.startswith("torch") else None
    device = get_device(options.device)
    settings = Settings(device, size=options.size, dtype=options.dtype)
    with limited_threads(options.threads, torch):
        run = prepare(by_id(options.case, options.size, options.dtype), options.side, settings)
        for _ in range(1 if options.case.endswith(".epoch") else _CALLS):
            run()
    found = {"peak_mb": _peak_of_process() / 1e6}
    if device.ordinal is not None:
        device.synchronize()
        used = torch.cuda.max_memory_allocated() if torch is not None else 0
        found["device_mb"] = (used + device.xp.get_default_memory_pool().total_bytes()) / 1e6
    return found


def _peak_of_process() -> int:
    """Bytes. Linux's ``ru_maxrss`` would be at least the peak of the parent process."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())

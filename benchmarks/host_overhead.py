"""``python -m benchmarks.host_overhead``: what a launch and a step cost the host (``gpunn/bench/host.py``).

On a GPU, or where a driver runs no kernels. ``gpunn bench --device cuda`` shows the same behind its cases.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

import gpunn
from gpunn.bench import host


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host_overhead", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda (the default) or cuda:1")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row (default 1)")
    parser.add_argument("--json", action="store_true", help="one object a line")
    options = parser.parse_args(arguments)
    device = gpunn.device(options.device)
    if device.loader is None or device.ordinal is None:
        parser.error(f"--device: expected a GPU that runs kernels; got {device}")
    for row in host.measure(device, options.seconds):
        if options.json:
            print(json.dumps(asdict(row)))
        else:
            print(host.line(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())

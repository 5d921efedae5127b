"""What the device report runs under compute-sanitizer: every kernel on its primitive's examples, nothing compared.

First each primitive's first example, then all second ones, and so on: whatever time allows, no kernel is left out.
Says ``ITEM 17 conv2d_forward, example 0 (...)`` before each and ``END 17 of 900`` when time is up or all is done.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from benchmarks._report.battery import describe, outputs, primitives
from benchmarks._report.health import BROKEN, broken
from tests.examples import examples_of


def main(arguments: list[str] | None = None) -> int:
    """Run the examples from number ``--first`` on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks._report.sanitized", description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.seconds
    from gpunn._device import device

    target = device(options.device)
    if target.ordinal is not None:
        # In the pool's large blocks an access beyond an array would hit another one and be no error.
        target.xp.cuda.set_allocator(None)
    chosen = items()
    for number, (primitive, which, example) in enumerate(chosen):
        if number < options.first:
            continue
        if time.monotonic() > end:
            print(f"END {number} of {len(chosen)}", flush=True)
            return 0
        print(f"ITEM {number} {primitive.name}, example {which} ({describe(example)})", flush=True)
        try:
            outputs(primitive, target, example, plain=False)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            if broken(options.device) is not None:
                return BROKEN
    print(f"END {len(chosen)} of {len(chosen)}", flush=True)
    return 0


def items() -> list[tuple[Any, int, dict[str, Any]]]:
    """(primitive, number of the example, example) of all that have kernels."""
    made = [
        (number, primitive, example)
        for _, primitive in primitives()
        if primitive.kernel_body is not None
        for number, example in enumerate(examples_of(primitive))
    ]
    return [(primitive, number, example) for number, primitive, example in sorted(made, key=lambda item: item[0])]


if __name__ == "__main__":
    sys.exit(main())

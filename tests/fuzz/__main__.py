"""``python -m tests.fuzz``."""

import os
import sys

# Before NumPy is there: readers need no threads, and fuzzers may run beside each other.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def _start() -> int:
    from tests.fuzz.run import main

    return main()


if __name__ == "__main__":
    sys.exit(_start())

"""``python -m tests.mutants``."""

import os
import sys

# Before NumPy is there: a process with threads must not fork, and two workers on two cores need no more.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def _start() -> int:
    from tests.mutants.command import main

    return main()


if __name__ == "__main__":
    sys.exit(_start())

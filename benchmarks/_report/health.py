"""Whether a process can still use its GPU: after an illegal address or the like, every later call fails."""

from __future__ import annotations

import sys

# What a section's process ends with when its context is broken; the failure is already in its file.
BROKEN = 75


class BrokenContext(Exception):
    """This process can do nothing more on its GPU; a new one goes on behind the item that broke it."""


def broken(device: str) -> str | None:
    """What a GPU says that no longer answers in this process; None where it does, or none is used.

    The question is put twice, because an error of the kind that passes is told once and is then forgotten. So no
    list of error numbers is needed, and PyTorch's errors in the same context are covered too.
    """
    cupy = sys.modules.get("cupy")
    if cupy is None or not device.startswith("cuda"):
        return None
    said = ""
    for _ in range(2):
        try:
            with cupy.cuda.Device(int(device.partition(":")[2] or 0)):
                cupy.cuda.runtime.deviceSynchronize()
            return None
        except Exception as error:  # whatever kind of error this version of CuPy makes of it
            said = f"{type(error).__name__}: {error}"
    return said

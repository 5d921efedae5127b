"""Is everything here that gpunn needs: libraries, drivers, compilers, and a small training step on every device.

``checks`` is the list; what may hang or crash is in ``probes`` and runs in a process of its own (``apart``).
"""

from gpunn.doctor.checks import examine
from gpunn.doctor.findings import ABSENT, BROKEN, OK, Examination, Finding

__all__ = ["ABSENT", "BROKEN", "OK", "Examination", "Finding", "examine"]

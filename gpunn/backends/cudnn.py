"""``torch.backends.cudnn``: convolutions run kernels of gpunn's own; of what programs set how these round is real.

That is ``allow_tf32``, and ``conv.fp32_precision``. The bits are the same every time, whatever ``deterministic`` says,
and no algorithms are tried out for ``benchmark``.
"""

from __future__ import annotations

import sys
import types

from gpunn._precision import choose_convolutions, chosen, ieee_of, of_ieee

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = True
allow_tf32: bool  # a property of _Switches


class _Switches(types.ModuleType):
    """What this module is: an attribute of a plain one cannot be a property."""

    @property
    def allow_tf32(self) -> bool:
        """Whether large convolutions may round: ``gpunn.set_precision`` was given "tf32" or "bf16". Not so at first."""
        return chosen.convolutions in ("tf32", "bf16")

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        choose_convolutions("tf32" if allowed else "fp32")


class _Convolutions:
    """Switches of convolutions."""

    @property
    def fp32_precision(self) -> str:
        """How large ones round: "ieee" (also "none" when it is set), "tf32" or "bf16"."""
        return ieee_of(chosen.convolutions)

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        choose_convolutions(of_ieee("backends.cudnn.conv.fp32_precision", precision))


conv = _Convolutions()
sys.modules[__name__].__class__ = _Switches


def is_available() -> bool:
    """False: cuDNN is not used."""
    return False


def version() -> int | None:
    """None: cuDNN is not used."""
    return None

"""Whether convolutions of float32 may use Winograd's algorithm: a switch, which the CPU's ways and launches ask."""

from __future__ import annotations

from gpunn.errors import UsageError

_enabled = True


def set_winograd_enabled(mode: bool) -> None:
    """Choose whether float32 convolutions may use Winograd's algorithm where it is faster.

    It is on by default. On the CPU it is used for filters of 3 or 5 columns, on a GPU (with precision "fp32") for
    filters of 3 x 3, with stride 1, one group and enough channels and pixels. Its error relative to the largest output
    is up to 6e-6, that of direct convolution up to 7e-7. Outputs near an infinite input may become NaN. On a GPU it
    needs 128 MB of memory while it runs, or what one image needs, and a weight's gradient sums of its own beside.

    Parameters
    ----------
    mode : bool
        For the whole process, from the next convolution on; a step that was captured is captured anew.

    Raises
    ------
    UsageError
        If mode is not a bool.

    References
    ----------
    Lavin and Gray 2015, arXiv:1509.09308.
    """
    global _enabled
    if not isinstance(mode, bool):
        raise UsageError(f"set_winograd_enabled: expected True or False; got {mode!r}.")
    _enabled = mode


def is_winograd_enabled() -> bool:
    """Whether convolutions may use Winograd's algorithm; see :func:`set_winograd_enabled`."""
    return _enabled

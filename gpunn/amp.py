"""Mixed precision under PyTorch's names: ``autocast``, which ops compute in 16 bits, and ``GradScaler``."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, overload

import numpy as np

from gpunn._autocast import CPU, CUDA, casting
from gpunn._calls import explains_all
from gpunn._grad_scaler import GradScaler
from gpunn._half import bfloat16_dtype, is_half, met
from gpunn.errors import ArgumentError, UsageError, here

__all__ = [
    "GradScaler",
    "autocast",
    "clear_autocast_cache",
    "custom_bwd",
    "custom_fwd",
    "get_autocast_dtype",
    "is_autocast_available",
    "is_autocast_cache_enabled",
    "is_autocast_enabled",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_PLACES = {"cuda": CUDA, "cuda-plain": CUDA, "emulator": CUDA, "cpu": CPU}


def _place(op: str, device_type: Any) -> int:
    if not isinstance(device_type, str):
        raise ArgumentError(
            f"{here(op)}: device_type: expected the kind of a device, such as 'cuda' or 'cpu'; got "
            f"{type(device_type).__name__}. Of a device it is device.type."
        )
    place = _PLACES.get(device_type)
    if place is None:
        raise UsageError(f"{here(op)}: device_type: expected one of {', '.join(_PLACES)}; got {device_type!r}.")
    return place


def _default_dtype(place: int) -> np.dtype:
    return np.dtype(np.float16) if place == CUDA else bfloat16_dtype("autocast")


class autocast:
    """A block, or decorated function, in which products compute in 16 bits, and ops that need it in float32.

    Linear layers, matrix products, convolutions and attention convert float32 inputs, parameters too, to ``dtype``;
    sums are kept in float32 and rounded once, and the result is of ``dtype``. Losses and, on GPUs, exponentials,
    powers, sums, softmax and normalisation by layer or group convert 16 bits to float32. Other ops compute in the dtype
    of their inputs. Parameters, their gradients and what optimisers keep stay float32. Which ops they are is PyTorch's
    choice, for GPUs and for CPUs. float64 is never converted.

    Products and convolutions are computed by tensor cores, where a GPU has them. Most other kernels read and write 16
    bits; what is left, and all of it on the CPU, computes on float32 copies, where 16 bits save memory, not time.

    Parameters
    ----------
    device_type : str
        "cuda", or "emulator", which is the same; or "cpu". Tensors elsewhere are not concerned.
    dtype : dtype, optional
        float16 or bfloat16. By default float16 on GPUs, and bfloat16 on CPUs. With another one nothing is converted,
        and a warning says so. float16 has a small range: gradients below 6e-8 become 0 unless :class:`GradScaler`
        scales them.
    enabled : bool
        Without, nothing is converted: also not if a block around this one would.
    cache_enabled : bool, optional
        Whether a parameter is converted once until the outermost block ends, or changes, and not at each use; True by
        default.

    Raises
    ------
    UsageError
        If there is no such kind of device.
    DTypeError
        If bfloat16 is wanted and ml_dtypes is not installed.

    References
    ----------
    Micikevicius and others 2018, "Mixed precision training".
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device = device_type
        self._at = _place("autocast", device_type)
        self._enabled = bool(enabled)
        self._keeps = cache_enabled
        self._wanted = dtype
        self.fast_dtype = None if not self._enabled and dtype is None else self._checked(dtype)
        # By thread, as several may be in blocks of one object at once; in each what was outside, innermost last.
        self._outer: dict[int, list[tuple[Any, bool]]] = {}

    def _checked(self, dtype: Any) -> np.dtype:
        found = _default_dtype(self._at) if dtype is None else np.dtype(dtype)
        if self._enabled and not is_half(found):
            warnings.warn(
                f"gpunn.autocast: dtype: expected float16 or bfloat16; got {found}. Nothing is converted.",
                UserWarning,
                stacklevel=3,
            )
            self._enabled = False
        if self._enabled:
            met.any = True
        return found

    def __enter__(self) -> autocast:
        self._outer.setdefault(threading.get_ident(), []).append((casting.dtypes, casting.keeps))
        dtypes = list(casting.dtypes)
        dtypes[self._at] = self.fast_dtype if self._enabled else None
        casting.set((dtypes[CUDA], dtypes[CPU]))
        if self._keeps is not None:
            casting.keeps = bool(self._keeps)
        casting.depth += 1
        return self

    def __exit__(self, *exc: object) -> None:
        thread = threading.get_ident()
        outer = self._outer.get(thread)
        if outer is None:  # entered in another thread, by a generator that this one finishes; nothing changed here
            return
        dtypes, casting.keeps = outer.pop()
        casting.set(dtypes)
        if not outer:
            del self._outer[thread]
        casting.depth -= 1
        if not casting.depth:
            casting.forget()

    def __call__(self, function: Any) -> Any:
        """Decorate ``function``: its ops are cast while it runs.

        Between the yields of a generator, and while a coroutine waits, all is as whoever runs then has it.

        Raises
        ------
        UsageError
            If it is a class, of which it is not clear what should be decorated.
        """
        from gpunn._decorated import decorated

        make = functools.partial(autocast, self.device, self._wanted, self._enabled, self._keeps)
        return decorated(function, make, type(self).__name__)


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether this is within an :class:`autocast` that is enabled.

    Parameters
    ----------
    device_type : str, optional
        For this kind of device; "cuda" if not given.
    """
    return casting.dtypes[_place("is_autocast_enabled", device_type or "cuda")] is not None


def is_autocast_cache_enabled() -> bool:
    """Whether parameters are converted once, not at each use: True but within ``autocast(cache_enabled=False)``."""
    return casting.keeps


def clear_autocast_cache() -> None:
    """Let the next uses convert parameters again, as all of them do once the outermost block has ended."""
    casting.forget()


def is_autocast_available(device_type: str) -> bool:
    """Whether :class:`autocast` knows this kind of device.

    Parameters
    ----------
    device_type : str
    """
    return device_type in _PLACES


def get_autocast_dtype(device_type: str) -> np.dtype:
    """What products on this kind of device compute in within :class:`autocast`; outside, what they would by default.

    Parameters
    ----------
    device_type : str
    """
    place = _place("get_autocast_dtype", device_type)
    return casting.dtypes[place] or _default_dtype(place)


@overload
def custom_fwd(fwd: _Function, *, device_type: str = "cuda", cast_inputs: Any = None) -> _Function: ...
@overload
def custom_fwd(
    fwd: None = None, *, device_type: str = "cuda", cast_inputs: Any = None
) -> Callable[[_Function], _Function]: ...
def custom_fwd(fwd: Any = None, *, device_type: str = "cuda", cast_inputs: Any = None) -> Any:
    """Decorate the ``forward`` of an :class:`gpunn.autograd.Function` so that :func:`custom_bwd` casts as it did.

    Parameters
    ----------
    fwd : callable, optional
        A decorator is returned if not given.
    device_type : str
    cast_inputs : dtype, optional
        Floating tensors, but float64, are converted to it within :class:`autocast`, and the body runs without casting.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    place = _place("custom_fwd", device_type)

    @functools.wraps(fwd)
    def decorated(*args: Any, **named: Any) -> Any:
        on = casting.dtypes[place]
        args[0]._autocast = None if cast_inputs is not None else on
        if cast_inputs is None or on is None:
            return fwd(*args, **named)
        goal = np.dtype(cast_inputs)
        with autocast(device_type, enabled=False):
            given = casting.to(goal, place, args[1:])
            return fwd(args[0], *given, **dict(zip(named, casting.to(goal, place, tuple(named.values())), strict=True)))

    return decorated


@overload
def custom_bwd(bwd: _Function, *, device_type: str = "cuda") -> _Function: ...
@overload
def custom_bwd(bwd: None = None, *, device_type: str = "cuda") -> Callable[[_Function], _Function]: ...
def custom_bwd(bwd: Any = None, *, device_type: str = "cuda") -> Any:
    """Decorate the ``backward`` of an :class:`gpunn.autograd.Function`: it casts as its forward did.

    Parameters
    ----------
    bwd : callable, optional
        A decorator is returned if not given.
    device_type : str
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    _place("custom_bwd", device_type)

    @functools.wraps(bwd)
    def decorated(*args: Any, **named: Any) -> Any:
        dtype = args[0]._autocast
        with autocast(device_type, dtype, enabled=dtype is not None):
            return bwd(*args, **named)

    return decorated


explains_all(globals())

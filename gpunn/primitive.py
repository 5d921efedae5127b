"""THE SEAM: one function, its plain body, and optionally a NumPy fast path and a kernel.

A primitive works on *physical* arrays (C-contiguous, channels last; see ``_layout``), knows
nothing of tensors or the tape, and is the only place in gpunn that chooses by device::

    @primitive(returns=("y", "offset"))
    def max_pool2d_forward(xp, x, window):      # plain body: any xp, reads like the formula
        ...
    @max_pool2d_forward.numpy                   # optional: the fast CPU path
    def _(x, window): ...
    @max_pool2d_forward.kernel                  # optional: launches max_pool2d.cu
    def _(device, x, window): ...

    y, offset = max_pool2d_forward(device, x, window)

Calling it runs the kernel where the device loads kernels, the NumPy path on ``cpu``, and the
plain body otherwise. Nothing falls back quietly: a dtype that a body does not support is an error. Arrays of float16
and bfloat16 are no body's matter: they are converted, see ``_half_seam``. Large products have kernels of their own for
them, registered by ``half_kernel``; others load and store 16-bit numbers themselves, which ``kernel(stored=...)`` says.

Every primitive has example inputs in ``tests/examples``, and ``tests/test_battery.py`` runs all bodies
of all primitives on them and compares values, mutated arguments, dtypes and layouts.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpunn import _half_seam
from gpunn._capture_state import capturing
from gpunn._device import Device
from gpunn._half import met
from gpunn.cpu.blas import single_threaded_blas
from gpunn.errors import CaptureError, UsageError, here
from gpunn.gpu.plans import Plans

__all__ = ["Primitive", "count_bodies", "primitive"]

REGISTRY: dict[str, Primitive] = {}


class _Counts(threading.local):
    """What ran, for tests and the profiler; None while nobody is counting."""

    def __init__(self) -> None:
        self.active: Counter[tuple[str, str]] | None = None


_counts = _Counts()


@contextlib.contextmanager
def count_bodies() -> Iterator[Counter[tuple[str, str]]]:
    """Count which body of which primitive runs in this thread: {(name, body): times}.

    ``body`` is ``"kernel"``, ``"numpy"`` or ``"plain"``.
    """
    outer, counts = _counts.active, Counter[tuple[str, str]]()
    _counts.active = counts
    try:
        yield counts
    finally:
        _counts.active = outer
        if outer is not None:
            outer.update(counts)


class Primitive:
    """A function on physical arrays with up to three bodies. Made by :func:`primitive`."""

    def __init__(
        self,
        plain: Callable[..., Any],
        returns: tuple[str, ...],
        mutates: tuple[str, ...],
        tolerance: float,
        host_arguments: tuple[str, ...],
        plans: bool = True,
        moves: bool = False,
        wide: tuple[str, ...] = (),
        halves: bool = False,
    ) -> None:
        self.plain = plain
        self.name = plain.__name__
        self.__doc__ = plain.__doc__
        self.returns = returns
        self.mutates = mutates
        self.tolerance = tolerance
        self.host_arguments = host_arguments
        self.moves, self.wide, self.halves = moves, wide, halves
        self._places: dict[str, int] | None = None
        self._planned = plans
        self._plans: Plans | None = None
        self.numpy_body: Callable[..., Any] | None = None
        self.kernel_body: Callable[..., Any] | None = None
        self.half_body: Callable[..., Any] | None = None
        self.stored: frozenset[str] = frozenset()
        self.parameters: frozenset[str] = frozenset()
        self._half_plans: Plans | None = None

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    @property
    def places(self) -> dict[str, int]:
        """Which argument behind the device each parameter is."""
        if self._places is None:
            names = list(inspect.signature(self.plain).parameters)[1:]  # xp stands in the device's place
            self._places = {name: place for place, name in enumerate(names)}
        return self._places

    def numpy(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Register the fast path for the ``cpu`` device: ``body(*args)``, NumPy arrays."""
        self.numpy_body = self._named(body, "numpy")
        return body

    def kernel(
        self,
        body: Callable[..., Any] | None = None,
        *,
        stored: tuple[str, ...] = (),
        parameters: tuple[str, ...] = (),
    ) -> Callable[..., Any]:
        """Register the function that launches the kernel: ``body(device, *args)``.

        ``stored``: the arguments that may be arrays of 16 bits, all of one dtype (``kernels/stored.cuh``);
        ``parameters``: those that may be so too, or all in float32.
        """
        if body is None:
            return functools.partial(self.kernel, stored=stored, parameters=parameters)
        self.kernel_body = self._named(body, "kernel")
        self.stored, self.parameters = frozenset(stored), frozenset(parameters)
        # Whose values a launch carries is no matter of shapes.
        self._plans = Plans(body) if self._planned and not self.host_arguments else None
        return body

    def half_kernel(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Register the function that launches kernels for arrays of 16 bits: ``body(device, *args)``.

        It returns None, and has launched nothing, where it leaves them to float32 copies.
        """
        self.half_body = self._named(body, "half_kernel")
        self._half_plans = Plans(body) if self._planned and not self.host_arguments else None
        return body

    def _named(self, body: Callable[..., Any], kind: str) -> Callable[..., Any]:
        """Give an unnamed body (``def _``) a name that tracebacks and profiles can show: ``conv2d_forward.kernel``."""
        if isinstance(body, types.FunctionType) and body.__name__ == "_":
            body.__name__ = body.__qualname__ = name = f"{self.name}.{kind}"
            own: dict[str, Any] = {"co_name": name}
            if sys.version_info >= (3, 11):
                own["co_qualname"] = name
            body.__code__ = body.__code__.replace(**own)
        return body

    def __call__(self, device: Device, *args: Any, **kwargs: Any) -> Any:
        """Run the body that belongs to ``device``: the kernel, the fast path or the plain body."""
        if met.any and not self.halves and _half_seam.has_half(args, kwargs):
            if self.half_body is not None and device.loader is not None:
                found = self._launched(device, self.half_body, self._half_plans, args, kwargs)
                if found is not None:
                    if _counts.active is not None:
                        _counts.active[self.name, "kernel"] += 1
                    return found
            return _half_seam.call(self, device, args, kwargs)
        if device.loader is not None and self.kernel_body is not None:
            body = "kernel"
        elif device.name == "cpu" and self.numpy_body is not None:
            body = "numpy"
        else:
            body = "plain"
        if body == "kernel":
            return self.run_kernel(device, args, kwargs)
        if _counts.active is not None:
            _counts.active[self.name, body] += 1
        device.computed()
        # A graph repeats launches. Array-library code would run once, at the capture, and never again.
        if capturing() is not None:
            raise CaptureError(
                f"{self.name} has no kernel, so a captured step cannot repeat it on '{device}'. "
                "Run this model without capture (Trainer(capture=False)), or move the op out of the step."
            )
        # With BLAS's own threads the last bits would depend on their number, and they keep spinning after a product.
        with single_threaded_blas:
            if body == "numpy":
                assert self.numpy_body is not None
                return self.numpy_body(*args, **kwargs)
            with device.active():
                result = self.plain(device.xp, *args, **kwargs)
        # NumPy turns 0-d results into scalars, which have no memory to share.
        return np.asarray(result) if isinstance(result, np.generic) else result

    def run_kernel(self, device: Device, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Launch the kernel."""
        assert self.kernel_body is not None
        if _counts.active is not None:
            _counts.active[self.name, "kernel"] += 1
        return self._launched(device, self.kernel_body, self._plans, args, kwargs)

    def _launched(
        self,
        device: Device,
        body: Callable[..., Any],
        plans: Plans | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """What a body returns that launches kernels."""
        if device.ordinal is not None and device._get_current() != device.ordinal:
            with device.active():
                return self._launched(device, body, plans, args, kwargs)
        try:
            if plans is None or kwargs or _counts.active is not None:
                return body(device, *args, **kwargs)
            return plans.call(device, args)
        except OverflowError as error:  # a number does not fit into a struct of 32-bit sizes
            raise UsageError(
                f"{here(self.name)}: a length is too large for the 32 bits that its kernel counts in ({error}): "
                "split the tensor."
            ) from error


def primitive(
    *,
    returns: tuple[str, ...],
    mutates: tuple[str, ...] = (),
    tolerance: float = 1e-5,
    host_arguments: tuple[str, ...] = (),
    plans: bool = True,
    moves: bool = False,
    wide: tuple[str, ...] = (),
    halves: bool = False,
) -> Callable[[Callable[..., Any]], Primitive]:
    """Declare a primitive; decorates its plain body ``f(xp, *args)``.

    Parameters
    ----------
    returns : tuple of str
        Names of the returned arrays, in order; a single name means a bare return. A value may
        be None where it was not requested.
    mutates : tuple of str
        The arguments that the primitive writes to.
    tolerance : float
        Largest difference between two bodies in float32, relative to the largest magnitude of
        the array. The default, 1e-5, is about a hundred roundings: sums of a few thousand terms in
        another order stay below it.
    host_arguments : tuple of str
        Arrays that stay on the host on every device: the launch itself carries their values.
    plans : bool
        Whether a call's launches may be repeated for other arrays of the same geometry (``gpu/plans.py``). False where
        an argument is another number in each call, such as a place in the random stream.
    moves : bool
        Whether it only moves elements, whatever they are, and all bodies take int16: then 16-bit floating numbers go
        through as their bits.
    wide : tuple of str
        The returned arrays that stay float32 where inputs are of 16 bits: statistics, and gradients of parameters that
        may be float32.
    halves : bool
        Whether the bodies know float16 and bfloat16 themselves.
    """

    def decorate(plain: Callable[..., Any]) -> Primitive:
        made = Primitive(plain, returns, mutates, tolerance, host_arguments, plans, moves, wide, halves)
        if made.name in REGISTRY:
            raise ValueError(f"two primitives are called {made.name}")
        REGISTRY[made.name] = made
        return made

    return decorate

"""NumPy's BLAS, called without NumPy: how many threads it has, and sums of two vectors in one pass.

BLAS thread limits are process-wide state. Two overlapping "limit to one, then restore" in two
threads would leave the process at one thread for ever. So users are counted, and only the first in
and the last out touch the limit.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class _Library(NamedTuple):
    """A BLAS in this process.

    Attributes
    ----------
    path : str
    ask, change : callable
        Get and set its number of threads.
    axpby : dict
        By dtype: the function y = alpha x + beta y, which not every BLAS has.
    """

    path: str
    ask: Callable[[], int]
    change: Callable[[int], object]
    axpby: dict[np.dtype, Any]


# NumPy's own builds of OpenBLAS have a prefix, and a suffix where integers have 64 bits.
_OPENBLAS_NAMES = [(prefix, suffix) for prefix in ("scipy_", "") for suffix in ("64_", "")]
_REALS = (("s", np.float32, ctypes.c_float), ("d", np.float64, ctypes.c_double))


def _blas_libraries() -> list[_Library]:
    """Every BLAS in this process.

    OpenBLAS is called directly: threadpoolctl takes 3 us for what takes 0.2, and lets only one thread of the process
    set anything, whereas here the last to leave need not be the first to have come.
    """
    from threadpoolctl import ThreadpoolController

    found = []
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        made = _Library(library.filepath, library.get_num_threads, library.set_num_threads, {})
        if library.internal_api == "openblas" and library.info().get("threading_layer") == "pthreads":
            made = _openblas(made)
        found.append(made)
    return found


def _openblas(library: _Library) -> _Library:
    # The first keeps the GIL, which costs less than releasing it; the second releases it.
    at_once, beside = ctypes.PyDLL(library.path), ctypes.CDLL(library.path)
    for prefix, suffix in _OPENBLAS_NAMES:
        threads = f"{prefix}openblas_{{}}_num_threads{suffix}"
        if hasattr(at_once, threads.format("set")):
            axpby = {}
            for letter, kind, real in _REALS:
                function = getattr(beside, f"{prefix}cblas_{letter}axpby{suffix}", None)
                if function is not None:
                    whole = ctypes.c_int64 if suffix else ctypes.c_int
                    function.argtypes = [whole, real, ctypes.c_void_p, whole, real, ctypes.c_void_p, whole]
                    function.restype = None
                    axpby[np.dtype(kind)] = function
            ask, change = (getattr(at_once, threads.format(verb)) for verb in ("get", "set"))
            return _Library(library.path, ask, change, axpby)
    return library


class _Blas:
    """Keeps BLAS at one thread while at least one user needs that.

    A user is on the list whenever the limit is changed for it: a fork in between leaves the child enough to go by.
    """

    def __init__(self) -> None:
        self.libraries: list[_Library] | None = None
        self.axpby: dict[np.dtype, Any] = {}
        self._users: list[int] = []  # their threads
        self._before: list[int] = []
        self._ask: list[Callable[[], int]] = []
        self._ones: list[int] = []
        self._lock = threading.Lock()

    def start_over(self) -> None:
        """In a forked child: of the parent's threads it has this one alone, and the lock in whatever state it was."""
        self._lock = threading.Lock()
        left_behind = bool(self._users)
        self._users = [user for user in self._users if user == threading.get_ident()]
        if left_behind and not self._users:
            self._set(self._before)

    def __enter__(self) -> None:
        with self._lock:
            users = self._users
            users.append(threading.get_ident())
            if len(users) == 1:
                if self.libraries is None:
                    self._find()
                self._before = [ask() for ask in self._ask]
                if self._before != self._ones:
                    self._set(self._ones)

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            users = self._users
            if len(users) > 1:
                users.remove(threading.get_ident())
                return
            if self._before != self._ones:
                self._set(self._before)
            users.clear()

    def _find(self) -> None:
        try:
            self.libraries = _blas_libraries()
        except BaseException:
            self._users.clear()  # the block is never entered
            raise
        self.axpby = next((library.axpby for library in self.libraries if library.axpby), {})
        self._ask = [library.ask for library in self.libraries]
        self._ones = [1] * len(self._ask)

    def _set(self, numbers: list[int]) -> None:
        for library, before, number in zip(self.libraries or (), self._before, numbers, strict=True):
            if before != 1:
                library.change(number)


single_threaded_blas = _Blas()
# A forked child inherits the parent's lock in whatever state it was.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=single_threaded_blas.start_over)


_FEW = 1 << 16  # bytes


def axpby(alpha: float, x: np.ndarray, beta: float, y: np.ndarray, room: np.ndarray) -> None:
    """y = alpha x + beta y, in place.

    NumPy needs three passes over memory for this; BLAS needs one, and half the time. In little memory the passes
    cost less than asking for addresses.

    Parameters
    ----------
    alpha, beta : float
    x, y, room : numpy.ndarray, (n,)
        Contiguous, of one dtype; ``room`` may be written to.
    """
    function = single_threaded_blas.axpby.get(y.dtype)
    # BLAS treats 0 times infinity as 0.
    if function is None or y.nbytes < _FEW or not (alpha and beta):
        np.multiply(y, beta, out=y)
        np.add(y, np.multiply(x, alpha, out=room), out=y)
    else:
        at_x, at_y = (a.__array_interface__["data"][0] for a in (x, y))
        function(y.size, float(alpha), at_x, 1, float(beta), at_y, 1)

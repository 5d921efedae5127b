"""The gates of recurrent layers in NumPy: in place, in runs of rows, a few calls for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import PART, quiet


def _by_rows(task: Callable[[slice], None], gates: np.ndarray) -> None:
    """Call ``task(rows)`` for runs of rows that stay in a core's cache, on all threads."""

    def quietly(rows: slice) -> None:
        with quiet():
            task(rows)

    threads.run(quietly, threads.spans(len(gates), max(1, gates.size // PART)))


def _logistic(z: np.ndarray) -> None:
    """z = 1 / (1 + exp(-z)), in place, of a matrix without gaps: NumPy takes half as long as over rows with gaps."""
    z = z.reshape(-1)
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    np.divide(1, z, out=z)


def _slopes(s: np.ndarray, t: np.ndarray, start: int) -> np.ndarray:
    """s (1 - s), the slopes of sigmoids by their values; 1 - t^2 of the columns from ``start`` on, which are tanh's."""
    slopes = threads.scratch.array("slopes", s.shape, s.dtype)
    np.subtract(1, s, out=slopes)
    slopes *= s
    of_tanh = slopes[:, start : start + t.shape[1]]
    np.multiply(t, t, out=of_tanh)
    np.subtract(1, of_tanh, out=of_tanh)
    return slopes


def _times_slope_of_tanh(d: np.ndarray, t: np.ndarray, room: np.ndarray) -> None:
    """d *= 1 - t^2, the slope of tanh by its value."""
    np.multiply(t, t, out=room)
    np.subtract(1, room, out=room)
    d *= room


def _rooms(rows: slice, width: int, dtype: Any, count: int) -> list[np.ndarray]:
    shape = (rows.stop - rows.start, width)
    return [threads.scratch.array(f"recurrent {i}", shape, dtype) for i in range(count)]


def lstm_forward(given: np.ndarray, hidden: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The next h and c, and the gates."""
    width = c.shape[1]
    h, c_next, gates = memory.empty_like(c), memory.empty_like(c), memory.empty_like(given)

    def task(rows: slice) -> None:
        z, y, state = gates[rows], h[rows], c_next[rows]
        np.add(given[rows], hidden[rows], out=z)
        i, f, g, o = (z[:, k * width : (k + 1) * width] for k in range(4))
        np.tanh(g, out=y)
        _logistic(z)  # of g too, whose place is then taken by what is wanted there
        np.copyto(g, y)
        np.multiply(f, c[rows], out=state)
        np.multiply(i, g, out=y)
        state += y
        np.tanh(state, out=y)
        y *= o

    _by_rows(task, gates)
    return h, c_next, gates


def lstm_backward(
    dh: np.ndarray | None, dc_next: np.ndarray | None, gates: np.ndarray, c: np.ndarray, c_next: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of the sums behind the gates, and of c."""
    width = c.shape[1]
    dz, dc = memory.empty_like(gates), memory.empty_like(c)

    def task(rows: slice) -> None:
        s, ds = gates[rows], dz[rows]
        i, f, g, o = (s[:, k * width : (k + 1) * width] for k in range(4))
        di, df, dg, do = (ds[:, k * width : (k + 1) * width] for k in range(4))
        t, d, room = _rooms(rows, width, c.dtype, 3)
        slopes = _slopes(s, g, 2 * width)
        if dh is None:
            do.fill(0)
            assert dc_next is not None
            np.copyto(d, dc_next[rows])
        else:
            np.tanh(c_next[rows], out=t)
            np.multiply(dh[rows], t, out=do)
            np.multiply(dh[rows], o, out=d)
            _times_slope_of_tanh(d, t, room)
            if dc_next is not None:
                d += dc_next[rows]
        np.multiply(d, f, out=dc[rows])
        np.multiply(d, g, out=di)
        np.multiply(d, c[rows], out=df)
        np.multiply(d, i, out=dg)
        ds *= slopes

    _by_rows(task, gates)
    return dz, dc


def gru_forward(given: np.ndarray, hidden: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next h, and the gates."""
    width = h.shape[1]
    y, gates = memory.empty_like(h), memory.empty_like(given)

    def task(rows: slice) -> None:
        s, next_h = gates[rows], y[rows]
        np.add(given[rows], hidden[rows], out=s)
        _logistic(s)  # of n too, whose place is then taken by what is wanted there
        r, z, n = (s[:, k * width : (k + 1) * width] for k in range(3))
        np.multiply(r, hidden[rows, 2 * width :], out=n)
        n += given[rows, 2 * width :]
        np.tanh(n, out=n)
        np.subtract(h[rows], n, out=next_h)
        next_h *= z
        next_h += n

    _by_rows(task, gates)
    return y, gates


def gru_backward(
    dy: np.ndarray, gates: np.ndarray, hidden: np.ndarray, h: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of both summands, and of h."""
    width = h.shape[1]
    dgiven, dhidden, dh = memory.empty_like(gates), memory.empty_like(gates), memory.empty_like(h)

    def task(rows: slice) -> None:
        s, ds, d = gates[rows], dgiven[rows], dy[rows]
        r, z, n = (s[:, k * width : (k + 1) * width] for k in range(3))
        dr, dz, dn = (ds[:, k * width : (k + 1) * width] for k in range(3))
        slopes = _slopes(s, n, 2 * width)
        np.multiply(d, z, out=dh[rows])
        np.subtract(d, dh[rows], out=dn)
        dn *= slopes[:, 2 * width :]
        np.multiply(dn, hidden[rows, 2 * width :], out=dr)
        np.subtract(h[rows], n, out=dz)
        dz *= d
        ds[:, : 2 * width] *= slopes[:, : 2 * width]
        np.copyto(dhidden[rows, : 2 * width], ds[:, : 2 * width])
        np.multiply(dn, r, out=dhidden[rows, 2 * width :])

    _by_rows(task, gates)
    return dgiven, dhidden, dh

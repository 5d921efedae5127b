"""Random numbers: counter-based, so that every device draws the same ones.

The algorithm is Philox 4x64-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as
easy as 1, 2, 3"), in NumPy's C implementation on the host and in ``kernels/philox.cuh`` on a
GPU. Weights and shuffles are always drawn on the host: log and cos differ in the last bit
between devices. Dropout compares integers, element by element, and is drawn where it is used.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import secrets
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn._calls import explains_methods
from gpunn._capture_state import watching
from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn.errors import UsageError, here
from gpunn.ops.write_scalars import StepScalars

_PIECE = 1 << 18  # numbers drawn at a time


@explains_methods
class Generator:
    """A stream of random numbers with a seed, and streams derived from it by name.

    Parameters
    ----------
    seed : int, optional
        Any non-negative integer; None draws one from the operating system.
    device : optional
        Changes nothing: a generator serves every device, with the same numbers.

    Notes
    -----
    Two independent counters advance: the host stream's (weights, shuffles) and the call counter
    of masks drawn on devices (:meth:`next_call`). Both are in :meth:`get_state`.
    """

    def __init__(self, seed: int | None = None, *, device: Any = None) -> None:
        self.manual_seed(secrets.randbits(63) if seed is None else seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start over from ``seed``; returns itself.

        Raises
        ------
        UsageError
            If the seed is not a non-negative integer.
        """
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise UsageError(f"manual_seed: expected a non-negative integer; got {seed!r}")
        self._start(int(seed), ())
        return self

    def _start(self, seed: int, path: tuple[str, ...]) -> None:
        self.seed, self.path = seed, path
        digest = hashlib.blake2b("/".join((str(seed), *path)).encode(), digest_size=16).digest()
        self.key: tuple[int, int] = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
        self._host = np.random.Generator(np.random.Philox(key=np.array(self.key, np.uint64)))
        self._calls = 0
        self._spawned: dict[str, int] = {}
        self._bases: dict[Device, StepScalars] = {}
        _generators.add(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What copies and unpickled generators begin with."""
        self.__dict__.update(state)
        _generators.add(self)

    def spawn(self, label: str) -> Generator:
        """A generator independent of this one, determined by seed, label and how often that label was spawned."""
        number = self._spawned.get(label, 0)
        self._spawned[label] = number + 1
        child = Generator.__new__(Generator)
        child._start(self.seed, (*self.path, f"{label}.{number}"))
        return child

    def uniform(self, low: float, high: float, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
        """Host array of ``shape``, uniform on [low, high)."""
        check_uniform("Generator.uniform", low, high)
        values = _drawn(lambda count: low + (high - low) * self._host.random(count), shape, dtype)
        # Rounding may lead to high itself: in float32 once in 30 million numbers.
        return np.minimum(values, np.nextafter(values.dtype.type(high), values.dtype.type(low)), out=values)

    def integers(self, count: int, shape: Sequence[int]) -> np.ndarray:
        """Host array of ``shape``: uint64 numbers from 0 to ``count`` - 1, at most 2^64 of them, all equally likely."""
        return self._host.integers(0, count - 1, tuple(shape), np.uint64, endpoint=True)

    def normal(self, mean: float, std: float, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
        """Host array of ``shape``, Gaussian."""
        check_normal("Generator.normal", mean, std)
        return _drawn(lambda count: mean + std * self._host.standard_normal(count), shape, dtype)

    def permutation(self, n: int) -> np.ndarray:
        """A random order of 0 … n-1, int64."""
        return self._host.permutation(n)

    def next_call(self, device: Device) -> tuple[int, Any]:
        """Reserve one mask: (index, base), whose sum is the mask's place in the stream.

        ``base`` is a uint64 array of one element on ``device``. Outside a captured step it holds
        0 and ``index`` is the whole counter. Inside one, launches are frozen with ``index``
        relative to the step's start, and the base is rewritten before every replay, so that each
        replay draws new masks (see ``_capture``).
        """
        step = watching()
        if step is not None and device not in self._bases:
            self._bases[device] = StepScalars(device, np.uint64, 1)  # in the first run, before the capture
        if step is None or not step.frozen:
            # Not the captured steps' base: a replay between this mask's forward and backward would move it.
            self._calls += 1
            return self._calls - 1, device.cached("zero", lambda: device.zeros((1,), np.uint64))
        base = self._bases[device]
        calls = step.calls  # and not `step`, which will hold before_replay: that would be a cycle
        index = calls.get(self, 0)
        calls[self] = index + 1

        def before_replay() -> None:
            base.write(self._calls)
            self._calls += calls[self]

        step.before_replay[self] = before_replay
        return index, base.array

    @property
    def calls(self) -> int:
        """How many masks have been drawn."""
        return self._calls

    def get_state(self) -> dict[str, Any]:
        """Everything that determines what comes next, as plain Python values."""
        host = self._host.bit_generator.state
        return {
            "seed": self.seed,
            "path": list(self.path),
            "calls": self._calls,
            "spawned": dict(self._spawned),
            "counter": [int(v) for v in host["state"]["counter"]],
            "buffer": [int(v) for v in host["buffer"]],
            "buffer_pos": int(host["buffer_pos"]),
            "has_uint32": int(host["has_uint32"]),
            "uinteger": int(host["uinteger"]),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue exactly where :meth:`get_state` was called."""
        self._start(state["seed"], tuple(state["path"]))
        self._calls = state["calls"]
        self._spawned = dict(state["spawned"])
        host = dict(self._host.bit_generator.state)
        host["state"]["counter"] = np.array(state["counter"], np.uint64)
        host["buffer"] = np.array(state["buffer"], np.uint64)
        for name in ("buffer_pos", "has_uint32", "uinteger"):
            host[name] = state[name]
        self._host.bit_generator.state = host

    def _start_over(self) -> None:
        """In a forked child: go on with a copy of the host stream.

        NumPy's has a lock. A thread that was drawing at the fork, and is not in the child, holds it there for ever.
        """
        bits = np.random.Philox(0)
        state: Any = self._host.bit_generator.state
        bits.state = state
        self._host = np.random.Generator(bits)


_generators: weakref.WeakSet[Generator] = weakref.WeakSet()


def places() -> list[tuple[Generator, int, Any]]:
    """Where all generators stand now: for :func:`go_back`, which has them draw the same again."""
    return [(g, g._calls, g._host.bit_generator.state) for g in list(_generators)]


def go_back(to: Sequence[tuple[Generator, int, Any]]) -> None:
    """Put generators where :func:`places` found them."""
    for generator, calls, host in to:
        generator._calls = calls
        generator._host.bit_generator.state = host


def _start_all_over() -> None:
    for generator in list(_generators):
        generator._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_over)

_default = Generator(0)


def default_generator() -> Generator:
    """The generator that layers and loaders take theirs from; seeded with 0 until :func:`manual_seed`."""
    return _default


def check_uniform(op: str, low: Any, high: Any) -> None:
    """Raise UsageError unless there is an interval from ``low`` to ``high``, which may be empty."""
    if type(low) is float and type(high) is float and low <= high and high - low < math.inf:
        return
    first, last = real_number(op, "low", low), real_number(op, "high", high)
    if not first <= last or math.isinf(last - first):
        raise UsageError(f"{here(op)}: expected an interval, low <= high, of finite length; got {low!r} and {high!r}.")


def check_normal(op: str, mean: Any, std: Any) -> None:
    """Raise UsageError unless there is a Gaussian of this mean and deviation; a deviation of 0 is one."""
    if type(mean) is not float or not math.isfinite(mean):
        real_number(op, "mean", mean, finite=False)
    if type(std) is not float or not std >= 0:
        real_number(op, "std", std, 0, finite=False)


def generator_of(op: str, generator: Any) -> Generator:
    """``generator``, or the default one if it is None.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    if generator is None:
        return _default
    if not isinstance(generator, Generator):
        raise UsageError(
            f"{here(op)}: generator: expected a gpunn.Generator or None; got {type(generator).__name__}. "
            "A seed makes one: gpunn.Generator(seed)."
        )
    return generator


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; everything built afterwards repeats exactly on every device.

    Parameters
    ----------
    seed : int
        Not negative.

    Returns
    -------
    Generator
        The default one.

    Raises
    ------
    UsageError
        If the seed is not a non-negative integer.

    Examples
    --------
    >>> import gpunn
    >>> _ = gpunn.manual_seed(7)
    >>> first = gpunn.rand(3).tolist()
    >>> _ = gpunn.manual_seed(7)
    >>> gpunn.rand(3).tolist() == first
    True
    """
    return _default.manual_seed(seed)


def _drawn(draw: Callable[[int], np.ndarray], shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array filled by ``draw(count)`` piece by piece: in float64 the numbers of a large layer take twice its memory.

    The stream is the same: numbers are drawn one after another.
    """
    values = np.empty(tuple(shape), dtype)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        piece[...] = draw(piece.size)
    return values


def philox_uint32(key: tuple[int, int], call: int, n: int) -> np.ndarray:
    """The first n 32-bit words of mask number ``call``: the host twin of ``philox.cuh``.

    Element i is half (i % 2) of 64-bit word (i // 2 % 4) of the block with counter
    (i // 8 + 1, call, 0, 0); NumPy counts a block before using it, hence the + 1.
    """
    stream = np.random.Philox(counter=np.array([0, call, 0, 0], np.uint64), key=np.array(key, np.uint64))
    # The same words as random_raw, in two thirds of the time.
    words = np.random.Generator(stream).integers(0, 2**64, (n + 1) // 2, np.uint64)
    # Little-endian halves: the low word first, on every host byte order.
    return words.astype("<u8").view("<u4")[:n].astype(np.uint32, copy=False)


_LOW = np.uint64(2**32 - 1)
# Of Philox 4x64-10: two factors, and what is added to the key's words after each round.
_FACTORS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def philox_blocks(key: tuple[int, int], call: int, blocks: np.ndarray) -> np.ndarray:
    """The eight 32-bit words of each of some blocks of mask number ``call``: (len(blocks), 8), uint32.

    ``philox_uint32(key, call, 8 * n).reshape(n, 8)[blocks]``, without what lies between them.
    """
    c = [blocks.astype(np.uint64) + np.uint64(1), np.full(len(blocks), call, np.uint64)]
    c += [np.zeros(len(blocks), np.uint64) for _ in range(2)]
    key0, key1 = key
    for _ in range(10):
        (high0, low0), (high1, low1) = (_products(f, x) for f, x in zip(_FACTORS, (c[0], c[2]), strict=True))
        c = [high1 ^ c[1] ^ np.uint64(key0), low1, high0 ^ c[3] ^ np.uint64(key1), low0]
        key0, key1 = ((k + step) % 2**64 for k, step in zip((key0, key1), _STEPS, strict=True))
    return np.stack(c, axis=1).astype("<u8").view("<u4").astype(np.uint32, copy=False)


def _products(factor: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The high and the low 64 bits of ``factor`` times each number, by way of halves of 32 bits."""
    half = np.uint64(32)
    f0, f1 = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    x0, x1 = x & _LOW, x >> half
    middle = f1 * x0 + (f0 * x0 >> half)
    carried = f0 * x1 + (middle & _LOW)
    return f1 * x1 + (middle >> half) + (carried >> half), np.uint64(factor) * x


# What is only needed by programs that ask for it by PyTorch's path.
_ELSEWHERE = ("fork_rng", "get_rng_state", "initial_seed", "seed", "set_rng_state")


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module("gpunn._rng_state"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

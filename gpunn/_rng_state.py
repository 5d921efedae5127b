"""The default generator's state and seed, as PyTorch programs ask for them."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.random import default_generator, manual_seed


def get_rng_state() -> Tensor:
    """Everything that determines what the default generator gives next.

    Returns
    -------
    Tensor, (n,) uint8
        Fit to be saved with :func:`gpunn.save`; for :func:`set_rng_state`.

    Examples
    --------
    >>> import gpunn
    >>> state = gpunn.get_rng_state()
    >>> first = gpunn.rand(3).tolist()
    >>> gpunn.set_rng_state(state)
    >>> gpunn.rand(3).tolist() == first
    True
    """
    text = json.dumps(default_generator().get_state())
    return tensor(np.frombuffer(text.encode(), np.uint8))


def set_rng_state(new_state: Tensor) -> None:
    """Have the default generator go on from where :func:`get_rng_state` was called.

    Parameters
    ----------
    new_state : Tensor, (n,) uint8

    Raises
    ------
    UsageError
        If that is not what :func:`get_rng_state` returned; PyTorch's states are none.
    """
    values: Any = new_state._numpy_without_tape()
    try:
        if values.dtype != np.uint8:
            raise ValueError
        state = json.loads(values.tobytes())
        default_generator().set_state(state)
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            "set_rng_state: new_state: expected what gpunn.get_rng_state() returned; got "
            f"{values.dtype} of shape {values.shape}. PyTorch's states mean nothing here."
        ) from None


def seed() -> int:
    """Seed the default generator with a number drawn from the operating system, and return that.

    Returns
    -------
    int
    """
    chosen = secrets.randbits(63)
    manual_seed(chosen)
    return chosen


def initial_seed() -> int:
    """The number that the default generator was seeded with; 0 if nobody has.

    Returns
    -------
    int
    """
    return default_generator().seed


@contextlib.contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, _caller: str = "fork_rng", _devices_kw: str = "devices",
    device_type: str = "cuda",
) -> Iterator[None]:  # fmt: skip
    """A block behind which the default generator goes on as if nothing had been drawn in it.

    Parameters
    ----------
    devices : any
        Changes nothing: one generator serves every device.
    enabled : bool
        With False nothing is kept.
    _caller, _devices_kw, device_type
        For PyTorch's programs, and change nothing.

    Examples
    --------
    >>> import gpunn
    >>> with gpunn.random.fork_rng():
    ...     first = gpunn.rand(3).tolist()
    >>> gpunn.rand(3).tolist() == first
    True
    """
    if not enabled:
        yield
        return
    before = default_generator().get_state()
    try:
        yield
    finally:
        default_generator().set_state(before)

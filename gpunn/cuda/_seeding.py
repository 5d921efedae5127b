"""Seeds and states of random numbers under ``torch.cuda``'s names: one generator serves all devices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


def manual_seed(seed: int) -> None:
    """Seed the default generator, which serves every device: the same as :func:`gpunn.manual_seed`.

    Parameters
    ----------
    seed : int
        Not negative.

    Raises
    ------
    UsageError
        If the seed is not a non-negative integer.
    """
    from gpunn import random

    random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """The same as :func:`manual_seed`: one generator serves all GPUs.

    Parameters
    ----------
    seed : int
        Not negative.

    Raises
    ------
    UsageError
        If the seed is not a non-negative integer.
    """
    manual_seed(seed)


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of the one generator, as of :func:`gpunn.get_rng_state`.

    Parameters
    ----------
    device : any
        Changes nothing.

    Returns
    -------
    Tensor, (n,) uint8
    """
    from gpunn import _rng_state

    return _rng_state.get_rng_state()


def get_rng_state_all() -> list[Tensor]:
    """The state of the one generator, once for each GPU; without a GPU an empty list.

    Returns
    -------
    list of Tensor
    """
    from gpunn import cuda

    return [get_rng_state() for _ in range(cuda.device_count())]


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Have the one generator, which also serves the CPU, go on from a state.

    Parameters
    ----------
    new_state : Tensor, (n,) uint8
        As of :func:`get_rng_state`.
    device : any
        Changes nothing.

    Raises
    ------
    UsageError
        If that is no such state.
    """
    from gpunn import _rng_state

    _rng_state.set_rng_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """The same with the last of several states.

    Parameters
    ----------
    new_states : iterable of Tensor

    Raises
    ------
    UsageError
        If one is no such state.
    """
    for state in new_states:
        set_rng_state(state)

"""What the gates of recurrent layers have to be given."""

from __future__ import annotations

from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, here


def check_gates(op: str, given: Tensor, hidden: Tensor, state: Tensor, count: int) -> None:
    """Raise unless both are (N, count H) and the state (N, H), of one floating dtype."""
    wanted = (state.shape[0], count * state.shape[1]) if state.ndim == 2 else None
    if wanted is None or given.shape != wanted or hidden.shape != wanted:
        raise ShapeError(
            f"{here(op)}: expected two of shape (N, {count} H) and a state (N, H); got {given.shape}, {hidden.shape} "
            f"and {state.shape}."
        )
    if given.dtype.kind not in FLOATING or not given.dtype == hidden.dtype == state.dtype:
        raise DTypeError(
            f"{here(op)}: expected one floating dtype; got {given.dtype}, {hidden.dtype} and {state.dtype}."
        )

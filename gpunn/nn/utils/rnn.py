"""Sequences of several lengths in one tensor, under the names of ``torch.nn.utils.rnn``.

There are no packed sequences: what would make or take them says so, and what to do instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from gpunn._calls import explains_all
from gpunn._creation import full
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, ShapeError, UsageError, here
from gpunn.ops.cat import cat, stack

__all__ = ["pad_sequence", "unpad_sequence"]


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences of several lengths as one tensor, the shorter ones filled up.

    Parameters
    ----------
    sequences : iterable of Tensor, (L_i, ...)
        N of them; what follows the first axis is the same for all.
    batch_first : bool
        Whether the result is (N, L, ...), not (L, N, ...); L is the longest length.
    padding_value : float
        What fills up.
    padding_side : str
        "right": behind the sequence, or "left": before it.

    Returns
    -------
    Tensor, (L, N, ...) or (N, L, ...)
        In the first sequence's dtype.

    Raises
    ------
    UsageError
        If there are no sequences, or an option is invalid.
    ShapeError
        If they differ in more than their lengths.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.nn.utils.rnn.pad_sequence([gpunn.tensor([1, 2, 3]), gpunn.tensor([4])], batch_first=True).tolist()
    [[1, 2, 3], [4, 0, 0]]
    """
    op = "pad_sequence"
    found = list(sequences)
    if not found or not all(isinstance(s, Tensor) for s in found):
        kinds = sorted({type(s).__name__ for s in found})
        raise ArgumentError(f"{here(op)}: sequences: expected at least one Tensor, and Tensors alone; got {kinds}.")
    if padding_side not in ("left", "right"):
        raise UsageError(f"{here(op)}: padding_side: expected 'right' or 'left'; got {padding_side!r}.")
    rest = found[0].shape[1:]
    for s in found:
        if not s.ndim or s.shape[1:] != rest:
            raise ShapeError(
                f"{here(op)}: expected sequences (L, ...) that differ in their lengths alone; got {found[0].shape} and "
                f"{s.shape}."
            )
    longest = max(s.shape[0] for s in found)
    filled = []
    for s in found:
        s = s.to(found[0].dtype)
        if s.shape[0] < longest:
            more = full((longest - s.shape[0], *rest), padding_value, dtype=s.dtype, device=s.device)
            s = cat([s, more] if padding_side == "right" else [more, s], 0)
        filled.append(s)
    return stack(filled, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor | Iterable[int], batch_first: bool = False
) -> list[Tensor]:
    """The sequences that :func:`pad_sequence` has filled up on their right.

    Parameters
    ----------
    padded_sequences : Tensor, (L, N, ...) or with ``batch_first`` (N, L, ...)
    lengths : Tensor or iterable of int, (N,)
    batch_first : bool

    Returns
    -------
    list of Tensor
        Views, (L_i, ...).

    Raises
    ------
    ShapeError
        If there is not one length for each sequence.

    Examples
    --------
    >>> import gpunn
    >>> padded = gpunn.tensor([[1, 2, 3], [4, 0, 0]])
    >>> [s.tolist() for s in gpunn.nn.utils.rnn.unpad_sequence(padded, gpunn.tensor([3, 1]), batch_first=True)]
    [[1, 2, 3], [4]]
    """
    op = "unpad_sequence"
    if padded_sequences.ndim < 2:
        raise ShapeError(f"{here(op)}: expected (L, N, ...) or (N, L, ...); got {padded_sequences.shape}.")
    given = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    counts = [as_int(n) for n in given] if isinstance(given, list) else []
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    if len(counts) != rows.shape[0] or None in counts:
        raise ShapeError(
            f"{here(op)}: lengths: expected {rows.shape[0]} whole numbers, one for each sequence of a batch of shape "
            f"{padded_sequences.shape}; got {given}. batch_first is {batch_first}."
        )
    return [row[: max(n, 0)] for row, n in zip(rows, counts, strict=True)]


# -- what is not here -----------------------------------------------------------------------------


def _refuse(op: str) -> NoReturn:
    raise UsageError(
        f"{op}: there are no packed sequences here. Give the recurrent layer the padded batch, in any order, and take "
        "y[range(N), lengths - 1] (with batch_first) as each sequence's last output: padding behind it does not change "
        "it. With bidirectional=True or for the last state, run sequences of one length together."
    )


class PackedSequence:
    """Nothing is one: programs that ask ``isinstance(x, PackedSequence)`` go the other way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("PackedSequence")


def pack_padded_sequence(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuse: there are no packed sequences; the error says what to do instead."""
    _refuse("pack_padded_sequence")


def pad_packed_sequence(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuse: there are no packed sequences; the error says what to do instead."""
    _refuse("pad_packed_sequence")


def pack_sequence(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuse: there are no packed sequences; the error says what to do instead."""
    _refuse("pack_sequence")


def unpack_sequence(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuse: there are no packed sequences; the error says what to do instead."""
    _refuse("unpack_sequence")


explains_all(globals())

"""Einstein's summation, one pair of operands after another, each as one batched product.

An operand's axes are sorted into those that stay in both (the batch), those that are added up, and those that only it
has; then the pair is a product of matrices, which has kernels. Operands are taken from left to right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._autocast import casting
from gpunn._half import FLOATING
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, ShapeError, UsageError, here
from gpunn.ops.binary import together
from gpunn.ops.diagonal import diagonal
from gpunn.ops.matmul import matmul
from gpunn.ops.mul import mul

_OP = "einsum"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# An axis is called by its letter, or by its place in the ellipsis, counted from the right: -1 is the last one.
_Axis = str | int


def einsum(equation: Any, *operands: Any) -> Tensor:
    """The sum of products that ``equation`` writes with a letter for each axis.

    Letters that are not in the result are added up. ``...`` stands for axes that broadcast. Without ``->`` the result
    has those letters that occur once, in alphabetical order, capitals first, behind the axes of the ellipsis.

    Parameters
    ----------
    equation : str
        Such as ``"bij,bjk->bik"``. Or operands and lists of numbers from 0 to 51 in turns, ``einsum(a, [0, 1], [1])``.
    *operands : Tensor
        One for each part of the left side, of dtypes that meet; or one sequence of them.

    Returns
    -------
    Tensor

    Raises
    ------
    UsageError
        If the equation is not well formed.
    ShapeError
        If operands do not have the axes that it names, or lengths under one letter differ.

    Examples
    --------
    >>> import gpunn
    >>> einsum("i,i->", gpunn.tensor([1.0, 2.0]), gpunn.tensor([3.0, 4.0])).item()
    11.0
    """
    if not isinstance(equation, str):
        equation, operands = _from_lists(equation, operands)
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    for operand in operands:
        if not isinstance(operand, Tensor):
            raise ArgumentError(f"{here(_OP)}: operands: expected Tensors; got a {type(operand).__name__}.")
    if operands and casting.applies(_OP, operands[0]):
        operands = casting.inputs(_OP, *operands)
        with casting.paused():
            return einsum(equation, *operands)
    parts, result = _parsed(equation, operands)
    tensors = together(_OP, operands) if len(operands) > 1 else list(operands)
    lengths: dict[_Axis, int] = {}
    for tensor, labels in zip(tensors, parts, strict=True):
        for n, label in zip(tensor.shape, labels, strict=True):
            if lengths.setdefault(label, n) != n and 1 not in (n, lengths[label]):
                raise ShapeError(
                    f"{here(_OP)}: {equation!r}: axis {_told(label)} has lengths {lengths[label]} and {n}; one letter "
                    "stands for one length, or 1."
                )
            lengths[label] = n if lengths[label] == 1 else lengths[label]
    y, labels = _simple(tensors[0], parts[0])
    for i in range(1, len(tensors)):
        later = {label for part in parts[i + 1 :] for label in part}.union(result)
        y, labels = _product(y, labels, *_simple(tensors[i], parts[i]), later)
    y, labels = _added_up(y, labels, [label for label in labels if label not in result])
    order = [labels.index(label) for label in result]
    return y.permute(*order) if order != sorted(order) else y


# -- the equation ---------------------------------------------------------------------------------


def _from_lists(first: Any, rest: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """An equation and operands from operands and lists of numbers in turns, the result's list last."""
    given = (first, *rest)
    if len(given) < 2 or not isinstance(first, Tensor):
        raise UsageError(f"{here(_OP)}: equation: expected a str such as 'ij,jk->ik'; got {type(first).__name__}.")
    left = ",".join(_letters(labels) for labels in given[1::2])
    if len(given) % 2:
        return f"{left}->{_letters(given[-1])}", given[:-1:2]
    return left, given[::2]


def _letters(labels: Any) -> str:
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        raise UsageError(f"{here(_OP)}: expected a list of numbers after each operand; got {type(labels).__name__}.")
    return "".join(_letter(label) for label in labels)


def _letter(label: Any) -> str:
    if label is Ellipsis:
        return "..."
    number = as_int(label)
    if number is None or not 0 <= number < len(_LETTERS):
        raise UsageError(f"{here(_OP)}: expected axes as numbers from 0 to 51 or an Ellipsis; got {label!r}.")
    return _LETTERS[number]


def _parsed(equation: str, operands: tuple[Tensor, ...]) -> tuple[list[list[_Axis]], list[_Axis]]:
    """The axes of each operand, and those of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if not operands or len(texts) != len(operands):
        raise UsageError(f"{here(_OP)}: {equation!r} names {len(texts)} operands; got {len(operands)}.")
    parts = [_axes(equation, text, x.ndim, x.shape) for text, x in zip(texts, operands, strict=True)]
    named = [label for part in parts for label in part]
    wide = list(range(-max((-label for label in named if isinstance(label, int)), default=0), 0))
    if not arrow:
        once = sorted({label for label in named if isinstance(label, str) and named.count(label) == 1})
        return parts, [*wide, *once]
    result = _axes(equation, right, len(right.replace("...", "")) + (len(wide) if "..." in right else 0), None)
    for label in result:
        if result.count(label) > 1 or label not in named:
            why = "occurs twice in the result" if result.count(label) > 1 else "is in the result and in no operand"
            raise UsageError(f"{here(_OP)}: {equation!r}: axis {_told(label)} {why}.")
    return parts, result


def _axes(equation: str, text: str, ndim: int, shape: Any) -> list[_Axis]:
    before, dots, after = text.partition("...")
    for letter in before + after:
        if letter not in _LETTERS:
            raise UsageError(f"{here(_OP)}: {equation!r}: expected letters, commas, '...' and '->'; got {letter!r}.")
    more = ndim - len(before) - len(after)
    if more < 0 or (more and not dots):
        raise ShapeError(
            f"{here(_OP)}: {equation!r}: {text!r} names {len(before) + len(after)} axes"
            f"{' or more' if dots else ''}; the operand has shape {shape}."
        )
    return [*before, *range(-more, 0), *after]


def _told(label: _Axis) -> str:
    return repr(label) if isinstance(label, str) else f"{label} of '...'"


# -- the sums -------------------------------------------------------------------------------------


def _simple(x: Tensor, labels: list[_Axis]) -> tuple[Tensor, list[_Axis]]:
    """An operand in which no axis occurs twice: diagonals are taken of those that do."""
    labels = list(labels)
    while len({*labels}) < len(labels):
        first = next(i for i, label in enumerate(labels) if labels.count(label) > 1)
        second = labels.index(labels[first], first + 1)
        m, n = x.shape[first], x.shape[second]
        if m != n:  # one of them is 1: it is repeated
            x = x.expand(*(max(m, n) if a in (first, second) else -1 for a in range(x.ndim)))
        x = diagonal(x, 0, first, second)
        labels = [*(label for i, label in enumerate(labels) if i not in (first, second)), labels[first]]
    return x, labels


def _added_up(x: Tensor, labels: list[_Axis], gone: list[_Axis]) -> tuple[Tensor, list[_Axis]]:
    if not gone:
        return x, labels
    dtype = x.dtype  # a sum of integers would be int64
    summed = x.sum([labels.index(label) for label in gone]).to(dtype)
    return summed, [label for label in labels if label not in gone]


def _product(
    a: Tensor, of_a: list[_Axis], b: Tensor, of_b: list[_Axis], later: set[_Axis]
) -> tuple[Tensor, list[_Axis]]:
    """The product of two operands, summed over the axes that nobody needs ``later``."""
    a, of_a = _without_ones(a, of_a, b, of_b)
    b, of_b = _without_ones(b, of_b, a, of_a)
    a, of_a = _added_up(a, of_a, [label for label in of_a if label not in of_b and label not in later])
    b, of_b = _added_up(b, of_b, [label for label in of_b if label not in of_a and label not in later])
    batch = [label for label in of_a if label in of_b and label in later]
    summed = [label for label in of_a if label in of_b and label not in later]
    rows = [label for label in of_a if label not in of_b]
    columns = [label for label in of_b if label not in of_a]
    left, right = _ordered(a, of_a, [*batch, *rows, *summed]), _ordered(b, of_b, [*batch, *summed, *columns])
    lengths = dict(zip((*of_a, *of_b), (*a.shape, *b.shape), strict=True))
    lead, m, n = ([lengths[label] for label in labels] for labels in (batch, rows, columns))
    found = [*batch, *rows, *columns]
    if not summed:
        y = mul(left.reshape(*lead, *m, *(1 for _ in n)), right.reshape(*lead, *(1 for _ in m), *n))
        return y, found
    k = math.prod(lengths[label] for label in summed)
    if a.dtype.kind not in FLOATING:
        left = left.reshape(*lead, math.prod(m), 1, k)
        right = right.reshape(*lead, k, math.prod(n)).transpose(-1, -2).unsqueeze(-3)
        return mul(left, right).sum(-1).to(a.dtype).reshape(*lead, *m, *n), found
    together_in = () if not lead else (math.prod(lead),)
    y = matmul(left.reshape(*together_in, math.prod(m), k), right.reshape(*together_in, k, math.prod(n)))
    return y.reshape(*lead, *m, *n), found


def _without_ones(x: Tensor, labels: list[_Axis], other: Tensor, of_other: list[_Axis]) -> tuple[Tensor, list[_Axis]]:
    """x without axes of length 1 that the other operand has too: they broadcast, so they are the other's alone."""
    ones = [i for i, label in enumerate(labels) if x.shape[i] == 1 and label in of_other]
    if not ones:
        return x, labels
    return x.squeeze(ones), [label for i, label in enumerate(labels) if i not in ones]


def _ordered(x: Tensor, labels: list[_Axis], order: list[_Axis]) -> Tensor:
    places = [labels.index(label) for label in order]
    return x if places == sorted(places) else x.permute(*places)

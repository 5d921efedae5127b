"""Padding layers: a border of zeros, of a constant, of reflections or of copies of the edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gpunn._promotion import category
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.ops.pad import pad

Sides = int | Sequence[int]


class _Padding(Module):
    """What the padding layers share: ``padding`` for the last ``axes`` axes, and the mode."""

    axes: ClassVar[int] = 2
    mode: ClassVar[str] = "constant"

    def __init__(self, padding: Sides) -> None:
        super().__init__()
        name, count = type(self).__name__, 2 * self.axes
        given = tuple(padding) if isinstance(padding, Sequence) else (padding,) * count
        sides = tuple(map(as_int, given))
        if len(sides) != count or None in sides:
            names = ("left", "right", "top", "bottom", "front", "back")[:count]
            raise UsageError(f"{name}: padding: expected a whole number or ({', '.join(names)}); got {padding!r}.")
        self.padding = sides

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_Padding):
    """A border of zeros around sequences.

    Parameters
    ----------
    padding : int or (int, int)
        All sides, or left, right; negative numbers crop.

    Shape
    -----
    x : (N, C, L) or (C, L);  y : with length L + left + right

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is too small to crop.

    References
    ----------
    Lecture topic L16.
    """

    axes = 1


class ZeroPad2d(_Padding):
    """A border of zeros around images.

    Parameters
    ----------
    padding : int or (int, int, int, int)
        All sides, or left, right, top, bottom; negative numbers crop.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W);  y : with H + top + bottom rows and W + left + right columns

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is too small to crop.

    References
    ----------
    Lecture topic L16.
    """


class ConstantPad1d(_Padding):
    """A border of a constant around sequences.

    Parameters
    ----------
    padding : int or (int, int)
        All sides, or left, right; negative numbers crop.
    value : float
        The constant.

    Shape
    -----
    x : (N, C, L) or (C, L);  y : with length L + left + right

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is too small to crop.

    References
    ----------
    Lecture topic L16.
    """

    axes = 1

    def __init__(self, padding: Sides, value: float) -> None:
        super().__init__(padding)
        if category(value) is None:  # NaN is a value, too
            raise UsageError(f"{type(self).__name__}: value: expected a number; got {value!r}.")
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, self.padding, value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(_Padding):
    """A border of a constant around images.

    Parameters
    ----------
    padding : int or (int, int, int, int)
        All sides, or left, right, top, bottom; negative numbers crop.
    value : float
        The constant.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W);  y : with H + top + bottom rows and W + left + right columns

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is too small to crop.

    References
    ----------
    Lecture topic L16.
    """

    def __init__(self, padding: Sides, value: float) -> None:
        super().__init__(padding)
        if category(value) is None:  # NaN is a value, too
            raise UsageError(f"{type(self).__name__}: value: expected a number; got {value!r}.")
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, self.padding, value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ReflectionPad2d(_Padding):
    """A border around images that mirrors them at their edge, without repeating the edge.

    Parameters
    ----------
    padding : int or (int, int, int, int)
        All sides, or left, right, top, bottom; negative numbers crop.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W);  y : with H + top + bottom rows and W + left + right columns

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is too small to mirror.

    References
    ----------
    Lecture topic L16.
    """

    mode = "reflect"


class ReplicationPad2d(_Padding):
    """A border around images that repeats their edge.

    Parameters
    ----------
    padding : int or (int, int, int, int)
        All sides, or left, right, top, bottom; negative numbers crop.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W);  y : with H + top + bottom rows and W + left + right columns

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or nothing to repeat.

    References
    ----------
    Lecture topic L16.
    """

    mode = "replicate"


class ReflectionPad1d(_Padding):
    """A border around sequences that mirrors them at their ends, without repeating these.

    Parameters
    ----------
    padding : int or (int, int)
        All sides, or left, right; negative numbers crop.

    Shape
    -----
    x : (N, C, L) or (C, L);  y : with length L + left + right

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is too small to mirror.

    References
    ----------
    Lecture topic L16.
    """

    axes = 1
    mode = "reflect"


class ReplicationPad1d(_Padding):
    """A border around sequences that repeats their ends.

    Parameters
    ----------
    padding : int or (int, int)
        All sides, or left, right; negative numbers crop.

    Shape
    -----
    x : (N, C, L) or (C, L);  y : with length L + left + right

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or nothing to repeat.

    References
    ----------
    Lecture topic L16.
    """

    axes = 1
    mode = "replicate"


class CircularPad1d(_Padding):
    """A border around sequences that continues them from the other end.

    Parameters
    ----------
    padding : int or (int, int)
        All sides, or left, right; negative numbers crop.

    Shape
    -----
    x : (N, C, L) or (C, L);  y : with length L + left + right

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is shorter than the border.

    References
    ----------
    Lecture topic L16.
    """

    axes = 1
    mode = "circular"


class CircularPad2d(_Padding):
    """A border around images that continues them from the other side.

    Parameters
    ----------
    padding : int or (int, int, int, int)
        All sides, or left, right, top, bottom; negative numbers crop.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W);  y : with H + top + bottom rows and W + left + right columns

    Raises
    ------
    UsageError
        If ``padding`` is neither.
    ShapeError
        If x has too few axes, or is smaller than the border.

    References
    ----------
    Lecture topic L16.
    """

    mode = "circular"

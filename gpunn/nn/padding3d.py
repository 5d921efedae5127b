"""Padding layers for volumes."""

from __future__ import annotations

from gpunn._promotion import category
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.padding import Sides, _Padding
from gpunn.ops.pad import pad


class ZeroPad3d(_Padding):
    """A border of zeros around volumes.

    Parameters
    ----------
    padding : int or (int, int, int, int, int, int)
        All sides, or left, right, top, bottom, front, back; negative numbers crop.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W);  y : each axis longer by what is on its two sides

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

    axes = 3


class ConstantPad3d(_Padding):
    """A border of a constant around volumes.

    Parameters
    ----------
    padding : int or (int, int, int, int, int, int)
        All sides, or left, right, top, bottom, front, back; negative numbers crop.
    value : float
        The constant.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W);  y : each axis longer by what is on its two sides

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

    axes = 3

    def __init__(self, padding: Sides, value: float) -> None:
        super().__init__(padding)
        if category(value) is None:  # NaN is a value, too
            raise UsageError(f"{type(self).__name__}: value: expected a number; got {value!r}.")
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, self.padding, value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ReflectionPad3d(_Padding):
    """A border around volumes that mirrors them at their faces, without repeating these.

    Parameters
    ----------
    padding : int or (int, int, int, int, int, int)
        All sides, or left, right, top, bottom, front, back; negative numbers crop.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W);  y : each axis longer by what is on its two sides

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

    axes = 3
    mode = "reflect"


class ReplicationPad3d(_Padding):
    """A border around volumes that repeats their faces.

    Parameters
    ----------
    padding : int or (int, int, int, int, int, int)
        All sides, or left, right, top, bottom, front, back; negative numbers crop.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W);  y : each axis longer by what is on its two sides

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

    axes = 3
    mode = "replicate"


class CircularPad3d(_Padding):
    """A border around volumes that continues them from the other side.

    Parameters
    ----------
    padding : int or (int, int, int, int, int, int)
        All sides, or left, right, top, bottom, front, back; negative numbers crop.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W);  y : each axis longer by what is on its two sides

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

    axes = 3
    mode = "circular"

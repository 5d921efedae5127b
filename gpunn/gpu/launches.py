"""What launcher, plans and loaders tell each other about a launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunn.errors import here
from gpunn.gpu.signatures import Parameter

if TYPE_CHECKING:
    from gpunn._device import Device

Index = tuple[int, int, int]
Pointees = Callable[[], Sequence[Any]]
Numbers = list[tuple[int, Callable[[Any], int]]]  # arguments, and what finds each for a device
Again = Callable[[Any, list[Any]], None]  # a launch made again on a device and these arrays


class Struct:
    """A kernel's struct argument: its bytes, made once, for launches that are made again and again.

    Parameters
    ----------
    array : numpy.ndarray
        A structured array of size one. It must not change afterwards.
    """

    __slots__ = ("_dtype", "checked", "data")

    def __init__(self, array: np.ndarray) -> None:
        self._dtype = array.dtype
        self.data = array.tobytes()
        self.checked = False

    @classmethod
    def of_bytes(cls, data: bytes, dtype: np.dtype) -> Struct:
        """The struct of these bytes, for those made anew at each launch."""
        self = cls.__new__(cls)
        self._dtype, self.data, self.checked = dtype, data, False
        return self

    @property
    def has_images(self) -> bool:
        """Whether there are lengths of images in it."""
        names = self._dtype.names or ()
        return "W" in names or "Q" in names

    @property
    def array(self) -> np.ndarray:
        """A structured array of size one."""
        return np.frombuffer(self.data, self._dtype)

    def __getitem__(self, name: str) -> Any:
        """The value of a field."""
        return self.array[name][0]


class Later(int):
    """A number that a repeated launch finds anew by ``again(device)``."""

    again: Callable[[Device], int]

    def __new__(cls, value: int, again: Callable[[Device], int]) -> Later:
        """The number now, and how to find it."""
        made = super().__new__(cls, value)
        made.again = again
        return made


class Pointer(NamedTuple):
    """One pointer of a launch that is made again on other arrays: where it points to now.

    Attributes
    ----------
    argument : int
        Which of the launch's arguments it is.
    source, offset : int
        Which array it points into, and how many bytes behind its start.
    shape, dtype
        Of the view that the argument is.
    """

    argument: int
    source: int
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype


def without_arrays(parameters: tuple[Parameter, ...], bound: list[Any]) -> list[Any]:
    """The arguments of a launch, with None in the place of arrays."""
    return [None if parameter.pointer else arg for parameter, arg in zip(parameters, bound, strict=True)]


def running_layer(label: str) -> str:
    """The running layer, as the start of an error about the file ``label``; nothing outside layers."""
    place = here(label)
    return "" if place == label else f"{place}: "

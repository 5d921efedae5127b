"""Parameters and buffers whose shapes are not known yet: those of lazy layers before their first batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from gpunn._capture_state import changes, refuse_in_capture
from gpunn._creation import zeros
from gpunn._default_device import default_device
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._interop import dtype_of
from gpunn._layout import physical_shape
from gpunn._promotion import default_float
from gpunn._storage import KeptStorage
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn._arguments import new_parameter, truth
from gpunn.nn.parameter import Parameter

_SLOT: Any = Tensor.__dict__["_physical"]  # which the property of the same name hides


class Uninitialized:
    """Mixed into a class of tensors: device and dtype are known, and whatever needs more is an error."""

    __slots__ = ()
    cls_to_become: ClassVar[type]

    def materialize(self: Any, shape: Sequence[int], device: Device | str | None = None, dtype: Any = None) -> None:
        """Become a tensor of zeros of this shape, the same object.

        Parameters
        ----------
        shape : sequence of int
        device : Device or str, optional
        dtype : dtype, optional
            Those that it has, if not given.
        """
        refuse_in_capture("initialising a lazy layer")
        home = self.device if device is None else get_device(device)
        kind = self.dtype if dtype is None else dtype_of("materialize", dtype)
        made = home.zeros(physical_shape(tuple(shape)), kind)
        tensor: Any = self
        tensor.__class__ = self.cls_to_become
        tensor.device, tensor._physical, tensor._shape, tensor._storage = home, made, None, KeptStorage()
        changes.count += 1

    def _move(self: Any, home: Device | None, dtype: np.dtype | None) -> None:
        self.device = self.device if home is None else home
        _SLOT.__set__(self, self.device.zeros((0,), self.dtype if dtype is None else dtype))
        changes.count += 1

    def _refuse(self) -> NoReturn:
        raise UsageError(
            f"{type(self).__name__}: a lazy layer has no shapes and values before its first batch. Call the model once "
            "on a batch, or load a state_dict; before that it can only be moved, converted and copied."
        )

    _physical = property(_refuse)
    shape = property(_refuse)
    ndim = property(_refuse)

    @property
    def dtype(self) -> np.dtype:
        """The dtype that the values will have."""
        return _SLOT.__get__(self).dtype

    def numel(self) -> int:
        """Refuse: nobody knows yet."""
        self._refuse()

    def detach(self: Any) -> Any:
        """Itself: there are no values to share."""
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(Uninitialized, Parameter):
    """A parameter whose shape is not known yet; :meth:`materialize` makes it a :class:`Parameter`.

    Parameters
    ----------
    requires_grad : bool
        Whether it will collect a gradient.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        The default dtype if not given.

    Examples
    --------
    >>> from gpunn import nn
    >>> weight = nn.UninitializedParameter()
    >>> weight.materialize((2, 3))
    >>> type(weight).__name__, weight.shape
    ('Parameter', (2, 3))
    """

    __slots__ = ()
    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Device | str | None = None, dtype: Any = None
    ) -> UninitializedParameter:
        made: Any = new_parameter((0,), device, dtype)
        made.requires_grad_(truth("UninitializedParameter", "requires_grad", requires_grad))
        made.__class__ = cls
        return made

    def __init__(self, requires_grad: bool = True, device: Device | str | None = None, dtype: Any = None) -> None:
        pass  # all is done: Parameter's would ask for values

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.requires_grad, self.device, self.dtype)


class UninitializedBuffer(Uninitialized, Tensor):
    """A buffer whose shape is not known yet; :meth:`materialize` makes it a Tensor.

    Parameters
    ----------
    requires_grad : bool
        Only False.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        The default dtype if not given.
    """

    __slots__ = ()
    cls_to_become = Tensor

    def __new__(
        cls, requires_grad: bool = False, device: Device | str | None = None, dtype: Any = None
    ) -> UninitializedBuffer:
        if requires_grad:
            raise UsageError("UninitializedBuffer: requires_grad: expected False; got True. A buffer is not trained.")
        made: Any = zeros(
            0, dtype=default_float() if dtype is None else dtype, device=default_device() if device is None else device
        )
        made.__class__ = cls
        return made

    def __init__(self, requires_grad: bool = False, device: Device | str | None = None, dtype: Any = None) -> None:
        pass  # all is done: Tensor's would ask for an array

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (False, self.device, self.dtype)


def is_uninitialized(tensor: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(tensor, Uninitialized)

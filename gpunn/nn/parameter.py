"""Parameter: a tensor that a module owns and an optimiser changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._capture_state import changes
from gpunn._interop import is_array, tensor_of
from gpunn._tensor import Tensor
from gpunn._views import twin_of
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.accumulate import copy


class Parameter(Tensor):
    """A tensor that becomes part of a module when it is assigned to one of its attributes.

    Parameters
    ----------
    data : Tensor, numpy.ndarray or cupy.ndarray, optional
        The values, none if not given; a tensor's storage is shared, an array's as by :func:`gpunn.as_tensor`.
    requires_grad : bool
        Whether :meth:`gpunn.Tensor.backward` collects a gradient here.

    Raises
    ------
    DTypeError
        If a gradient is required and the dtype is not floating.
    """

    __slots__ = ()

    _counts_changes = True

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in ("grad", "requires_grad"):  # on which a captured step depends (``_capture``)
            changes.count += 1

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        if data is None:
            data = np.empty(0, np.float32)
        if not isinstance(data, Tensor):
            try:
                data = tensor_of("Parameter", data if is_array(data) else np.asarray(data))
            except ValueError as error:  # rows of several lengths
                raise DTypeError(f"Parameter: cannot make an array of {type(data).__name__}: {error}.") from error
        view = data._view
        if view is not None and view.copied:
            if isinstance(view.base, Parameter):
                raise UsageError(
                    "Parameter: expected a tensor with memory of its own; got a strided view of another parameter, of "
                    f"shape {data.shape}, of which this would be a copy. Use the view itself, or clone() it."
                )
            data = Tensor._of_physical(copy(data.device, data._physical), data.device)
        super().__init__(data.array, data.device, requires_grad)
        twin_of(data, self)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

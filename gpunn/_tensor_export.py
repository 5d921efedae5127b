"""A Tensor's values for other libraries: NumPy, CuPy, and whatever speaks DLPack or ``__cuda_array_interface__``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import tape
from gpunn._capture_state import refuse_in_capture
from gpunn._device import device as get_device
from gpunn._half import is_bfloat16
from gpunn._views import own_memory, strided_array
from gpunn.errors import DTypeError, ExportError, UsageError

_CPU, _CUDA = 1, 2  # DLPack's device types


class ExportMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    def _numpy_without_tape(self: Any) -> np.ndarray:
        """A NumPy array in logical C order; a copy unless the memory already is that, on the CPU."""
        refuse_in_capture("reading a tensor's values")
        return np.ascontiguousarray(self.device.to_host(self.array)).reshape(self.shape)

    def numpy(self: Any, *, force: bool = False) -> np.ndarray:
        """The values as a NumPy array, which shares the tensor's memory on ``cpu`` and ``emulator``.

        With 4 axes it is a view of channels-last memory, in logical order; ``numpy.ascontiguousarray`` copies it to C
        order. One whose values cannot be had without a copy, as images in another shape, is a copy that cannot be
        written to. From a GPU it is a copy.

        Parameters
        ----------
        force : bool
            The values also of a tensor that requires a gradient.

        Raises
        ------
        UsageError
            If the tensor requires a gradient and ops are being recorded, as in PyTorch; ``.detach().numpy()`` makes
            the intent explicit.
        DTypeError
            If it is bfloat16, as in PyTorch; ``.float().numpy()`` converts it.
        """
        if is_bfloat16(self.dtype):
            raise DTypeError("numpy(): NumPy has no bfloat16 of its own; use .float().numpy().")
        if not force:
            self._refuse_grad("numpy()", ".detach().numpy()", UsageError)
        if self.device.xp is not np:
            return self._numpy_without_tape()
        refuse_in_capture("reading a tensor's values")
        if strided_array(self) is None:
            copied = self.device.to_host(self.array).copy()
            copied.flags.writeable = False
            return copied
        return self.device.to_host(self._exported("numpy()", UsageError))

    def _exported(self: Any, op: str, kind: type[Exception]) -> Any:
        """The logical array that an array library may have, in the tensor's own memory."""
        own_memory(self)
        array = strided_array(self)
        if array is None:
            raise kind(f"{op}: no strides lead to the values of this view, of shape {self.shape}; use .clone().")
        self._storage.export()
        return array

    def cupy(self: Any) -> Any:
        """The tensor's memory as a CuPy array, in logical order: never a copy.

        With 4 axes it is a view of channels-last memory; ``cupy.ascontiguousarray`` copies it to C order.

        Raises
        ------
        UsageError
            If the tensor is not on a GPU, requires a gradient while ops are being recorded, as for :meth:`numpy`, or is
            a view to whose values no strides lead, as of images in another shape.
        """
        self._refuse_grad("cupy()", ".detach().cupy()", UsageError)
        if self.device.ordinal is None:
            raise UsageError(f"cupy(): this tensor is on '{self.device}'; use .cuda().cupy(), or .numpy().")
        return self._exported("cupy()", UsageError)

    def _refuse_grad(self: Any, what: str, fix: str, kind: type[Exception]) -> None:
        if self.requires_grad and tape.is_grad_enabled():
            raise kind(f"{what}: this tensor requires a gradient; use {fix}.")

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            self._refuse_grad("numpy()", ".detach()", UsageError)
            if self.device.xp is not np or (dtype is not None and np.dtype(dtype) != self.dtype):
                raise UsageError(f"a NumPy array of this tensor, {self.dtype} on '{self.device}', needs a copy.")
            return np.asarray(self._exported("a NumPy array without a copy", UsageError))
        values = self.numpy()
        if copy or (dtype is not None and values.dtype != dtype):
            return values.astype(dtype or values.dtype)
        return values

    @property
    def __cuda_array_interface__(self: Any) -> Any:
        # An AttributeError tells other libraries that this is no CUDA array: hasattr() is then False.
        if self.device.ordinal is None:
            raise AttributeError(f"a tensor on '{self.device}' has no __cuda_array_interface__")
        self._refuse_grad("__cuda_array_interface__", ".detach()", UsageError)
        return self._exported("__cuda_array_interface__", UsageError).__cuda_array_interface__

    def __dlpack_device__(self: Any) -> tuple[int, int]:
        return (_CPU, 0) if self.device.ordinal is None else (_CUDA, self.device.ordinal)

    def __dlpack__(
        self: Any,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule of the memory, as the array API standard says; on a GPU ordered after CuPy's stream.

        Parameters
        ----------
        stream : int, optional
            The consumer's stream, which is made to wait for CuPy's current one. None: the legacy default stream; -1:
            no waiting.
        max_version : (int, int), optional
            The newest DLPack that the consumer knows.
        dl_device : (int, int), optional
            Where the consumer wants it: where it is, or host memory, (1, 0).
        copy : bool, optional
            True: always copy. False: never. None: only to another device.

        Raises
        ------
        ExportError
            If the tensor requires a gradient while ops are being recorded, or ``copy`` is False and needed, or the
            device is another. It is a BufferError, as the standard wants.
        """
        self._refuse_grad("__dlpack__", ".detach()", ExportError)
        own = self.__dlpack_device__()
        goal = own if dl_device is None else (int(dl_device[0]), int(dl_device[1]))
        if goal not in (own, (_CPU, 0)):
            raise ExportError(f"__dlpack__: a tensor on '{self.device}' cannot go to DLPack's device {goal}.")
        if own[0] == _CPU and stream is not None:
            raise ExportError(f"__dlpack__: expected no stream for a tensor on '{self.device}'; got {stream!r}.")
        array, device = self._exported("__dlpack__", ExportError), self.device
        if goal != own:
            if copy is False:
                raise ExportError("__dlpack__: copy=False: host memory for a tensor on a GPU needs a copy.")
            array, device, stream = device.to_host(array), get_device("cpu"), None
        elif copy:
            refuse_in_capture("copying a tensor for DLPack")
            with device.active():
                array = array.copy()
        options = {} if device.ordinal is None else {"stream": stream}
        if max_version is not None and (device.ordinal is not None or _NUMPY_KNOWS_VERSIONS):
            options["max_version"] = max_version
        with device.active():
            return array.__dlpack__(**options)


_NUMPY_KNOWS_VERSIONS = np.lib.NumpyVersion(np.__version__) >= "2.1.0"

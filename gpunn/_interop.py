"""Arrays of NumPy, CuPy and other libraries: which there are, and how their memory becomes a tensor's.

CuPy is not imported here: an array of CuPy's can only come from a program that has imported it. The device of an
array is ``cpu`` for NumPy's and the GPU's of its number for CuPy's; NumPy's may also belong to ``emulator``, and
CuPy's to ``cuda-plain``.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from gpunn._calls import failed
from gpunn._capture_state import refuse_in_capture
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._half import NAMES, NoBfloat16, half_named, met
from gpunn._keywords import called, parameters
from gpunn._layout import address_of, logical, physical
from gpunn._tensor import Tensor, upload
from gpunn._views import tensor_over
from gpunn.errors import DeviceError, DTypeError, UsageError, here, nearest

_INTEGERS = (f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_KNOWN = frozenset(("bool", "float32", "float64", *_INTEGERS))
_FIX = {
    "c": "Pass .real and .imag, or use gpunn.arrays, whose convolutions and products take complex arrays.",
    "f": "Convert it with .astype('float32').",
    "O": "Convert it with .astype('float32') if all rows have one length.",
    "U": "Convert it with .astype('float32') if it holds numbers.",
    "S": "Convert it with .astype('float32') if it holds numbers.",
    "M": "Convert it with .astype('int64').",
    "m": "Convert it with .astype('int64').",
}
_HOST, _GPU = (1, 3), (2, 13)  # DLPack's devices: memory and pinned memory; CUDA and managed memory

# -- what it is -----------------------------------------------------------------------------------


def is_cupy(thing: Any) -> bool:
    """Whether ``thing`` is a CuPy array, without importing CuPy."""
    return isinstance(thing, getattr(sys.modules.get("cupy"), "ndarray", ()))


def is_array(thing: Any) -> bool:
    """Whether ``thing`` is a NumPy or CuPy array."""
    return isinstance(thing, np.ndarray) or is_cupy(thing)


def is_foreign(thing: Any) -> bool:
    """Whether ``thing``, which is no tensor of ours, hands out its memory by DLPack or as a CUDA array."""
    if isinstance(thing, Tensor | np.generic | bool | int | float | list | tuple):
        return False
    return hasattr(thing, "__dlpack_device__") or hasattr(type(thing), "__cuda_array_interface__")


def imported(op: str, thing: Any) -> Any:
    """Another library's array as a NumPy or CuPy array of the same memory.

    Raises
    ------
    DeviceError
        If its memory is neither the host's nor a CUDA GPU's, or CuPy cannot be used.
    UsageError
        If it does not hand out its memory, as one that requires a gradient.
    """
    name = f"{type(thing).__module__}.{type(thing).__name__}"
    try:
        if not hasattr(thing, "__dlpack_device__"):
            return get_device("cuda").xp.asarray(thing)
        kind, number = thing.__dlpack_device__()
        if kind not in (*_HOST, *_GPU):
            raise DeviceError(f"{op}: {name} is on device type {int(kind)} of DLPack; expected host or CUDA memory.")
        return (np if kind in _HOST else get_device(f"cuda:{number}").xp).from_dlpack(thing)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, DeviceError):
            raise
        raise UsageError(
            f"{op}: {name} does not hand out its memory ({error}). Detach it from its graph if it has one, and convert "
            "it to a dtype that NumPy has, float32 for example."
        ) from error


def home_of(array: Any, device: Device | str | None = None) -> Device:
    """The device for a NumPy or CuPy array: ``device``, where a GPU without a number means the array's own."""
    if not is_cupy(array):
        return get_device("cpu" if device is None else device)
    kind = "cuda" if device is None or device == "auto" else device
    return get_device(f"{kind}:{array.device.id}" if kind in ("cuda", "cuda-plain") else kind)


def belongs(array: Any, home: Device) -> bool:
    """Whether the array's memory is that of ``home``."""
    return array.device.id == home.ordinal if is_cupy(array) else home.xp is np


# -- what is refused ------------------------------------------------------------------------------


def check_dtype(op: str, dtype: np.dtype) -> None:
    """Raise DTypeError, with the fix, unless tensors have such elements."""
    if dtype.name in NAMES:
        met.any = True
    elif dtype.name not in _KNOWN:
        kind = "f" if "float" in dtype.name else dtype.kind  # NumPy has no kind for those of ml_dtypes
        fix = "Pass one field of it: array['name']." if dtype.names else _FIX.get(kind, "")
        raise DTypeError(f"{here(op)}: {_called(dtype)} is not supported; expected numbers or bool. {fix}".rstrip())


def dtype_of(op: str, dtype: Any) -> np.dtype:
    """The dtype that ``dtype`` names: NumPy's dtypes, types and strings, Python's bool, int (64 bits) and float (64).

    Raises
    ------
    DTypeError
        If it names none, or one that tensors do not have.
    """
    try:
        found = np.dtype(dtype)
        if dtype is None:
            raise TypeError
    except (TypeError, ValueError, SyntaxError):
        text = str(dtype).removeprefix("torch.")
        foreign = type(dtype).__module__ == "torch"
        if text in NAMES and (foreign or isinstance(dtype, str | NoBfloat16)):
            return half_named(op, text)  # NumPy knows "bfloat16" only once ml_dtypes is imported
        if foreign and text in _KNOWN:
            return np.dtype(text)
        fix = nearest(text, sorted((*_KNOWN, *NAMES))) if isinstance(dtype, str) else ""
        raise DTypeError(
            f"{here(op)}: dtype: expected one such as gpunn.float32 or 'int64'; got {dtype!r}{fix}."
        ) from None
    check_dtype(op, found)
    return found.newbyteorder("=")


def _called(dtype: np.dtype) -> str:
    return "a structured dtype" if dtype.names else "an array of objects" if dtype.kind == "O" else dtype.name


def _check(op: str, array: Any, dtype: Any) -> np.dtype:
    """The dtype that the tensor will have."""
    if isinstance(array, np.ma.MaskedArray):
        raise DTypeError(f"{here(op)}: a masked array is not supported. Fill it with array.filled(value).")
    if array.dtype.kind == "c":  # converting would drop the imaginary part
        check_dtype(op, array.dtype)
    return dtype_of(op, array.dtype if dtype is None else dtype)


# -- what becomes of it ---------------------------------------------------------------------------


def tensor_of(
    op: str,
    array: Any,
    device: Device | str | None = None,
    dtype: Any = None,
    copy: bool = False,
    gaps: bool = False,
) -> Tensor:
    """A tensor of a NumPy or CuPy array: in its memory where that is possible and ``copy`` is not set.

    Where memory has gaps or another order than a tensor's it is copied, unless ``gaps``: then what either side writes
    is seen by the other all the same, and each op reads the array anew.
    """
    goal = _check(op, array, dtype)
    home = home_of(array, device)
    if is_cupy(array):
        return _of_cupy(op, array, home, goal, copy, gaps)
    values = np.asarray(array)  # a plain array in place of a subclass
    if home.xp is not np:
        refuse_in_capture(f"{op}: copying an array to '{home}'")
        return Tensor(upload(_packed(op, values, goal) if values.dtype != goal else values, home), home)
    # A tensor may be written to in place, and kernels read whole elements at multiples of their size.
    own = copy or values.dtype != goal or not (values.flags.writeable and values.flags.aligned)
    if gaps and not own and not _fits(values):
        return tensor_over(op, values, home)
    if home.loader is not None and (own or not _fits(values)):
        refuse_in_capture(f"{op}: copying an array")
    return Tensor(_packed(op, values, goal), home) if own else _sharing(values, home)


def _packed(op: str, array: Any, dtype: np.dtype) -> Any:
    """A copy in a tensor's memory order."""
    inner = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
    try:
        return logical(inner.astype(dtype, order="C"))
    except (TypeError, ValueError) as error:
        raise DTypeError(f"{here(op)}: {_called(array.dtype)} does not convert to {dtype}: {error}.") from error


def _sharing(array: Any, home: Device) -> Tensor:
    made = Tensor(array, home)
    if _fits(array):
        made._storage.export()
    return made


def _of_cupy(op: str, array: Any, home: Device, goal: np.dtype, copy: bool, gaps: bool) -> Tensor:
    source = get_device(f"cuda:{array.device.id}")
    near = belongs(array, home)
    with source.active():
        array = _addressable(op, array, source.xp)
        if gaps and near and not copy and array.dtype == goal and not _fits(array):
            return tensor_over(op, array, home)
        if not near or copy or array.dtype != goal or not _fits(array):
            refuse_in_capture(f"{op}: copying a CuPy array")
        own = array.dtype != goal or (copy and near)
        if own:
            array = _packed(op, array, goal)
        if home.xp is np:
            return Tensor(logical(source.to_host(physical(array))), home)
    if not near:
        return Tensor(_across(array, source, home), home)
    return Tensor(array, home) if own else _sharing(array, home)


def _fits(array: Any) -> bool:
    """Whether the array lies in memory as a tensor's does."""
    return bool((array.transpose(0, 2, 3, 1) if array.ndim == 4 else array).flags.c_contiguous)


def _addressable(op: str, array: Any, cupy: Any) -> Any:
    """A plain CuPy array at an address that a kernel can read: a copy of one between two elements' places."""
    if not array.dtype.isnative:
        raise DTypeError(
            f"{here(op)}: CuPy cannot convert a byte-swapped dtype, {array.dtype}; convert the array with NumPy first."
        )
    if type(array) is not cupy.ndarray:
        array = array.view(cupy.ndarray)
    size = array.dtype.itemsize
    if array.size and any(n % size for n in (address_of(array), *array.strides)):
        if not array.flags.c_contiguous:
            raise UsageError(
                f"{here(op)}: the elements lie at addresses that are no multiples of their size, {size}, and are "
                "strided. Copy the buffer that the array is a view of to an aligned one."
            )
        refuse_in_capture(f"{op}: copying a CuPy array")
        array = array.reshape(-1).view(np.uint8).copy().view(array.dtype).reshape(array.shape)
    return array


def _across(array: Any, source: Device, home: Device) -> Any:
    """A copy of a GPU's array on another GPU: after what waits on its stream there, and before what comes later."""
    cupy = home.xp
    with source.active():
        packed = physical(array)
        before = cupy.cuda.Event(disable_timing=True)
        before.record()
    with home.active():
        stream = cupy.cuda.get_current_stream()
        stream.wait_event(before)
        made = cupy.empty(packed.shape, packed.dtype)
        if packed.size:
            made.data.copy_from_device_async(packed.data, packed.nbytes)
        after = stream.record(cupy.cuda.Event(disable_timing=True))
    with source.active():
        cupy.cuda.get_current_stream().wait_event(after)  # its memory may be used again there
        del packed  # freed on the stream that has used it
    return logical(made)


# -- arrays where tensors are expected ------------------------------------------------------------


def constant(op: str, array: Any, home: Device | None, copy: bool = False) -> Tensor:
    """An array given for a tensor: on ``home``, which its memory has to belong to; its own device if that is None."""
    if home is not None and not belongs(array, home):
        own = home_of(array)
        raise DeviceError(
            f"{here(op)}: inputs are on different devices, {home} and {own}; move the array with "
            f"gpunn.as_tensor(array, device='{home}')."
        )
    return tensor_of(op, array, home, copy=copy)


_Op = TypeVar("_Op", bound=Callable[..., Any])


@functools.cache
def _taking_arrays(op: Any) -> Any:
    own, name = parameters(op), op.__name__.rstrip("_")

    @functools.wraps(op)
    def converting(*args: Any, **named: Any) -> Any:
        try:
            if named:
                if not own.issuperset(named):
                    return called(name, converting, own, args, named)
                if has_arrays(named.values()):
                    args, named = constants(name, args, named)
            if has_arrays(args):
                args, named = constants(name, args, named)
            return op(*args, **named)
        except Exception as error:
            failed(error, name, op, args, named)
            raise

    return converting


def takes_arrays(op: _Op) -> _Op:
    """The function ``op`` with NumPy and CuPy arrays converted where tensors are expected; one for each.

    It also takes PyTorch's names of its parameters, see ``_keywords.py``.
    """
    made: _Op = _taking_arrays(op)
    return made


def has_arrays(values: Iterable[Any]) -> bool:
    """Whether there is an array among the values, or in a list or tuple among them."""
    return any(
        any(map(is_array, v)) if type(v) in (list, tuple) else is_array(v) for v in values if type(v) is not Tensor
    )


def constants(op: str, args: tuple[Any, ...], named: dict[str, Any], home: Device | None = None) -> Any:
    """Arguments with tensors in place of arrays, on the device of the first tensor among them, else on ``home``."""
    everything = [*args, *named.values()]
    flat = [v for value in everything for v in (value if isinstance(value, list | tuple) else (value,))]
    home = next((v.device for v in flat if isinstance(v, Tensor)), home)

    def converted(value: Any) -> Any:
        if type(value) in (list, tuple) and any(is_array(v) for v in value):
            return type(value)(map(converted, value))
        return constant(op, value, home) if is_array(value) else value

    return tuple(map(converted, args)), {name: converted(value) for name, value in named.items()}


# -- einops ---------------------------------------------------------------------------------------


class _NoticesEinops:
    """A finder of Python's imports, which finds nothing itself: it has einops registered when that is imported."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "einops._backends":
            return None
        from gpunn._einops import spec_that_registers

        # Those behind it alone: a second one, of a gpunn that was imported anew, would ask this one again.
        return spec_that_registers(sys.meta_path[sys.meta_path.index(cls) + 1 :], name, path, target)


def notice_einops() -> None:
    """From now on einops takes tensors, whether it has been imported already or will be."""
    sys.meta_path.insert(0, _NoticesEinops)
    if "einops._backends" in sys.modules:
        from gpunn._einops import register

        register(importlib.import_module("einops._backends"))  # waits where another thread is still at it

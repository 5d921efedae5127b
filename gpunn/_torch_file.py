"""PyTorch's ``.pt`` files, without PyTorch and without running anything that is in them.

Such a file is a zip archive: a pickle describes nested containers, and each tensor in it points to a storage, the
bytes of another member. A pickle is a program, which may call any function that it names; here it may name what makes
tensors and dictionaries, and nothing else. https://pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import collections
import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gpunn._files import file_size, fill, open_file
from gpunn._layout import Size, address_of
from gpunn._safetensors import numpy_dtype
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, GpunnError, UsageError, quoted, shortened
from gpunn.serialize import write_atomically

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
}
_NAMES = {dtype: name for name, dtype in _STORAGES.items()}
_TENSORS = 10_000  # and one for each kilobyte: each becomes an object of some hundred bytes


class _Kind(NamedTuple):
    """A class of storages, as the pickle names it."""

    dtype: str


class _Storage(NamedTuple):
    """The numbers of a storage, and the device that they were on when they were saved, such as ``cuda:0``."""

    array: np.ndarray
    location: str


def load(
    source: str | os.PathLike[str] | BinaryIO, made: Callable[[np.ndarray, str], Any] = lambda array, location: array
) -> Any:
    """What ``torch.save`` wrote: tensors as NumPy arrays, in the dictionaries, lists and tuples that held them.

    Tensors that share memory in the file are views of one array.

    Parameters
    ----------
    source : path-like or binary file
        Of an open file what is left of it.
    made : callable
        Makes of an array, and the name of the device that it was on, what comes back in its place.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged, was saved by a PyTorch older than 1.6, or holds anything but tensors,
        numbers, strings and containers of them.
    DTypeError
        If a tensor has a dtype that NumPy does not have.
    """
    if not isinstance(source, str | os.PathLike):
        content = source.read()
        return _Archive("the open file", io.BytesIO(content), len(content), made).load()
    try:
        with open_file(source) as file:
            return _Archive(source, file, file_size(file), made).load()
    except OSError as error:
        raise DataError(f"{shortened(source, 200)}: could not be read: {error.strerror or error}.") from error


class _Archive:
    def __init__(self, path: Any, file: BinaryIO, size: int, made: Callable[[np.ndarray, str], Any]) -> None:
        self._path, self._file, self._size, self._made = path, file, size, made
        self._storages: dict[str, _Storage] = {}
        self._left = _TENSORS + size // 1000

    def load(self) -> Any:
        """What the archive holds."""
        if self._file.read(4) != b"PK\x03\x04":
            raise self._fault("expected a zip archive, as torch.save writes since PyTorch 1.6")
        self._file.seek(0)
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._members = {info.filename.partition("/")[2]: info for info in self._zip.infolist()}
            for info in self._members.values():
                # So no member is longer than the file; PyTorch compresses nothing.
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > self._size:
                    raise self._fault(f"{quoted(info.filename, 60)} is compressed or longer than the file")
            if self._members.get("byteorder") is not None and self._read("byteorder").strip() != b"little":
                raise self._fault("its numbers are not little-endian")
            return _Unpickler(self, self._read("data.pkl")).load()
        except GpunnError:
            raise
        except _FAULTS as error:
            raise self._fault(f"{type(error).__name__}: {error}") from error

    def _read(self, name: str) -> bytes:
        info = self._members.get(name)
        if info is None:
            raise self._fault(f"it has no {name}")
        return self._zip.read(info)

    def storage(self, kind: Any, key: Any, location: Any, length: Any) -> _Storage:
        """The flat array of a storage."""
        if (
            not (isinstance(kind, _Kind) and isinstance(key, str) and isinstance(location, str))
            or type(length) is not int
            or length < 0
        ):
            raise self._fault("a storage is not described as PyTorch does")
        if key not in self._storages:
            info = self._members.get(f"data/{key}")
            dtype = numpy_dtype(self._path, f"storage {quoted(key, 40)}", kind.dtype)
            if info is None or info.file_size != length * dtype.itemsize:
                raise self._fault(f"storage {quoted(key, 40)} has not the bytes of {length} numbers of {dtype}")
            array = np.empty(length, dtype)
            with self._zip.open(info) as stream:
                if fill(stream, array) < array.nbytes:
                    raise self._fault(f"storage {quoted(key, 40)} is cut short")
            self._storages[key] = _Storage(array, location)
        storage = self._storages[key]
        if storage.array.dtype.name != kind.dtype or len(storage.array) != length or storage.location != location:
            raise self._fault(f"storage {quoted(key, 40)} is described in two ways")
        return storage

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> Any:
        """A tensor's view of its storage."""
        self._left -= 1
        whole = [
            offset,
            *(size if isinstance(size, tuple) else [None]),
            *(stride if isinstance(stride, tuple) else [None]),
        ]
        if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in whole):
            raise self._fault("a tensor is not described as PyTorch does")
        array, location = storage
        if len(size) != len(stride) or len(size) > 64 or self._left < 0:
            raise self._fault("it has more tensors or axes than any model")
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if all(size) else offset - 1
        # More elements than the storage has: made by expand(), or to fill the memory.
        if last >= len(array) or math.prod(size) > max(len(array), 1):
            raise self._fault(f"a tensor of shape {quoted(size, 60)} reaches beyond its storage")
        steps = [s * array.itemsize for s in stride]
        view = np.lib.stride_tricks.as_strided(array[min(offset, len(array)) :], size, steps)
        return self._made(view, location)

    def _fault(self, reason: str) -> DataError:
        return DataError(
            f"{shortened(self._path, 160)}: not a file of tensors that torch.save wrote: {shortened(reason, 200)}."
        )


class _Unpickler(pickle.Unpickler):
    """Knows the names that make tensors, and refuses all others."""

    def __init__(self, archive: _Archive, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._archive = archive

    def find_class(self, module: str, name: str) -> Any:
        archive = self._archive
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch", "Size"): lambda lengths: tuple(lengths),
            ("torch._utils", "_rebuild_tensor_v2"): lambda s, offset, size, stride, *_: archive.tensor(
                s, offset, size, stride
            ),
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }
        if (module, name) not in known:
            raise DataError(
                f"{shortened(archive._path, 160)}: holds {quoted(f'{module}.{name}', 80)}, which is not run. Expected "
                "tensors, numbers, strings and containers of them: save a state_dict() instead of a whole module."
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise DataError(f"{shortened(self._archive._path, 160)}: a storage is not described as PyTorch does.")
        return self._archive.storage(*pid[1:])


_FAULTS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    MemoryError,
    RuntimeError,
)


# -- writing ---------------------------------------------------------------------------------------


def save(value: Any, target: str | os.PathLike[str] | BinaryIO) -> None:
    """Write what ``torch.load(path, weights_only=True)`` reads: tensors, in dictionaries, lists and tuples.

    Parameters
    ----------
    value : Tensor, numpy.ndarray, mapping, list, tuple, str, int, float, bool, NumPy's numbers or None
        Nested as wanted. A tensor that is there twice is in the file once.
    target : path-like or binary file

    Raises
    ------
    UsageError
        If it holds anything else.
    DTypeError
        If an array has a dtype that PyTorch does not have.
    DataError
        If the file cannot be written.
    """
    written = _Pickle()
    written.add(value)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        # The date of every member is the same, so that equal content gives equal bytes.
        members = {"data.pkl": written.finish(), "byteorder": b"little", "version": b"3\n"}
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
        for key, array in enumerate(written.storages):
            archive.writestr(zipfile.ZipInfo(f"archive/data/{key}"), array.tobytes())
    if isinstance(target, str | os.PathLike):
        write_atomically(target, packed.getbuffer())
    else:
        target.write(packed.getbuffer())


class _Pickle:
    """Writes a pickle of protocol 2 that names PyTorch's functions, which this process need not have."""

    def __init__(self) -> None:
        self.storages: list[np.ndarray] = []
        self._keys: dict[tuple[Any, ...], str] = {}
        self._text = bytearray(pickle.PROTO + b"\x02")

    def finish(self) -> bytes:
        """The whole pickle."""
        return bytes(self._text + pickle.STOP)

    def add(self, value: Any, where: str = "") -> None:
        """Write a value; ``where`` is its place in the whole, such as ``['model']['fc.weight']``."""
        if isinstance(value, Tensor | np.ndarray):
            self._tensor(value, where)
        elif isinstance(value, Mapping):
            self._text += pickle.EMPTY_DICT + pickle.MARK
            for key, item in value.items():
                self.add(key, f"{where}'s key")
                self.add(item, f"{where}[{key!r}]")
            self._text += pickle.SETITEMS
        elif type(value) is list:
            self._text += pickle.EMPTY_LIST + pickle.MARK
            self._items(value, where)
            self._text += pickle.APPENDS
        elif type(value) in (tuple, Size):
            self._text += pickle.MARK
            self._items(value, where)
            self._text += pickle.TUPLE
        elif value is None or type(value) in (str, int, float, bool):
            # Without the two bytes in front and the one behind.
            self._text += pickle.dumps(value, 2)[2:-1]
        elif isinstance(value, np.bool_ | np.integer | np.floating):
            self.add(value.item())
        else:
            fix = " Save its state_dict()." if hasattr(value, "state_dict") else ""
            raise UsageError(
                f"save: expected tensors, numbers, strings and containers of them; got {type(value).__name__}"
                f"{f' as {shortened(where, 200)}' if where else ''}.{fix}"
            )

    def _items(self, values: Sequence[Any], where: str) -> None:
        for i, item in enumerate(values):
            self.add(item, f"{where}[{i}]")

    def _tensor(self, value: Tensor | np.ndarray, where: str) -> None:
        location, same = "cpu", None
        if isinstance(value, Tensor):
            memory = value._physical
            location = value.device.name if value.device.name.partition(":")[0] == "cuda" else "cpu"
            location += ":0" if location == "cuda" else ""
            same = (location, address_of(memory), value.dtype, value.shape)
            value = value._numpy_without_tape()
        if value.dtype.name not in _NAMES:
            raise DTypeError(
                f"save: {shortened(where or 'obj', 200)}: expected one of {', '.join(_NAMES)}; got {value.dtype}."
            )
        key = self._keys.get(same) if same is not None else None
        array = np.asarray(value, value.dtype.newbyteorder("<"), order="C") if key is None else self.storages[int(key)]
        if key is None:
            key = str(len(self.storages))
            self.storages.append(array)
            if same is not None:
                self._keys[same] = key
        strides = tuple(step // array.itemsize for step in array.strides) if array.size else (1,) * array.ndim
        self._text += b"ctorch._utils\n_rebuild_tensor_v2\n" + pickle.MARK
        self._text += pickle.MARK
        self.add("storage")
        self._text += b"ctorch\n" + _NAMES[array.dtype.name].encode() + b"\n"
        for part in (key, location, array.size):
            self.add(part)
        self._text += pickle.TUPLE + pickle.BINPERSID
        for argument in (0, array.shape, strides, False):
            self.add(argument)
        self._text += b"ccollections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
        self._text += pickle.TUPLE + pickle.REDUCE

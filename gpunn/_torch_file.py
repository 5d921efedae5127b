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
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gpunn._files import file_size, fill, open_file
from gpunn._safetensors import numpy_dtype
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, UsageError, quoted, shortened
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


def load(path: str | os.PathLike[str]) -> Any:
    """What ``torch.save`` wrote: tensors as NumPy arrays, in the dictionaries, lists and tuples that held them.

    Tensors that share memory in the file are views of one array.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged, was saved by a PyTorch older than 1.6, or holds anything but tensors,
        numbers, strings and containers of them.
    DTypeError
        If a tensor has a dtype that NumPy does not have.
    """
    try:
        with open_file(path) as file:
            return _Archive(path, file).load()
    except OSError as error:
        raise DataError(f"{shortened(path, 200)}: could not be read: {error.strerror or error}.") from error


class _Archive:
    def __init__(self, path: Any, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._arrays: dict[str, np.ndarray] = {}
        self._size = file_size(file)
        self._left = _TENSORS + self._size // 1000

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
        except DataError:
            raise
        except DTypeError:
            raise
        except _FAULTS as error:
            raise self._fault(f"{type(error).__name__}: {error}") from error

    def _read(self, name: str) -> bytes:
        info = self._members.get(name)
        if info is None:
            raise self._fault(f"it has no {name}")
        return self._zip.read(info)

    def storage(self, kind: Any, key: Any, length: Any) -> np.ndarray:
        """The flat array of a storage."""
        if not isinstance(kind, _Kind) or not isinstance(key, str) or type(length) is not int or length < 0:
            raise self._fault("a storage is not described as PyTorch does")
        if key not in self._arrays:
            info = self._members.get(f"data/{key}")
            dtype = numpy_dtype(self._path, f"storage {quoted(key, 40)}", kind.dtype)
            if info is None or info.file_size != length * dtype.itemsize:
                raise self._fault(f"storage {quoted(key, 40)} has not the bytes of {length} numbers of {dtype}")
            array = np.empty(length, dtype)
            with self._zip.open(info) as stream:
                if fill(stream, array) < array.nbytes:
                    raise self._fault(f"storage {quoted(key, 40)} is cut short")
            self._arrays[key] = array
        array = self._arrays[key]
        if array.dtype.name != kind.dtype or len(array) != length:
            raise self._fault(f"storage {quoted(key, 40)} is described in two ways")
        return array

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
        """A tensor's view of its storage."""
        self._left -= 1
        whole = [
            offset,
            *(size if isinstance(size, tuple) else [None]),
            *(stride if isinstance(stride, tuple) else [None]),
        ]
        if not isinstance(storage, np.ndarray) or not all(type(n) is int and n >= 0 for n in whole):
            raise self._fault("a tensor is not described as PyTorch does")
        if len(size) != len(stride) or len(size) > 64 or self._left < 0:
            raise self._fault("it has more tensors or axes than any model")
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if all(size) else offset - 1
        # More elements than the storage has: made by expand(), or to fill the memory.
        if last >= len(storage) or math.prod(size) > max(len(storage), 1):
            raise self._fault(f"a tensor of shape {quoted(size, 60)} reaches beyond its storage")
        item = storage.itemsize
        return np.lib.stride_tricks.as_strided(storage[min(offset, len(storage)) :], size, [s * item for s in stride])

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
        return self._archive.storage(pid[1], pid[2], pid[4])


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


def save(value: Any, path: str | os.PathLike[str]) -> None:
    """Write what ``torch.load(path, weights_only=True)`` reads: tensors, in dictionaries, lists and tuples.

    Parameters
    ----------
    value : Tensor, numpy.ndarray, mapping, list, tuple, str, int, float, bool or None
        Nested as wanted.
    path : path-like

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
    write_atomically(path, packed.getbuffer())


class _Pickle:
    """Writes a pickle of protocol 2 that names PyTorch's functions, which this process need not have."""

    def __init__(self) -> None:
        self.storages: list[np.ndarray] = []
        self._text = bytearray(pickle.PROTO + b"\x02")

    def finish(self) -> bytes:
        """The whole pickle."""
        return bytes(self._text + pickle.STOP)

    def add(self, value: Any) -> None:
        """Write a value."""
        if isinstance(value, Tensor):
            value = value._numpy_without_tape()
        if isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, Mapping):
            self._text += pickle.EMPTY_DICT + pickle.MARK
            for key, item in value.items():
                self.add(key)
                self.add(item)
            self._text += pickle.SETITEMS
        elif type(value) is list:
            self._text += pickle.EMPTY_LIST + pickle.MARK
            for item in value:
                self.add(item)
            self._text += pickle.APPENDS
        elif type(value) is tuple:
            self._text += pickle.MARK
            for item in value:
                self.add(item)
            self._text += pickle.TUPLE
        elif value is None or type(value) in (str, int, float, bool):
            # Without the two bytes in front and the one behind.
            self._text += pickle.dumps(value, 2)[2:-1]
        else:
            raise UsageError(
                f"save: expected tensors, numbers, strings and containers of them; got {type(value).__name__}."
            )

    def _array(self, array: np.ndarray) -> None:
        if array.dtype.name not in _NAMES:
            raise DTypeError(f"save: expected one of {', '.join(_NAMES)}; got {array.dtype}.")
        array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        strides = tuple(step // array.itemsize for step in array.strides) if array.size else (1,) * array.ndim
        self._text += b"ctorch._utils\n_rebuild_tensor_v2\n" + pickle.MARK
        self._text += pickle.MARK
        self.add("storage")
        self._text += b"ctorch\n" + _NAMES[array.dtype.name].encode() + b"\n"
        self.add(str(len(self.storages)))
        self.add("cpu")
        self.add(array.size)
        self._text += pickle.TUPLE + pickle.BINPERSID
        for item in (0, array.shape, strides, False):
            self.add(item)
        self._text += b"ccollections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
        self._text += pickle.TUPLE + pickle.REDUCE
        self.storages.append(array)

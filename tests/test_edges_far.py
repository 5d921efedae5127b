"""The last blocks of launches on arrays of more than 2^32 elements, on the emulator.

An example of a primitive (``tests/examples``) is made the end of arrays that are zeros before it. Where each row of a
result depends on the same row of the arguments alone, as is found out by computing, the rows at its end are those of
the example. The arrays are views of a file without contents. Of each launch only the blocks run that write the end:
what they would get wrong by counting elements in 32 bits lies outside of the arrays, or is somebody else's.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn._device import Device, device
from gpunn.errors import GpunnError, ShapeError, UsageError
from gpunn.gpu.launcher import Launch, trace_launches
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY, Primitive
from tests.examples import examples_of
from tests.test_battery import assert_same
from tests.traces import dry_launches

import_all()
pytestmark = pytest.mark.emulator
_SIZES = (2**32, 2**31)  # elements of the largest array, at least; the first that is not refused
_BYTES = 2**40  # of the file
_MOST_OF_A_BLOCK = 2**20  # elements; of launches with few blocks even one is too much to run here
_HALF = {"pair_backward"}  # where 2^31 elements are taken, 2^32 refused
# Primitives of which no example has rows that depend on themselves alone; or the array library copies an array, a few
# blocks go through all of the arrays, or the kernel counts elements in an int and refuses; strides are of any rows.
_NOT_COMPARED = {
    "all_axes",
    "batch_norm_statistics",
    "bias_backward",
    "conv2d_max_pool2d_backward",
    "dropout_apply",
    "elements_in_logical_order",
    "gather_along_backward",
    "lamb_step",
    "linear_backward",
    "locally_connected2d_backward",
    "locally_connected2d_forward",
    "maxout_backward",
    "norm_axes",
    "place_along",
    "prelu_backward",
    "prod_axis",
    "read_strided",
    "share_backward",
    "spread",
    "sync_batch_norm_combine",
    "sync_batch_norm_pack",
    "take_images",
    "total_norm",
    "triangle",
    "unbroadcast",
    "update_metrics",
    "valid_index",
    "write_scalars",
    "write_strided",
}
_LARGE = 2**17  # elements of an example
_MOST_LAUNCHES = 40  # of one call
_MORE = 16  # rows that are put before an example to find out whether its rows depend on each other


class _Far(Device):
    """The emulator, with arrays that lie one behind the other in a large file, apart from each other."""

    def __init__(self, path: Path) -> None:
        super().__init__("far", np, device("emulator").loader)
        path.touch()
        os.truncate(path, _BYTES)
        memory = np.memmap(path, np.uint8, mode="r+").view(np.ndarray)
        self._cache.update(path=path, memory=memory, used=0)

    def clear(self) -> None:
        """Forget all arrays: the file has no contents again."""
        for size in (0, _BYTES):
            os.truncate(self._cache["path"], size)
        self._cache["used"] = 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        size, start = math.prod(shape) * np.dtype(dtype).itemsize, self._cache["used"]
        self._cache["used"] = start + -(-size // 64) * 64 + 2**20
        return self._cache["memory"][start : start + size].view(dtype).reshape(shape)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)  # few, and kept for longer than one example


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Far]:
    path = tmp_path_factory.mktemp("far") / "memory"
    yield _Far(path)
    path.unlink()


def _longer(example: dict[str, Any], rows: int, more: int, make: Callable[..., np.ndarray]) -> dict[str, Any]:
    """The example with ``more`` rows of zeros before the ``rows`` of its arrays."""

    def longer(value: Any) -> Any:
        if isinstance(value, list):
            return [longer(v) for v in value]
        if not isinstance(value, np.ndarray) or value.dtype.names or value.ndim == 0 or len(value) != rows:
            return copy.deepcopy(value)
        made = make((rows + more, *value.shape[1:]), value.dtype)
        made[more:] = value
        return made

    made = {name: longer(value) for name, value in example.items()}
    if isinstance(shape := made.get("shape"), tuple) and shape and shape[0] == rows:
        made["shape"] = (rows + more, *shape[1:])
    return made


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, list | tuple):
        for v in value:
            yield from _arrays(v)
    elif isinstance(value, np.ndarray):
        yield value


def _largest(example: dict[str, Any]) -> np.ndarray | None:
    return max(_arrays(list(example.values())), key=lambda a: a.size if a.ndim else 0, default=None)


def _run(primitive: Primitive, where: Device | None, example: dict[str, Any]) -> list[Any]:
    """What is returned and mutated."""
    with np.errstate(all="ignore"):
        result = primitive.plain(np, **example) if where is None else primitive(where, **example)
    results = [] if not primitive.returns else [result] if len(primitive.returns) == 1 else list(result)
    return [*results, *(example[name] for name in primitive.mutates)]


def _ends(got: Any, rows: int) -> Any:
    """The last rows of every array, None for those that have not as many."""
    if isinstance(got, list | tuple):
        return [_ends(g, rows) for g in got]
    return got[-rows:] if isinstance(got, np.ndarray) and got.ndim and len(got) >= rows else None


def _row_by_row(primitive: Primitive, example: dict[str, Any], rows: int) -> list[Any] | None:
    """The results' rows, None for those that do not depend on their own row alone; None if there are no others."""
    expected = _run(primitive, None, copy.deepcopy(example))
    longer = _longer(example, rows, _MORE, np.zeros)
    try:
        results = _run(primitive, None, copy.deepcopy(longer))
    except (ValueError, IndexError, GpunnError):
        return None  # something else than the arrays knows how long they are

    def kept(end: Any, result: Any) -> Any:
        if isinstance(end, list | tuple):
            return [kept(e, r) for e, r in zip(end, result, strict=True)]
        is_long = isinstance(end, np.ndarray) and end.ndim and len(end) == rows and len(result) == rows + _MORE
        try:
            assert is_long
            assert_same("", result[-rows:], end, primitive.tolerance)
        except AssertionError:
            return None
        return end

    found = [kept(e, r) for e, r in zip(expected, results, strict=True)]
    return found if any(True for _ in _arrays(found)) else None


def _share(launch: Launch) -> float:
    """How many elements of its largest array a block has to do with, about."""
    sizes = [a.size for a in _arrays([*launch.args, *(p[0] for p in launch.pointees)]) if a.dtype.names is None]
    return max(sizes, default=0) / max(launch.grid)


def _end_of(grid: tuple[int, int, int], count: int, parts: int) -> Iterable[int]:
    """The last ``count`` blocks along the grid's longest axis, which grew with the arrays, of each of its parts."""
    axis = int(np.argmax(grid))
    ranges = [np.arange(n) for n in grid]
    if grid[axis] % parts == 0:
        ranges[axis] = ranges[axis].reshape(parts, -1)[:, -count:].reshape(-1)
    else:
        ranges[axis] = ranges[axis][-count:]
    x, y, z = ranges
    numbers: list[int] = (x + grid[0] * (y[:, None] + grid[1] * z[:, None, None])).reshape(-1).tolist()
    return numbers


def _copies(primitive: Primitive, example: dict[str, Any]) -> bool:
    """Whether the array library copies an argument or a result: here there is no memory for that."""
    given = copy.deepcopy(example)
    with trace_launches() as launches:
        results = _run(primitive, device("emulator"), given)
    seen = [a for launch in launches for a in _arrays([*launch.args, *(p[0] for p in launch.pointees)])]
    return not all(any(np.may_share_memory(a, b) for b in seen) for a in _arrays([*given.values(), *results]) if a.ndim)


def _kinds(primitive: Primitive) -> list[int]:
    """The example of the longest rows for each kernel and specialisation."""
    found: dict[str, tuple[tuple[int, int], int]] = {}
    for number, example in enumerate(examples_of(primitive)):
        largest = _largest(example)
        if largest is None or not largest.ndim or not largest.size or largest.dtype == np.float64:
            continue
        if largest.size > _LARGE:
            continue
        with dry_launches() as launches:
            try:
                primitive(device("emulator"), **copy.deepcopy(example))
            except GpunnError:
                continue  # it checks what the kernel has written
        label = " ".join(f"{launch.kernel} of {launch.module.module._path.name}" for launch in launches)
        length = largest.size // len(largest), largest.size
        if launches and length > found.get(label, ((0, 0), 0))[0]:
            found[label] = length, number
    return [number for _, number in found.values()]


def _try_far(primitive: Primitive, number: int, where: _Far) -> str:
    """Compare the ends of one example's results; how that went."""
    from gpunn.emulator import only_blocks

    example = examples_of(primitive)[number]
    largest = _largest(example)
    assert largest is not None
    rows = len(largest)
    expected = _row_by_row(primitive, example, rows)
    if expected is None:
        return "rows depend on each other"
    if _copies(primitive, example):
        return "copied"
    with dry_launches() as small:
        primitive(device("emulator"), **copy.deepcopy(example))
    # Of blocks as large as these so many write the end, wherever in the first of them it begins.
    count = 2 + max(math.prod(launch.grid) for launch in small)
    # The gradient of a convolution has a part for each pixel of a stride.
    window = example.get("window")
    parts = min(window.stride[0], window.H) * min(window.stride[1], window.W) if window else 1
    width = max(a.size // rows for a in (largest, *_arrays(expected)))
    for size in _SIZES:
        where.clear()
        if size * sum(1 for _ in _arrays(list(example.values()))) * 8 > _BYTES:
            return "many arrays"
        far = _longer(example, rows, -(-size // width // 64) * 64, where.empty)
        try:
            with dry_launches() as planned:
                primitive(where, **far)
            if any(_share(launch) > _MOST_OF_A_BLOCK for launch in planned):
                return "few blocks"
            if len(planned) > _MOST_LAUNCHES:
                return "many launches"
            if parts > 1 and any(launch.kernel == "conv2d_backward" for launch in planned):
                return "two products"  # of which only the second has parts
            with only_blocks(lambda grid: _end_of(grid, count, parts)):
                results = _run(primitive, where, far)
        except (UsageError, ShapeError):
            continue  # too large for what it counts in an int
        for which, (end, result) in enumerate(zip(expected, results, strict=True)):
            _assert_ends(f"{primitive.name} example {number}, result {which}", _ends(result, rows), end, primitive)
        return f"{size}"
    return "refused"


@pytest.mark.parametrize("name", sorted(name for name, p in REGISTRY.items() if p.kernel_body is not None))
def test_the_last_rows_are_those_of_the_example(name: str, far: _Far) -> None:
    primitive = REGISTRY[name]
    how = {_try_far(primitive, number, far) for number in _kinds(primitive)}
    sizes = {int(found) for found in how if found.isdecimal()}
    # Else a kernel that counts in fewer bits than before would go unnoticed: what is refused is not compared.
    expected = None if name in _NOT_COMPARED else _SIZES[name in _HALF]
    assert max(sizes, default=None) == expected, how


def _assert_ends(label: str, got: Any, expected: Any, primitive: Primitive) -> None:
    if isinstance(expected, list):
        for i, (g, e) in enumerate(zip(got, expected, strict=True)):
            _assert_ends(f"{label}[{i}]", g, e, primitive)
    elif expected is not None:
        assert_same(label, got, expected, primitive.tolerance)

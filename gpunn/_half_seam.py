"""Primitives on float16 and bfloat16: float32 in between, rounded once at the end.

No body of a primitive knows 16-bit arrays. One that only moves elements is given their bits as int16. Any other is
given float32 copies, computes as ever, and what it returns or writes to is rounded once, to the nearest, ties to even.
Such a 16-bit tensor halves memory, not time: the conversions are launches of their own (``kernels/cast.cu``), which a
captured step repeats. Kernels that read and write 16 bits themselves get no copies of what they have as ``stored``
(``kernels/stored.cuh``): the numbers are the same. Large products and convolutions in whole vectors do not come here
(``gpu/half.py``). Other large products are tensor cores' too, where a GPU has them: operands of 16 bits are exact in
tf32 and bf16, so nothing but the result is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._device import Device
from gpunn._half import FLOAT32, FLOATING, is_half
from gpunn._precision import exact_products

if TYPE_CHECKING:
    from gpunn.primitive import Primitive

_BITS = np.dtype(np.int16)


def has_half(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether there is an array of 16-bit floating numbers among the arguments, or in a list among them."""
    return any(is_half(array.dtype) for array in _arrays((*args, *kwargs.values()) if kwargs else args))


def _arrays(values: Any) -> Iterator[Any]:
    for value in values:
        kind = value.__class__
        if kind is list or kind is tuple:
            yield from _arrays(value)
        elif _is_array(value):
            yield value


def _is_array(value: Any) -> bool:
    """An array or a NumPy scalar; not NumPy's class of scalars, which has the names but is a dtype."""
    return hasattr(value, "strides") and not isinstance(value, type)


def call(primitive: Primitive, device: Device, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a primitive whose arguments have 16-bit arrays among them."""
    if primitive.moves:
        floating = {a.dtype for a in _arrays((*args, *kwargs.values())) if a.dtype.kind in "fV"}
        if len(floating) == 1:
            goal = floating.pop()
            result = primitive(
                device,
                *(_mapped(v, lambda a: a.view(_BITS) if a.dtype == goal else a, _BITS) for v in args),
                **{k: _mapped(v, lambda a: a.view(_BITS) if a.dtype == goal else a, _BITS) for k, v in kwargs.items()},
            )
            return _mapped(result, lambda a: a.view(goal) if a.dtype == _BITS else a, goal)
    return _Widened(primitive, device, _kept(primitive, device, args, kwargs)).call(args, kwargs)


def _kept(primitive: Primitive, device: Device, args: tuple[Any, ...], kwargs: dict[str, Any]) -> frozenset[str]:
    """The arguments that the kernel takes in 16 bits: all of one dtype, else none."""
    if not primitive.stored or device.loader is None:
        return frozenset()
    given = {**dict(zip(primitive.places, args, strict=False)), **kwargs}
    dtypes, others = (
        {array.dtype for array in _arrays([given.get(name) for name in names])}
        for names in (primitive.stored, primitive.parameters)
    )
    if len(dtypes) != 1 or not all(map(is_half, dtypes)):
        return frozenset()
    return primitive.stored | primitive.parameters if others == dtypes else primitive.stored


def _mapped(value: Any, convert: Callable[[Any], Any], dtype: np.dtype) -> Any:
    kind = value.__class__
    if kind is list or kind is tuple:
        return kind([_mapped(v, convert, dtype) for v in value])
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return dtype if is_half(np.dtype(value)) else value
    return convert(value) if _is_array(value) else value


class _Widened:
    """One call in float32; ``kept``: the arguments that stay as they are."""

    def __init__(self, primitive: Primitive, device: Device, kept: frozenset[str]) -> None:
        self.primitive, self.device, self.kept = primitive, device, kept
        self.goal: Any = None  # the dtype that results get: of the first 16-bit array
        self.wide: dict[int, tuple[Any, Any]] = {}  # by the id of an array: it and its float32 copy
        self.narrow: dict[int, Any] = {}  # by the id of a copy: what it is a copy of

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the primitive returns, rounded."""
        primitive = self.primitive
        given = tuple([self._given(v, name) for v, name in zip(args, primitive.places, strict=False)])
        named = {name: self._given(v, name) for name, v in kwargs.items()}
        floating = [a.dtype for a in _arrays((*args, *kwargs.values())) if a.dtype.kind in FLOATING]
        # Beside float32 arrays nothing may be rounded that is not asked for.
        with exact_products(self.goal.name if all(d == self.goal for d in floating) else None):
            if self.kept:
                result = primitive.run_kernel(self.device, given, named)
            else:
                result = primitive(self.device, *given, **named)
        if primitive.mutates:
            from gpunn.ops.cast import cast_into

            places = primitive.places
            for name in primitive.mutates:
                if name in self.kept:
                    continue
                at = places[name]
                written = kwargs[name] if name in kwargs else args[at] if at < len(args) else None
                for array in _arrays((written,)):
                    if is_half(array.dtype):
                        cast_into(self.device, array, self.wide[id(array)][1])
        if len(primitive.returns) > 1:
            return tuple([self._rounded(v, name) for v, name in zip(result, primitive.returns, strict=True)])
        return self._rounded(result, primitive.returns[0]) if primitive.returns else result

    def _given(self, value: Any, name: str) -> Any:
        if name not in self.kept:
            return _mapped(value, self._widened, FLOAT32)
        if self.goal is None:
            self.goal = next((array.dtype for array in _arrays((value,))), None)
        return value

    def _widened(self, array: Any) -> Any:
        if not is_half(array.dtype):
            return array
        if isinstance(array, np.generic):
            return np.float32(array)
        known = self.wide.get(id(array))
        if known is not None:
            return known[1]
        if self.goal is None:
            self.goal = array.dtype
        if isinstance(array, self.device.xp.ndarray):
            from gpunn.ops.cast import cast

            copy = cast(self.device, array, FLOAT32)
        else:  # an argument that stays on the host
            copy = array.astype(FLOAT32)
        self.wide[id(array)] = array, copy
        self.narrow[id(copy)] = array
        return copy

    def _rounded(self, value: Any, name: str) -> Any:
        if value is None or value.dtype != FLOAT32 or self.goal is None:
            return value
        if id(value) in self.narrow:
            return self.narrow[id(value)]
        if name in self.primitive.wide:
            return value
        from gpunn.ops.cast import cast

        return cast(self.device, value, self.goal)

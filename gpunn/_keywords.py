"""PyTorch's keywords where ours have other names: one seam for the public functions, one for Tensor's methods.

A call whose keywords the function knows pays for one look at their names. Only a call with another one comes to
:func:`called`, which looks it up in ``gpunn/differences.py``: as another name of a parameter, as ``out``, or as what is
accepted or refused there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

from gpunn._calls import MANY, failed

# Methods without parameters where PyTorch's have some.
_BARE = frozenset(("bool", "clone", "double", "float", "int", "long"))
_Function = TypeVar("_Function", bound=Callable[..., Any])


def parameters(function: Any) -> frozenset[str]:
    """The names that ``function`` can be given by keyword."""
    code = function.__code__
    return frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def called(op: str, function: Callable[..., Any], own: frozenset[str], args: tuple[Any, ...], named: Any) -> Any:
    """``function(*args, **named)``, where ``named`` has keywords of PyTorch's that are not ``own``.

    Raises
    ------
    UsageError
        If a keyword is one that ``gpunn/differences.py`` refuses, or names what another one has named already.
    ShapeError, DTypeError, DeviceError
        If the result does not fit into ``out``.
    """
    from gpunn import differences

    kept: dict[str, Any] = {}
    out = None
    for name, value in named.items():
        ours = name if name in own else differences.our_name(op, name, own)
        if ours is not None:
            if ours in kept:
                raise differences.given_twice(op, ours, name)
            kept[ours] = value
        elif name in differences.LENGTHS and _base(function).__code__.co_flags & MANY:
            args = (*args, value)
        elif name == "out" and op in differences.OUT:
            out = value
        elif not differences.accepts(op, name, value):
            return _base(function)(*args, **kept, **{name: value})  # no keyword of PyTorch's either: Python says so
    if out is None:
        return function(*args, **kept)
    from gpunn._out import check_out, write_out

    check_out(op, out)
    return write_out(op, out, function(*args, **kept))


def with_our_names(forward: Any, named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a layer of ours by its own names of them, such as x for ``input``; of others' as they are."""
    own = _names_of(forward)
    if own is None or own.issuperset(named):
        return named
    from gpunn import differences

    return {name if name in own else differences.our_name("forward", name, own) or name: v for name, v in named.items()}


@functools.lru_cache(maxsize=1024)  # by function: layers are called with keywords in every step
def _names_of(forward: Any) -> frozenset[str] | None:
    """A layer's own names of its arguments; None for one that is not ours."""
    ours = hasattr(forward, "__code__") and forward.__module__.startswith("gpunn.")
    return parameters(forward) if ours else None


def _base(function: Any) -> Any:
    return getattr(function, "__wrapped__", function)


def taking_keywords(name: str, method: Any, own: frozenset[str] | None = None) -> Any:
    """``method`` as a tensor's method ``name``, which takes PyTorch's names of its parameters, or of ``own``, too."""
    own = parameters(method) if own is None else own

    @functools.wraps(method)
    def taking(self: Any, *args: Any, **named: Any) -> Any:
        try:
            if named and not own.issuperset(named):
                return called(name, method, own, (self, *args), named)
            return method(self, *args, **named)
        except Exception as error:
            failed(error, f"Tensor.{name}", method, (self, *args), named)
            raise

    return taking


def takes_keywords(function: _Function) -> _Function:
    """The function, which also takes PyTorch's names of its parameters, and what changes nothing here."""
    own, inner = parameters(function), cast(Callable[..., Any], function)

    @functools.wraps(inner)
    def taking(*args: Any, **named: Any) -> Any:
        if named and not own.issuperset(named):
            return called(inner.__name__, taking, own, args, named)
        return inner(*args, **named)

    return cast(_Function, taking)


def take_keywords(kind: type, only: tuple[str, ...] = ()) -> None:
    """Have the methods of ``kind`` take PyTorch's names of what parameters they have here or there."""
    for name, method in list(vars(kind).items()):
        if name in only if only else name[0] != "_" and isinstance(method, FunctionType):
            code = method.__code__
            if code.co_argcount + code.co_kwonlyargcount > 1 or code.co_flags & MANY or name in _BARE:
                setattr(kind, name, taking_keywords(name, method))

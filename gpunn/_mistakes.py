"""What was wrong with a call that has failed: the arguments are compared with the annotations of what was called.

An argument that is not what its annotation says is told by name. Where all of them are, the exception goes on as it
is, for then the fault is not the caller's. Who asks: ``_calls.py``, ``takes_arrays`` and ``Module.__call__``.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import itertools
import os
import types
import typing
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, NoReturn

import numpy as np

from gpunn._shared.numbers import as_int
from gpunn.errors import ArgumentError, here

_LENGTHS = ("shape", "size", "sizes", "dims", "repeats")  # f(2, 3) and f((2, 3)) alike
_PLAIN = {int, float, str, bool, type(None), None}
_OPERANDS = ("a", "b", "other", "base", "exponent", "value", "fill_value")
_WORDS = {int: "a whole number", float: "a number", str: "a string", bool: "True or False", type(None): "None"}

# -- what it says ---------------------------------------------------------------------------------


def explain(error: Exception, op: str, function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raise ArgumentError, naming ``op``, if an argument is not what the function's annotations say; else return."""
    for name, kind, value in _wrong(function, args, named):
        refuse(op, name, kind, value, error)


def explain_foreign(error: Exception, op: str, function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """The same where ours is the error, and may be due to another library's array: it has a dtype, shape and device."""
    from gpunn._interop import is_array, is_foreign
    from gpunn._tensor import Tensor

    if any(is_foreign(value) and not is_array(value) for value in (*args, *named.values())):
        for name, kind, value in _wrong(function, args, named):
            if is_foreign(value) and Tensor in _parts(kind):
                refuse(op, name, kind, value, error)


def check_plain(op: str, function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raise ArgumentError where an argument that should be a number, a string or a truth is something else.

    For constructors, which often only keep what they are given: a wrong option is told here, not at the first batch.
    """
    if len(args) + len(named) == 1:  # self alone
        return
    kinds, signature = _plain_kinds(function)
    given = dict(zip(signature, args, strict=False)) | dict(named)
    for name, kind in kinds.items():
        if name in given and not _fits(given[name], kind):
            refuse(op, name, kind, given[name])


@functools.cache
def _plain_kinds(function: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Which parameters are plain, and what they are; and the names of those that go by position."""
    parameters = inspect.signature(function).parameters.values()
    kinds = {p.name: _resolved(function, p.name, p.annotation) for p in parameters if p.annotation != "Any"}
    plain = {name: kind for name, kind in kinds.items() if set(_parts(kind)) <= _PLAIN}
    places = itertools.takewhile(lambda p: p.kind is p.POSITIONAL_OR_KEYWORD, parameters)
    return plain, tuple(p.name for p in places)


def _wrong(function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Names, expected kinds and values of the arguments that do not fit."""
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **named)
    except TypeError:
        return  # too many arguments or too few: what Python says of that names the function and the argument
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        kind = _resolved(function, name, parameter.annotation)
        if name in ("self", "cls") or parameter.kind is parameter.VAR_KEYWORD:
            continue
        values = (value,)
        if parameter.kind is parameter.VAR_POSITIONAL:
            values = value
            if len(value) > 1 and name in _LENGTHS:
                kind = int
        yield from ((name, kind, each) for each in values if not _fits(each, kind))


def refuse_operand(op: str, value: Any) -> NoReturn:
    """Raise ArgumentError: an operator was given something that is neither a tensor nor a number."""
    from gpunn._tensor import Tensor

    kind = float | Tensor
    raise ArgumentError(f"{here(op)}: expected {expected(kind)}; got {described(value)}. {_fix(value, kind)}".rstrip())


def refuse(op: str, name: str, kind: Any, value: Any, error: Exception | None = None) -> NoReturn:
    """Raise ArgumentError: an argument is not of the kind that was expected."""
    fix = _fix(value, kind)
    message = f"{here(op)}: {name}: expected {expected(kind)}; got {described(value)}.{fix and ' '}{fix}"
    raise ArgumentError(message) from error


def described(value: Any) -> str:
    """What a value is, in a few words."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, str | bytes):
        return f"the string {value[:40]!r}" if isinstance(value, str) else "bytes"
    if isinstance(value, int | float):
        return f"the number {value!r}" if abs(value) < 1e300 else "a number beyond 1e300"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    if isinstance(value, FunctionType):
        return f"the function {value.__name__}"
    kind = type(value)
    known = kind.__name__ if kind.__module__ in ("builtins", __package__) else f"{kind.__module__}.{kind.__name__}"
    if _is_ours(kind):
        known = kind.__name__
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{known} of shape {tuple(shape)}, {getattr(value, 'dtype', '')}".rstrip(", ")
    if isinstance(value, list | tuple):
        inner = sorted({type(v).__name__ for v in value})
        return f"an empty {known}" if not value else f"a {known} of {', '.join(inner[:3])}"
    return known if _is_ours(kind) else f"{'an' if known[0] in 'aeio' else 'a'} {known}"


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "gpunn"


# -- annotations ----------------------------------------------------------------------------------


def _resolved(function: Any, name: str, annotation: Any) -> Any:
    """An annotation as a type; Any where it cannot be found out, and for arguments without one."""
    if annotation in ("Any", Any):
        return _meant_by(name)
    if not isinstance(annotation, str):
        return Any if annotation is inspect.Parameter.empty else annotation
    names = inspect.unwrap(function).__globals__
    try:
        return eval(annotation, names)
    except TypeError:
        return Any
    except NameError:
        pass
    try:
        return eval(annotation, {**_late_names(), **names})
    except (NameError, TypeError):
        return Any


def _meant_by(name: str) -> Any:
    """What an argument of this name is everywhere, where its annotation leaves it open."""
    late = _late_names()
    if name == "dtype":
        return np.dtype
    if name == "generator":
        return late["Generator"] | None
    if name in _LENGTHS:
        return int | collections.abc.Sequence[int]
    if name in ("dim", "axes"):
        return int | collections.abc.Sequence[int] | None
    if name in ("min", "max"):
        return float | late["Tensor"] | None
    if name == "source":
        return late["Tensor"] | np.ndarray
    if name == "p":
        return float | str | None
    return float | late["Tensor"] if name in _OPERANDS else Any


@functools.cache
def _late_names() -> dict[str, Any]:
    """What modules import for the type checker alone."""
    from gpunn._device import Device
    from gpunn._tensor import Tensor
    from gpunn.nn.module import Module
    from gpunn.optim.optimizer import Optimizer
    from gpunn.random import Generator

    return {"Device": Device, "Tensor": Tensor, "Module": Module, "Optimizer": Optimizer, "Generator": Generator}


def _parts(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a union; else the type alone."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return tuple(part for each in typing.get_args(kind) for part in _parts(each)) if union else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    return any(_fits_one(value, part) for part in _parts(kind))


def _fits_one(value: Any, kind: Any) -> bool:
    if kind is None or kind is type(None):
        return value is None
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in (int, float, bool):
        if kind is int:
            return as_int(value) is not None
        # True counts as a number, and a number as a truth, as they do in Python.
        whole = int, np.integer, np.bool_
        return isinstance(value, (*whole, float, np.floating) if kind is float else whole)
    if kind is np.dtype:
        return value is None or _is_dtype(value)
    if origin is tuple and inner:
        if not isinstance(value, tuple | list):
            return False
        if inner[-1] is Ellipsis:
            return all(_fits(v, inner[0]) for v in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if origin in (collections.abc.Sequence, collections.abc.Iterable, list):
        if isinstance(value, str | bytes) or not isinstance(value, origin):
            return False
        # A generator would be used up by looking at what it gives.
        return not isinstance(value, list | tuple | range) or all(_fits(v, inner[0]) for v in value)
    if origin is collections.abc.Callable:
        return callable(value)
    wanted = kind if origin is None else origin
    if wanted is Any:
        return True
    return not isinstance(wanted, type) or isinstance(value, wanted)


def _is_dtype(value: Any) -> bool:
    try:
        np.dtype(value)
    except (TypeError, ValueError, SyntaxError):
        return False
    return True


def expected(kind: Any) -> str:
    """What an annotation asks for, in words."""
    words = list(dict.fromkeys(_expected_one(part) for part in _parts(kind)))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _expected_one(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is np.dtype:
        return "a dtype such as 'float32'"
    if origin is tuple and inner:
        return f"a tuple of {len(inner)}" if inner[-1] is not Ellipsis else f"a tuple of {_plural(inner[0])}"
    if origin in (collections.abc.Sequence, list):
        return f"a list of {_plural(inner[0])}"
    if origin is collections.abc.Iterable:
        return "an iterable, a list for example" if inner[0] is Any else f"several {_plural(inner[0])}"
    if origin is collections.abc.Mapping or kind is dict or origin is dict:
        return "a dict"
    if origin is collections.abc.Callable:
        return "a function"
    if kind is os.PathLike or origin is os.PathLike:
        return "a path"
    if kind is None:
        return "None"
    if isinstance(kind, type) and kind.__module__ == "gpunn.nn.module":
        return "a layer or model"
    name = getattr(kind, "__name__", str(kind))
    return _WORDS.get(kind, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")


def _plural(kind: Any) -> str:
    if kind is Any:
        return "things"
    words = [_expected_one(part).split(" ", 1)[-1] for part in _parts(kind) if part is not type(None)]
    return " or ".join("layers or models" if word == "layer or model" else f"{word}s" for word in words)


# -- the likely fix -------------------------------------------------------------------------------


def _fix(value: Any, kind: Any) -> str:
    from gpunn._interop import is_array, is_foreign
    from gpunn._tensor import Tensor

    kinds = _parts(kind)
    if hasattr(value, "parameters") and any(typing.get_origin(k) is collections.abc.Iterable for k in kinds):
        return "Pass its parameters: model.parameters()."
    if isinstance(value, type) and any(isinstance(k, type) and issubclass(value, k) for k in kinds):
        return f"Make an instance of it: {value.__name__}(...)."
    if isinstance(value, type) and not issubclass(value, np.generic):
        return f"Pass an instance, {value.__name__}(...), where one is meant."
    wants_numbers = any(k in (int, float) for k in kinds)
    if isinstance(value, Tensor):
        return "Take a number out of a tensor with .item()." if wants_numbers else ""
    if Tensor in kinds:
        if is_array(value):
            return "Convert it with gpunn.as_tensor(array)."
        if is_foreign(value):
            return "Convert it with gpunn.from_dlpack(array)."
        if isinstance(value, list | tuple | int | float):
            return "Convert it with gpunn.tensor(...)."
        if value is None:
            return "Does the function that it came from return something?"
        if callable(value):
            return "Call it, and pass what it returns."
    if np.dtype in kinds and str(value).startswith("torch."):
        return f"Use {str(value).replace('torch', 'gpunn', 1)}."
    if isinstance(value, float) and int in kinds and value == value // 1:
        return f"Write {int(value)}." if abs(value) < 1e9 else "Convert it with int(...)."
    if isinstance(value, str) and wants_numbers:
        return "Convert it with int(...) or float(...)."
    return ""

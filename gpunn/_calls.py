"""Calls from outside: one that fails says which argument was wrong.

An exception of ours has said it already. With any other one the call's arguments are compared with the annotations
of what was called (``_mistakes.py``, which is imported only then). A call that works pays for a frame and no more.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import FunctionType
from typing import Any, TypeVar

from gpunn.errors import GpunnError

_Class = TypeVar("_Class", bound=type)
MANY = 4  # CO_VARARGS: the function ends in *shape, *dims or the like
# Methods with underscores that are part of what is public.
_SPECIAL = frozenset(("__init__", "__getitem__", "__setitem__", "__delitem__"))


def failed(error: Exception, op: str, function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Told of a failure: raises ArgumentError, naming ``op``, if an argument is to blame; else returns."""
    from gpunn._mistakes import explain, explain_foreign

    # What looks like a tensor, but is another library's, may have come as far as to a check of dtypes or devices.
    (explain_foreign if isinstance(error, GpunnError) else explain)(error, op, function, args, named)


@functools.cache
def explains(function: Any) -> Any:
    """The function, with failures that name the argument to blame; one for each."""

    @functools.wraps(function)
    def explaining(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except Exception as error:
            failed(error, function.__name__, function, args, named)
            raise

    return explaining


def explains_methods(kind: _Class, special: frozenset[str] = _SPECIAL) -> _Class:
    """The class, with failures of its methods that name the argument to blame; its bases in this package included.

    Of the methods that begin with an underscore only the ``special`` ones. ``forward`` is left to ``Module.__call__``.
    """
    for owner in kind.__mro__:
        if not owner.__module__.startswith("gpunn.") or "_explains" in vars(owner):
            continue
        for name, method in list(vars(owner).items()):
            wanted = name in special if name[0] == "_" else name != "forward"
            if wanted and isinstance(method, FunctionType) and _takes_something(method):
                setattr(owner, name, _explaining(name, method))
        owner._explains = True  # type: ignore[attr-defined]
    return kind


def _takes_something(method: FunctionType) -> bool:
    if hasattr(method, "__wrapped__"):  # it explains already, as Tensor's methods do that take PyTorch's keywords
        return False
    code = method.__code__
    return code.co_argcount + code.co_kwonlyargcount > 1 or bool(code.co_flags & MANY)


def _explaining(name: str, method: Any) -> Any:

    @functools.wraps(method)
    def explaining(self: Any, *args: Any, **named: Any) -> Any:
        try:
            result = method(self, *args, **named)
            if name == "__init__":
                from gpunn._mistakes import check_plain

                check_plain(type(self).__name__, method, (self, *args), named)
            return result
        except Exception as error:
            place = type(self).__name__
            failed(error, place if name == "__init__" else f"{place}.{name}", method, (self, *args), named)
            raise

    return explaining


def explains_all(names: dict[str, Any], special: frozenset[str] = _SPECIAL) -> None:
    """The same for every function and class of a module, given its globals with ``__all__``."""
    for name in names["__all__"]:
        thing = names[name]
        if isinstance(thing, FunctionType):
            names[name] = thing if hasattr(thing, "__wrapped__") else explains(thing)
        elif isinstance(thing, type):
            explains_methods(thing, special)

"""PyTorch's names for compiling models: here they return what they are given, and say so.

What speeds up a training step is :func:`gpunn.capture`, which ``gpunn.Trainer`` uses by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final, TypeVar

from gpunn._calls import explains_all

__all__ = [
    "Final",
    "annotate",
    "compile_",
    "export",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "script",
    "script_if_tracing",
    "trace",
    "unused",
]

_Thing = TypeVar("_Thing")


def _note(name: str) -> None:
    warnings.warn(
        f"gpunn.{name} compiles nothing and returns what it is given; gpunn.capture makes a training step one launch.",
        UserWarning,
        stacklevel=3,
    )


def compile_(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
    **others: Any,
) -> Any:
    """``model`` as it is, with a warning that nothing is compiled.

    Parameters
    ----------
    model : Module or callable, optional
        If not given, a decorator is returned.
    fullgraph, dynamic, backend, mode, options, **others
        Change nothing.
    disable : bool
        With True there is no warning.

    Returns
    -------
    the model, or a decorator
    """
    if not disable:
        _note("compile")
    return _same if model is None else model


def _same(thing: _Thing) -> _Thing:
    return thing


def script(obj: Any, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> Any:
    """``obj`` as it is, with a warning that nothing is compiled.

    Parameters
    ----------
    obj : Module, function or class
    optimize, _frames_up, _rcb, example_inputs
        Change nothing.

    Returns
    -------
    obj
    """
    _note("jit.script")
    return obj


def trace(func: Any, example_inputs: Any = None, **options: Any) -> Any:
    """``func`` as it is, with a warning that nothing is traced.

    Parameters
    ----------
    func : Module or function
    example_inputs : any
        Not used.
    **options
        Change nothing.

    Returns
    -------
    func
    """
    _note("jit.trace")
    return func


def ignore(fn: Any = None, drop: bool = False, **options: Any) -> Any:
    """``fn`` as it is: a decorator that tells PyTorch's compiler to leave a function out.

    Parameters
    ----------
    fn : function
    drop : bool
        Changes nothing.
    **options
        Change nothing.

    Returns
    -------
    fn, or a decorator
    """
    return fn if callable(fn) else _same


def unused(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` as it is: a decorator that tells PyTorch's compiler to leave a method out.

    Parameters
    ----------
    fn : function
    """
    return fn


def export(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` as it is: a decorator that tells PyTorch's compiler to take a method in.

    Parameters
    ----------
    fn : function
    """
    return fn


def interface(obj: _Thing) -> _Thing:
    """``obj`` as it is: a decorator of classes that PyTorch's compiler takes as interfaces.

    Parameters
    ----------
    obj : class
    """
    return obj


def script_if_tracing(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` as it is: nothing is traced.

    Parameters
    ----------
    fn : function
    """
    return fn


def annotate(the_type: Any, the_value: _Thing) -> _Thing:
    """``the_value`` as it is; the type is for PyTorch's compiler.

    Parameters
    ----------
    the_type : type
    the_value : any
    """
    return the_value


def is_scripting() -> bool:
    """False: nothing is compiled."""
    return False


def is_tracing() -> bool:
    """False: nothing is traced."""
    return False


explains_all(globals())

"""Demonstrations of the lectures' claims, each one short program: ``gpunn demo`` runs them.

A demonstration is one file of less than 60 lines, named after it (``learned-filters`` is ``learned_filters.py``), with
three functions:

- ``run(*, seed, device, ...)`` makes the experiment and gives its numbers; further arguments are its sizes, so that
  the tests can run it at smaller ones.
- ``lines(result)`` says what came out, as measured.
- ``draw(result)`` gives the picture, one slide (see :mod:`gpunn.plots.style`).

The first line of its docstring is what it shows; the formula or the experiment follows, with the source.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

from gpunn.errors import UsageError, nearest, quoted

__all__ = ["NAMES", "load", "source", "summary"]

#: In the order of the lectures.
NAMES: tuple[str, ...] = (
    "perceptron",
    "xor",
    "boundaries",
    "approximation",
    "polar",
    "filters",
    "learned-filters",
    "convolution-sizes",
    "dropout",
    "batchnorm",
    "depth",
    "transfer",
    "pretraining",
    "graph",
    "kernels",
)


def load(name: str) -> ModuleType:
    """The demonstration's module.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.

    Raises
    ------
    UsageError
        If there is no such demonstration.
    """
    return importlib.import_module(f"gpunn.demos.{_path(name).stem}")


def source(name: str) -> str:
    """The program of the demonstration ``name``, as text; nothing is imported. Errors are those of :func:`load`."""
    return _path(name).read_text(encoding="utf-8")


def summary(name: str) -> str:
    """What the demonstration ``name`` shows, in one sentence; nothing is imported. Errors are those of :func:`load`."""
    return (ast.get_docstring(ast.parse(source(name))) or "").split("\n")[0]


def _path(name: str) -> Path:
    if name not in NAMES:
        close = nearest(name[:99], NAMES)
        raise UsageError(f"demo: expected one of {', '.join(NAMES)}; got {quoted(name, 60)}{close}")
    return Path(__file__).with_name(f"{name.replace('-', '_')}.py")

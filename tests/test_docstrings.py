"""Everything public says what it takes, what it gives and what it refuses; examples in docstrings run."""

from __future__ import annotations

import doctest
import enum
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import gpunn
from gpunn import nn

_OPEN: tuple[str, ...] = ("gpunn", "gpunn.nn", "gpunn.nn.functional", "gpunn.nn.init", "gpunn.nn.utils", "gpunn.optim")
_OPEN += (
    "gpunn.arrays",
    "gpunn.cuda",
    "gpunn.distributions",
    "gpunn.distributed",
    "gpunn.fx",
    "gpunn.hub",
    "gpunn.optim.lr_scheduler",
    "gpunn.optim.swa_utils",
    "gpunn.data",
    "gpunn.data.transforms",
    "gpunn.models",
    "gpunn.nn.einops",
    "gpunn.nn.parallel",
    "gpunn.train",
    "gpunn.utils.checkpoint",
    "gpunn.utils.data",
    "gpunn.utils.tensorboard",
    "gpunn.vision.datasets",
    "gpunn.vision.models",
    "gpunn.vision.ops",
    "gpunn.vision.transforms",
    "gpunn.vision.transforms.functional",
    "gpunn.vision.utils",
)


# They hold layers, and have no shapes of their own.
_HOLDERS = (
    *(nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict, nn.DataParallel),
    nn.parallel.DistributedDataParallel,
)


def _modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(gpunn.__path__, "gpunn."):
        if not found.name.endswith("__main__") and ".__" not in found.name:
            yield found.name


def _public() -> dict[str, Any]:
    """Classes and functions by their public name, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for path in _OPEN:
        module = importlib.import_module(path)
        for name in module.__all__:
            thing = getattr(module, name)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and not isinstance(thing, ModuleType):
                found.setdefault(id(thing), (f"{path}.{name}", thing))
    return dict(found.values())


def _parameters(thing: Any) -> list[str]:
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):  # Python's own parameters
        return []
    try:
        signature = inspect.signature(thing)
    except ValueError:  # a class without a constructor of its own
        return []
    return [name for name in signature.parameters if name not in ("self", "cls")]


@pytest.mark.parametrize(("name", "thing"), sorted(_public().items()))
def test_docstring_names_every_parameter(name: str, thing: Any) -> None:
    text = inspect.getdoc(thing)
    assert text, f"{name} has no docstring"
    missing = [p for p in _parameters(thing) if not re.search(rf"\b{p}\b", text)]
    assert not missing, f"{name}: the docstring does not mention {missing}"


@pytest.mark.parametrize(("name", "thing"), [(n, t) for n, t in sorted(_public().items()) if inspect.isclass(t)])
def test_public_methods_have_docstrings(name: str, thing: type) -> None:
    """Their own, or that of the method they override."""
    methods = (types.FunctionType, classmethod, staticmethod, property)
    names = [n for n, member in vars(thing).items() if isinstance(member, methods) and not n.startswith("_")]
    missing = [n for n in names if not inspect.getdoc(getattr(thing, n))]
    assert not missing, f"{name}: no docstring, not even an inherited one: {missing}"


@pytest.mark.parametrize(
    ("name", "layer"),
    [(n, t) for n, t in sorted(_public().items()) if inspect.isclass(t) and issubclass(t, nn.Module)],
)
def test_layers_say_shapes_and_source(name: str, layer: type) -> None:
    text = layer.__doc__ or ""
    if layer in _HOLDERS:
        return
    assert re.search(r"^ *Shape\n *-----", text, re.M), f"{name}: no Shape section"
    assert re.search(r"^ *References\n *----------", text, re.M), f"{name}: no source in a References section"


@pytest.mark.parametrize("name", [*_modules()])
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    gpunn.manual_seed(0)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    counted = sum(len(t.examples) for n in _modules() for t in finder.find(importlib.import_module(n)))
    assert counted >= 20, f"only {counted} examples in docstrings"

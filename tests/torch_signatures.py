"""What PyTorch's functions, methods and classes can be given by keyword.

Functions written in Python say so themselves. Builtins do not, but the stubs that come with PyTorch have all their
overloads: they are generated from what its argument parser reads.
"""

from __future__ import annotations

import ast
import functools
import inspect
from pathlib import Path
from typing import Any, NamedTuple

from tests.parity import torch

# The argument parser takes NumPy's names too (torch/csrc/utils/python_arg_parser.cpp); builtins only.
NUMPY_NAMES = {"dim": ("axis",), "keepdim": ("keepdims",), "input": ("x", "a", "x1"), "other": ("x2",)}


# What its methods take though the stubs do not say so.
_UNTOLD = dict.fromkeys(("bool", "double", "float", "int", "long"), ("memory_format",))


# Classes whose signature is (*args, **kwargs), and which hand that to their base, but for the first argument.
_OF_BASE = {"RNN": ("nonlinearity",), "LSTM": ("proj_size",), "GRU": ()}


class Overload(NamedTuple):
    """One way to call a function: its parameters in order, and which of them have to be given."""

    names: tuple[str, ...]
    needed: frozenset[str]
    builtin: bool


@functools.cache
def _stubs(name: str) -> dict[tuple[str, str], list[ast.FunctionDef]]:
    """(class or "", function) -> its definitions in one of PyTorch's stubs."""
    found: dict[tuple[str, str], list[ast.FunctionDef]] = {}
    tree = ast.parse((Path(torch.__file__).parent / "_C" / name).read_text())
    for top in tree.body:
        inner = top.body if isinstance(top, ast.ClassDef) else [top]
        for node in inner:
            if isinstance(node, ast.FunctionDef):
                owner = top.name if isinstance(top, ast.ClassDef) else ""
                found.setdefault((owner, node.name), []).append(node)
    return found


def _of_stub(node: ast.FunctionDef, untold: tuple[str, ...]) -> Overload:
    args = node.args
    positional = [a.arg for a in (*args.posonlyargs, *args.args)]
    needed = positional[: len(positional) - len(args.defaults)]
    needed += [a.arg for a, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    names = [*positional, *(a.arg for a in args.kwonlyargs)]
    many = [args.vararg.arg] if args.vararg else []  # *size is size=(...) as well
    names = [n.rstrip("_") if n == "from_" else n for n in (*names, *many, *untold)]
    return Overload(tuple(names), frozenset([*needed, *many]), True)


def _of_python(function: Any) -> Overload:
    named = [
        p for p in inspect.signature(function).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    return Overload(
        tuple(p.name for p in named), frozenset(p.name for p in named if p.default is inspect.Parameter.empty), False
    )


def overloads(thing: Any, name: str, owner: str = "") -> list[Overload]:
    """How ``thing``, PyTorch's function or class of this name, may be called; ``owner`` "TensorBase" for methods.

    Methods' overloads begin with ``self``.
    """
    stubs = ("__init__.pyi",) if owner else ("_VariableFunctions.pyi", "_nn.pyi", "__init__.pyi")
    name = {"logsigmoid": "log_sigmoid"}.get(name, name)
    if hasattr(torch.nn.functional, f"_{name}") and not owner:  # max_pool2d, which chooses by return_indices
        thing = getattr(torch.nn.functional, f"_{name}")
    if not inspect.isfunction(thing) and not inspect.isclass(thing):
        for stub in stubs:
            found = _stubs(stub).get((owner, name))
            if found:
                untold = _UNTOLD.get(name, ()) if owner else ()
                return [_of_stub(node, untold) for node in found]
    if inspect.isclass(thing) and name in _OF_BASE:
        (base,) = overloads(torch.nn.RNNBase, "RNNBase")
        names = [n for n in base.names if n not in ("mode", "proj_size")] + [*_OF_BASE[name]]
        return [Overload(tuple(names), base.needed - {"mode"}, False)]
    try:
        return [_of_python(thing)]
    except ValueError as error:
        raise LookupError(f"nothing says how PyTorch's {name} is called") from error

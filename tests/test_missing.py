"""A name of PyTorch's that is not here says what is called so here, or that nothing is; no guesses by spelling."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import traceback
import types
from typing import Any

import pytest

import gpunn as typed
from gpunn import _missing
from gpunn.errors import UnknownNameError

gpunn: Any = typed

PLACES = {
    "gpunn": "torch",
    "gpunn.Tensor": "torch.Tensor",
    "gpunn.autograd": "torch.autograd",
    "gpunn.cuda": "torch.cuda",
    "gpunn.nn": "torch.nn",
    "gpunn.nn.functional": "torch.nn.functional",
    "gpunn.nn.init": "torch.nn.init",
    "gpunn.nn.utils": "torch.nn.utils",
    "gpunn.optim": "torch.optim",
    "gpunn.optim.lr_scheduler": "torch.optim.lr_scheduler",
}


def found(path: str) -> Any:
    """The module or class of this path."""
    if not path.endswith("Tensor"):
        return importlib.import_module(path)
    return getattr(importlib.import_module(path.partition(".")[0]), "Tensor")  # noqa: B009


def told(place: str, name: str) -> str:
    """The last line of the traceback, with what Python adds to it."""
    owner = gpunn.ones(2) if place == "gpunn.Tensor" else found(place)
    with pytest.raises(AttributeError) as caught:
        getattr(owner, name)
    return traceback.format_exception(caught.type, caught.value, None)[-1].strip().partition(": ")[2]


@pytest.mark.parametrize(
    ("place", "name", "instead"),
    [
        ("gpunn", "conv3d", "gpunn.nn.functional.conv3d"),
        ("gpunn", "svd", None),
        ("gpunn", "Stream", "gpunn.cuda.Stream"),
        ("gpunn", "fft", "numpy.fft on x.numpy(), without gradients"),
        ("gpunn", "sparse", None),
        ("gpunn", "quantization", None),
        ("gpunn", "conv2d", "gpunn.nn.functional.conv2d"),
        ("gpunn", "relu_", "gpunn.nn.functional.relu(x, inplace=True)"),
        ("gpunn.nn", "CTCLoss", None),
        ("gpunn.nn.functional", "elu_", "gpunn.nn.functional.elu(x, inplace=True)"),
        ("gpunn.nn.functional", "threshold_", "gpunn.nn.functional.threshold(x, inplace=True)"),
        (
            "gpunn.nn.functional",
            "adaptive_max_pool3d_with_indices",
            "gpunn.nn.functional.adaptive_max_pool3d(x, ..., return_indices=True)",
        ),
        ("gpunn.nn.functional", "ctc_loss", None),
        ("gpunn.optim", "Rprop", None),
        ("gpunn.Tensor", "index_put_", "x[indices] = values"),
        ("gpunn.Tensor", "allclose", "gpunn.allclose"),
        ("gpunn.Tensor", "lgamma", None),
    ],
)
def test_says_what_does_the_work_or_that_nothing_does(place: str, name: str, instead: str | None) -> None:
    place_is = "'Tensor' object" if place == "gpunn.Tensor" else f"module '{place}'"
    end = ": PyTorch has it, and gpunn has nothing that does its work under another name."
    if instead is not None:
        end = f". Use {instead}."
    assert told(place, name) == f"{place_is} has no attribute '{name}'{end}"


def test_what_pytorch_does_not_have_either_is_pythons_to_tell() -> None:
    for place in PLACES:
        owner = found(place)
        with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'") as caught:
            _ = owner.nonsense
        assert not isinstance(caught.value, UnknownNameError)


@pytest.mark.parametrize("place", PLACES)
def test_every_hint_names_what_is_there(place: str) -> None:
    for name, instead in _missing._INSTEAD.get(place, {}).items():
        owner = found(place)
        if not hasattr(owner, name):  # else somebody has added it since
            for path in re.findall(r"gpunn(?:\.\w+)+", instead):
                thing: Any = gpunn
                for part in path.split(".")[1:]:
                    thing = getattr(thing, part)
            for method in re.findall(r"x\.(\w+)", instead):
                assert hasattr(gpunn.Tensor, method), (name, instead)


def test_absent_methods_are_not_there() -> None:
    x = gpunn.ones(2)
    assert not hasattr(x, "lgamma")
    assert not hasattr(gpunn.Tensor, "lgamma")
    assert getattr(gpunn.nn.Parameter(x), "lgamma", 3) == 3
    assert "lgamma" not in dir(x)
    assert {"exp", "reshape"} <= set(dir(x))
    assert not hasattr(gpunn.nn, "CTCLoss")


def test_a_name_that_is_not_pytorchs_brings_in_no_layers() -> None:
    """Python asks packages for names of its own, and for those of modules that are still loading."""
    code = "import sys, gpunn; print(hasattr(gpunn, 'nonsense'), 'gpunn.nn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# Documented names that are no part of what programs use: TorchScript's and the dispatcher's, pages of notes, imports.
_INSIDE = (
    "AVG SUM FatalError JITException ScriptFunction SymBool SymFloat SymInt Tag AggregationType DispatchKey Tensor "
    "AcceleratorError DType ScalingType SwizzleType boolean_dispatch handle_torch_function has_torch_function inf "
    "has_torch_function_unary has_torch_function_variadic reproducibility_notes sparse_support_notes tf32_notes "
    "Optimizer common_types factory_kwargs"
)


def documented(owner: Any) -> list[str]:
    """The public names of a module of PyTorch's, or of its Tensor, that have a docstring or are dtypes."""
    names = []
    for name in set(dir(owner)) - set(_INSIDE.split()):
        thing = getattr(owner, name, None)
        kind = getattr(thing, "__module__", None) or ""
        written = inspect.getdoc(thing) or name.endswith("Tensor") or inspect.isclass(owner)
        foreign = kind and kind.partition(".")[0] not in ("torch", "_C", "builtins")
        inside = isinstance(thing, types.ModuleType) or (isinstance(thing, type) and kind.startswith("torch._C"))
        if name[0] != "_" and (inspect.isclass(thing) or not name.isupper()) and written and not foreign and not inside:
            names.append(name)
    return sorted(names)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", PLACES)
def test_every_documented_name_of_pytorchs_is_known(place: str) -> None:
    """Either it is here, or the error knows it."""
    pytest.importorskip("torch")
    names = documented(found(PLACES[place]))
    assert len(names) > 10
    owner = gpunn.ones(2, 2) if place == "gpunn.Tensor" else found(place)
    for name in names:
        if not name.endswith("Storage") and not hasattr(owner, name):
            with pytest.raises(UnknownNameError):
                getattr(owner, name)

"""Whole runs of a PyTorch program with both libraries: some steps of training, schedules, checkpoints, what it tells.

A program has ``build`` and ``batch`` as in ``_both.py``, and

- ``run(net, batch)``: trains and gives a dict, list or tuple of tensors, numbers and strings; or
- ``main(argv)``: a script that calls its own ``build()`` and gives such a thing.

It may draw by ``torch.multinomial``, called by this name: here both libraries are given the same numbers for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gpunn
from tests.programs import _both
from tests.programs._with_gpunn import program

_LEAST = 1e-3


def assert_same_run(
    name: str, argv: Sequence[str] | None = None, tolerance: float = 1e-9, first: str = "PyTorch"
) -> Any:
    """What a program gives, and the network's state afterwards; gives what it gave with gpunn.

    Rounding in float64 is some 1e-15 of the largest entry at first and grows with the steps, most where an optimiser
    divides by the size of a small gradient (so no bias in front of a batch norm, whose gradient is rounding alone). An
    array counts as no smaller than ``_LEAST``: some gradients come out as zero by cancellation.
    ``first`` says which library runs first; files that the program writes are the other one's afterwards.
    """
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # in small steps PyTorch's threads wait for one another most of the time
    torch.manual_seed(1)
    libraries = {"PyTorch": torch, "gpunn": gpunn}
    programs = {key: program(name, ours=key == "gpunn") for key in libraries}
    with _double(torch), _double(gpunn):
        nets = {key: _both._ready(made.build(toy=True), libraries[key]) for key, made in programs.items()}
        nets["gpunn"].load_state_dict(_state(nets["PyTorch"]))
        found = {}
        for key in [first, *libraries.keys() - {first}]:
            made, net, lib = programs[key], nets[key], libraries[key]
            with _drawing(lib):
                if argv is None:
                    arrays = [_both._cast(a, np.float64) for a in made.batch(_both._draw(), toy=True)]
                    found[key] = made.run(net, [lib.tensor(a) for a in arrays])
                else:
                    made.main.__globals__["build"] = lambda net=net: net
                    found[key] = made.main(list(argv))
    _compare(f"{name}: given", found["PyTorch"], found["gpunn"], tolerance)
    _compare(f"{name}: state", _state(nets["PyTorch"]), _state(nets["gpunn"]), tolerance)
    return found["gpunn"]


def _state(net: Any) -> dict[str, np.ndarray]:
    return {key: value.detach().numpy() for key, value in net.state_dict().items()}


def _compare(where: str, expected: Any, got: Any, tolerance: float) -> None:
    if isinstance(expected, dict):
        assert list(got) == list(expected), where
        for key in expected:
            _compare(f"{where}[{key!r}]", expected[key], got[key], tolerance)
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected), where
        for number, (one, other) in enumerate(zip(expected, got, strict=True)):
            _compare(f"{where}[{number}]", one, other, tolerance)
    elif isinstance(expected, str):
        assert re.sub("torch", "gpunn", expected) == got, where
    elif expected is None or isinstance(expected, bool):
        assert got is expected, where
    else:
        one, other = _array(expected), _array(got)
        assert other.shape == one.shape, f"{where}: shape {other.shape}, PyTorch {one.shape}"
        assert other.dtype == one.dtype, f"{where}: dtype {other.dtype}, PyTorch {one.dtype}"
        error = np.abs(np.subtract(other, one, dtype=np.float64)).max(initial=0)
        scale = np.abs(one).max(initial=0)
        assert error <= tolerance * max(scale, _LEAST), f"{where}: error {error:.1e}, largest entry {scale:.1e}"


def _array(value: Any) -> np.ndarray:
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


@contextmanager
def _double(lib: Any) -> Iterator[None]:
    before = lib.get_default_dtype()
    lib.set_default_dtype(lib.float64)
    try:
        yield
    finally:
        lib.set_default_dtype(before)


@contextmanager
def _drawing(lib: Any) -> Iterator[None]:
    """``multinomial`` by NumPy: the first class at which the sum of the probabilities passes a drawn number."""
    draw = np.random.Generator(np.random.Philox(9))

    def multinomial(input: Any, num_samples: int, replacement: bool = False) -> Any:
        assert num_samples == 1
        summed = input.detach().numpy().cumsum(-1)
        drawn = draw.random((*summed.shape[:-1], 1)) * summed[..., -1:]
        return lib.tensor((summed <= drawn).sum(-1, keepdims=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lib, "multinomial", multinomial)
        yield

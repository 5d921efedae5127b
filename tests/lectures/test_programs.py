"""Programs written for PyTorch run with only their imports changed and follow PyTorch's losses (lecture N4).

Each file in ``programs/`` is a PyTorch program: ``build()`` makes the network, ``train(net, batches)`` trains
it and returns the losses. Here the word ``torch`` in its import lines is replaced, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunn

_PROGRAMS = Path(__file__).parent / "programs"
_STEPS = 20


def _with_gpunn(program: str) -> SimpleNamespace:
    """The program with gpunn in place of torch in its import lines."""
    text = (_PROGRAMS / f"{program}.py").read_text()
    text = re.sub(r"^import torch$", "import gpunn as torch", text, flags=re.M)
    text = re.sub(r"^import torch\.(\S+) as", r"import gpunn.\1 as", text, flags=re.M)
    assert not re.search(r"^(import|from) torch", text, re.M)
    return _run(text, program)


def _with_torch(program: str) -> SimpleNamespace:
    pytest.importorskip("torch")
    return _run((_PROGRAMS / f"{program}.py").read_text(), program)


def _run(text: str, name: str) -> SimpleNamespace:
    names: dict[str, Any] = {"__name__": name}
    exec(compile(text, f"{name}.py", "exec"), names)
    return SimpleNamespace(**names)


def _images(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


_INPUTS = {"tutorial_net": (_images(8, 1, 32, 32), 10), "two_heads": (_images(16, 20), 4)}
_INPUTS["residual_net"] = (_images(8, 3, 16, 16), 10)


def _batches(program: str) -> list[tuple[np.ndarray, np.ndarray]]:
    draw, classes = _INPUTS[program]
    rng = np.random.Generator(np.random.Philox(11))
    batches = [(x, rng.integers(0, classes, len(x))) for x in (draw(rng) for _ in range(4))]
    return batches * (_STEPS // 4)


@pytest.mark.parametrize("program", sorted(_INPUTS))
def test_follows_torch_for_twenty_steps(program: str) -> None:
    theirs = _with_torch(program)
    theirs.torch.manual_seed(0)
    other = theirs.build()
    mine = _with_gpunn(program)
    net = mine.build()
    values = {name: value.numpy() for name, value in other.state_dict().items()}
    net.load_state_dict(values)
    got, expected = mine.train(net, _batches(program)), theirs.train(other, _batches(program))
    # Rounding in another order, amplified by twenty steps of training.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    assert len(got) >= _STEPS
    assert expected[_STEPS - 4] < expected[0], "nothing was learned, so nothing was compared"


@pytest.mark.parametrize("program", sorted(_INPUTS))
def test_trains_without_torch(program: str) -> None:
    mine = _with_gpunn(program)
    losses = mine.train(mine.build(), _batches(program))
    assert losses[_STEPS - 4] < losses[0]  # on the same batch


def test_N4_tutorial_network_has_the_published_number_of_parameters() -> None:
    net = _with_gpunn("tutorial_net").build()
    assert sum(p.numel() for p in net.parameters()) == 81_194
    assert net(gpunn.randn(2, 1, 32, 32)).shape == (2, 10)

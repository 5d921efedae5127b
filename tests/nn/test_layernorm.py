"""LayerNorm: PyTorch's arguments, names and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((6,), {}),
        (((5, 6),), {"bias": False}),
        (([4, 5, 6], 1e-3), {}),
        ((6, 1e-5, False), {}),
    ],
)
def test_matches_torch(args: tuple[Any, ...], options: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = nn.LayerNorm(*args, **options), parity.torch.nn.LayerNorm(*args, **options)
    assert repr(ours) == repr(theirs)
    state = {name: tensor.detach().numpy() for name, tensor in theirs.state_dict().items()}
    assert {name: t.shape for name, t in ours.state_dict().items()} == {name: a.shape for name, a in state.items()}
    for name, tensor in ours.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])
    x = np.random.Generator(np.random.Philox(0)).standard_normal((3, 4, 5, 6)).astype(np.float32)
    # Means of at most 120 numbers, in another order: a dozen roundings of 6e-8.
    parity.compare(lambda x: ours(x), lambda x: theirs(x), {"x": x}, "cpu", 1e-5)
    for name, parameter in ours.named_parameters():
        parity.close(name, parameter.grad.numpy(), theirs.get_parameter(name).grad.numpy(), 1e-5)


def test_mode_and_batch_do_not_matter() -> None:
    layer, x = nn.LayerNorm(8), gpunn.randn(4, 8)
    together = layer(x).detach().numpy()
    layer.eval()
    alone = layer(gpunn.tensor(x.numpy()[:1])).detach().numpy()
    # The products that sum a row may be cut differently for one row: a few roundings.
    np.testing.assert_allclose(alone[0], together[0], rtol=0, atol=1e-6)


def test_refuses() -> None:
    with pytest.raises(UsageError, match="LayerNorm: normalized_shape: expected a positive integer or several; got 0"):
        nn.LayerNorm(0)
    with pytest.raises(ShapeError, match=r"^0 \(LayerNorm\): expected x of shape \(..., 3\)"):
        nn.Sequential(nn.LayerNorm(3))(gpunn.ones(2, 4))

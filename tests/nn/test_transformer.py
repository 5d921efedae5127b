"""The transformer's encoder: PyTorch's text, keys, numbers and gradients, masks, and dropout of each layer's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import UsageError
from tests.devices import EVERYWHERE


def _pair(parity: Any, **options: Any) -> tuple[Any, Any]:
    """The same encoder of two layers in both libraries."""
    gpunn.manual_seed(1)
    made = []
    for library in (gpunn, parity.torch):
        layer = library.nn.TransformerEncoderLayer(8, 2, 12, 0.0, **options)
        made.append(library.nn.TransformerEncoder(layer, 2, library.nn.LayerNorm(8), enable_nested_tensor=False))
    ours, theirs = made[0].to("float64"), made[1].double()
    with gpunn.no_grad():
        for number, parameter in enumerate(ours.parameters()):
            rng = np.random.Generator(np.random.Philox(number))
            parameter.copy_(gpunn.tensor(0.4 * rng.standard_normal(parameter.shape)))
    theirs.load_state_dict({key: parity.torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True, "norm_first": True, "activation": "gelu"},
        {"bias": False, "layer_norm_eps": 1e-3, "batch_first": True},
    ],
)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_matches_torch(where: str, options: dict[str, Any], masked: bool) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = _pair(parity, **options)
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    shape = (3, 5, 8) if options.get("batch_first") else (5, 3, 8)
    causal, padding = np.triu(np.ones((5, 5), bool), 1), np.zeros((3, 5), bool)
    padding[1, 4] = True

    def run(library: Any, model: Any, x: Any, **home: Any) -> Any:
        masks = (library.tensor(causal, **home), library.tensor(padding, **home)) if masked else ()
        return model(x, *masks)

    x = np.random.Generator(np.random.Philox(99)).standard_normal(shape)
    ours = ours.to(where)
    # Sums of some dozen products in each of a dozen steps.
    parity.compare(
        lambda x: run(gpunn, ours, x, device=where),
        lambda x: run(parity.torch, theirs, x),
        {"x": x},
        where,
        1e-11,
        least_scale=1,
    )
    for key, parameter in ours.named_parameters():
        parity.close(key, parameter.grad.numpy(), theirs.get_parameter(key).grad.numpy(), 1e-11, 1)


def test_a_module_as_activation_is_part_of_the_layer() -> None:
    layer = nn.TransformerEncoderLayer(4, 1, 8, activation=nn.PReLU())
    assert "activation.weight" in layer.state_dict()


def test_layers_start_alike_and_drop_differently() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 8, 0.5), 2)
    first, second = encoder.layers
    assert first.linear1.weight.tolist() == second.linear1.weight.tolist()
    assert first.linear1.weight is not second.linear1.weight
    ones = gpunn.ones(40)
    masks = [layer.get_submodule(name)(ones).tolist() for layer in (first, second) for name in ("dropout", "dropout1")]
    assert len({tuple(mask) for mask in masks}) == 4


def test_refuses() -> None:
    with pytest.raises(UsageError, match="TransformerEncoderLayer: activation: expected 'relu', 'gelu' or a function"):
        nn.TransformerEncoderLayer(4, 1, activation="elu")
    with pytest.raises(UsageError, match="TransformerEncoder: num_layers: expected a whole number of at least 1"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 8), 0)
    with pytest.raises(UsageError, match="MultiheadAttention: embed_dim: expected a multiple of num_heads"):
        nn.TransformerEncoderLayer(4, 3)

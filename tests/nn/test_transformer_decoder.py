"""The transformer's decoder, and the whole: PyTorch's text, keys, numbers and gradients, and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError
from tests.devices import EVERYWHERE


def _alike(parity: Any, make: Any) -> tuple[Any, Any]:
    """What ``make`` builds in both libraries, in float64, with the same numbers."""
    ours, theirs = make(gpunn).to("float64"), make(parity.torch).double()
    with gpunn.no_grad():
        for number, parameter in enumerate(ours.parameters()):
            rng = np.random.Generator(np.random.Philox(number))
            parameter.copy_(gpunn.tensor(0.4 * rng.standard_normal(parameter.shape)))
    theirs.load_state_dict({key: parity.torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    return ours, theirs


def _compare(parity: Any, where: str, ours: Any, theirs: Any, call: Any, first: Any, second: Any) -> None:
    ours = ours.to(where)
    rng = np.random.Generator(np.random.Philox(99))
    # Sums of some dozen products in each of two dozen steps.
    parity.compare(
        lambda a, b: call(gpunn, ours, a, b, device=where),
        lambda a, b: call(parity.torch, theirs, a, b),
        {"a": rng.standard_normal(first), "b": rng.standard_normal(second)},
        where,
        1e-11,
        least_scale=1,
    )
    for key, parameter in ours.named_parameters():
        parity.close(key, parameter.grad.numpy(), theirs.get_parameter(key).grad.numpy(), 1e-11, 1)


@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True, "norm_first": True, "activation": "gelu"}, {"bias": False}]
)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_decoder_matches_torch(where: str, options: dict[str, Any], masked: bool) -> None:
    parity = pytest.importorskip("tests.parity")

    def make(library: Any) -> Any:
        layer = library.nn.TransformerDecoderLayer(8, 2, 12, 0.0, **options)
        return library.nn.TransformerDecoder(layer, 2, library.nn.LayerNorm(8))

    def call(library: Any, model: Any, tgt: Any, memory: Any, **home: Any) -> Any:
        if not masked:
            return model(tgt, memory)
        later, unread = np.triu(np.ones((4, 4), bool), 1), np.zeros((3, 5), bool)
        unread[1, 3:] = True
        return model(
            tgt,
            memory,
            tgt_mask=library.tensor(later, **home),
            memory_mask=library.tensor(np.triu(np.ones((4, 5), bool), 2), **home),
            tgt_key_padding_mask=library.tensor(np.zeros((3, 4), bool), **home),
            memory_key_padding_mask=library.tensor(unread, **home),
        )

    shapes = ((3, 4, 8), (3, 5, 8)) if options.get("batch_first") else ((4, 3, 8), (5, 3, 8))
    _compare(parity, where, *_alike(parity, make), call, *shapes)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # PyTorch's, of how it would go faster
@pytest.mark.parametrize("options", [{}, {"batch_first": True, "norm_first": True}])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_transformer_matches_torch(where: str, options: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")

    def make(library: Any) -> Any:
        return library.nn.Transformer(8, 2, 1, 1, 12, 0.0, **options)

    def call(library: Any, model: Any, src: Any, tgt: Any, **home: Any) -> Any:
        mask = library.nn.Transformer.generate_square_subsequent_mask(4, **home)
        return model(src, tgt, tgt_mask=mask.to(tgt.dtype))

    shapes = ((3, 5, 8), (3, 4, 8)) if options.get("batch_first") else ((5, 3, 8), (4, 3, 8))
    _compare(parity, where, *_alike(parity, make), call, *shapes)


def test_a_mask_hides_later_positions() -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.dtype == gpunn.float32
    assert mask.tolist() == [[0, -np.inf, -np.inf], [0, 0, -np.inf], [0, 0, 0]]


def test_parts_of_ones_own_take_their_places() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 8), 1)
    assert nn.Transformer(4, 1, custom_encoder=encoder, num_decoder_layers=1).encoder is encoder


def test_sequences_that_do_not_fit_are_refused() -> None:
    model = nn.Transformer(4, 1, 1, 1, 8)
    with pytest.raises(ShapeError, match="one batch"):
        model(gpunn.zeros(3, 2, 4), gpunn.zeros(3, 1, 4))
    with pytest.raises(ShapeError, match="tgt: expected 4 features; got 5"):
        model(gpunn.zeros(3, 2, 4), gpunn.zeros(3, 2, 5))
    with pytest.raises(UsageError, match="TransformerDecoderLayer: activation"):
        nn.TransformerDecoderLayer(4, 1, activation="tanh")


def test_a_captured_step_gives_what_an_eager_one_gives(kernels: str) -> None:
    gpunn.manual_seed(0)
    model = nn.Transformer(4, 2, 1, 1, 8, 0.0, batch_first=True).to(kernels)

    def step(src: Any, tgt: Any) -> Any:
        model.zero_grad()
        loss = model(src, tgt, tgt_is_causal=False).square().mean()
        loss.backward()
        return loss

    captured: Any = gpunn.capture(step)
    for seed in range(3):
        rng = np.random.Generator(np.random.Philox(seed))
        given = [gpunn.tensor(rng.standard_normal((2, n, 4)).astype(np.float32), device=kernels) for n in (3, 2)]
        expected = step(*given).item(), [p.grad.tolist() for p in model.parameters()]
        assert (captured(*given).item(), [p.grad.tolist() for p in model.parameters()]) == expected
    assert captured.graphs == 1

"""dropout: Philox's known answers, one mask for all devices and layouts, mean preserved, same mask in backward."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, UsageError
from gpunn.gpu.launcher import read_source
from gpunn.gpu.signatures import parse_signatures
from gpunn.ops.dropout import dropout, dropout_apply
from gpunn.random import Generator, philox_uint32
from tests.devices import EVERYWHERE, call, host

# Random123 1.14, tests/kat_vectors, "philox4x64 10": counter, key, output.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]),
    (
        [2**64 - 1] * 4,
        [2**64 - 1] * 2,
        [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
    ),
]


# -- the random stream ----------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_numpys_philox_is_the_published_one(counter: list[int], key: list[int], expected: list[int]) -> None:
    """NumPy counts up before it draws: it is started one below."""
    below = (sum(word << 64 * i for i, word in enumerate(counter)) - 1) % 2**256
    words = np.array([below >> 64 * i & (2**64 - 1) for i in range(4)], np.uint64)
    stream = np.random.Philox(counter=words, key=np.array(key, np.uint64))
    assert [int(w) for w in stream.random_raw(4)] == expected


def test_kernels_philox_is_numpys(kernels: str) -> None:
    """The words themselves, for keys and counters of which all 64 bits matter."""
    source = read_source("philox.cuh") + (
        'extern "C" __global__ void draw(unsigned* words, const unsigned long long* key, unsigned long long call) {\n'
        "    const PhiloxBlock block = philox(key[0], key[1], call, threadIdx.x + 1);\n"
        "    for (int i = 0; i < 8; ++i) words[threadIdx.x * 8 + i] = block.half(i);\n"
        "}\n"
    )
    target = device(kernels)
    parameters = parse_signatures(source, {})["draw"]
    with target.active():
        draw = target.loader.load(source, "test_philox.cu", {}).function("draw", parameters)
    rng = np.random.Generator(np.random.Philox(1))
    for key in (np.zeros(2, np.uint64), *rng.integers(0, 2**64, (5, 2), np.uint64)):
        for number in (0, 1, 2**33 + 5, 2**64 - 1):
            words = target.zeros((8 * 8,), np.uint32)
            draw.run((1, 1, 1), (8, 1, 1), [words, target.array(key), number], 0, tuple)
            np.testing.assert_array_equal(host(words), philox_uint32((int(key[0]), int(key[1])), number, 64))


def _mask(where: str, shape: tuple[int, ...], p: float, seed: int = 7) -> np.ndarray:
    """Which elements of a tensor of ones stay, in logical order."""
    return dropout(gpunn.ones(*shape, device=where), p, generator=Generator(seed)).numpy() > 0


@given(
    st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
    st.sampled_from([0.1, 0.5, 0.8]),
    st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_one_mask_for_all_devices_and_layouts(
    kernels: str, shape: tuple[int, int, int, int], images: bool, p: float, seed: int
) -> None:
    n, c, h, w = shape
    expected = (philox_uint32(Generator(seed).key, 0, n * c * h * w) >= round(p * 2**32)).reshape(shape)
    given = shape if images else (n * c, h * w)
    for where in ("cpu", kernels):
        np.testing.assert_array_equal(_mask(where, given, p, seed), expected.reshape(given))


# -- what it does ---------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_mean_is_preserved(p: float) -> None:
    """COVERAGE L9. Each element is 0 or 1 / (1 - p): the mean of n has deviation sqrt(p / (1 - p) / n)."""
    n = 10**6
    y = dropout(gpunn.ones(1000, 1000), p, generator=Generator(1)).numpy().astype(np.float64)
    assert abs(y.mean() - 1) < 4 * np.sqrt(p / (1 - p) / n)  # four deviations; the stream is fixed
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)], rtol=1e-7)  # one rounding


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", [(50,), (2, 3, 3, 3)])
def test_nothing_and_everything(where: str, shape: tuple[int, ...]) -> None:
    x = gpunn.randn(*shape, device=where, requires_grad=True)
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.0, inplace=True) is x  # a leaf, and it is not changed
    y = dropout(x, 1.0)
    y.backward(gpunn.ones(*shape, device=where))
    np.testing.assert_array_equal(y.detach().numpy(), np.zeros(shape))
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(shape))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_largest_and_smallest_words_fall_on_the_right_side(where: str) -> None:
    """p 2^32 is compared in 64 bits: p = 1 drops the word 2^32 - 1 too, p = 0 keeps the word 0."""
    key, n = (11, 12), 4000
    words = philox_uint32(key, 3, n)
    for threshold in (int(words.min()), int(words.min()) + 1, int(words.max()), int(words.max()) + 1):
        x = device(where).array(np.ones(n, np.float32))
        y = call(dropout_apply, where, x, threshold / 2**32, key, 3, device(where).zeros((1,), np.uint64))
        np.testing.assert_array_equal(y > 0, words >= threshold)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", [(37,), (5, 9), (2, 5, 3, 7)])
def test_same_mask_and_scale_in_backward(where: str, shape: tuple[int, ...]) -> None:
    x = gpunn.ones(*shape, device=where, requires_grad=True)
    y = dropout(x, 0.4)
    dropout(x, 0.4)  # another mask drawn in between
    y.backward(gpunn.ones(*shape, device=where))
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_gradcheck() -> None:
    """Each call of the function must draw the same mask."""
    x = gpunn.randn(2, 3, 2, 2, dtype=np.float64, requires_grad=True)
    assert gradcheck(lambda t: dropout(t, 0.3, generator=Generator(5)), x)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_not_a_number_stays_one_even_where_dropped(where: str) -> None:
    """As in PyTorch: a network that has diverged must not look healthy by chance."""
    y = dropout(gpunn.tensor(np.full(20, np.nan, np.float32), device=where)).numpy()
    assert np.isnan(y).all()


def test_every_call_draws_a_new_mask_and_a_seed_repeats_them() -> None:
    shape = (200,)

    def draw() -> list[bytes]:
        return [dropout(gpunn.ones(*shape)).numpy().tobytes() for _ in range(3)]

    gpunn.manual_seed(3)
    first = draw()
    assert len(set(first)) == 3
    assert draw() != first
    gpunn.manual_seed(3)
    assert draw() == first


def test_what_follows_does_not_depend_on_p() -> None:
    after = []
    for p in (0.0, 0.5, 1.0):
        stream = Generator(2)
        dropout(gpunn.ones(10), p, generator=stream)
        after.append(dropout(gpunn.ones(100), 0.5, generator=stream).numpy().tobytes())
    assert after[0] == after[1] == after[2]


def test_evaluation_is_the_identity() -> None:
    x, stream = gpunn.randn(3), Generator(0)
    assert dropout(x, 0.5, training=False, generator=stream) is x
    assert stream.calls == 0


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(UsageError, match="expected a probability from 0 to 1"):
        dropout(gpunn.ones(3), p)


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="got int64"):
        dropout(gpunn.arange(3))

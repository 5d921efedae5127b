"""The kernels of convolutions, each with every tile or geometry, against the plain body."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn._winograd
from gpunn._device import device
from gpunn._window import Window
from gpunn.emulator import counting
from gpunn.gpu import choices, conv2d_first, conv2d_narrow, conv2d_narrow_3x3
from gpunn.gpu import conv2d as tiled
from gpunn.gpu.launcher import kernel_folder, trace_launches
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from tests.devices import KERNELS, call, host, in_order, upload
from tests.emulator import kernel_counts
from tests.traces import dry_launches


@st.composite
def layers(draw: st.DrawFn, narrow: bool) -> dict[str, Any]:
    """A convolution that the narrow kernels take, or those of first layers, with everything its gradients need."""
    if narrow:
        depth, each = draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 3), (3, 2), (4, 4), (8, 5), (4, 8)]))
        groups = draw(st.sampled_from([2, 3, 4, 8, 33]))
    else:
        depth, each, groups = draw(st.integers(1, 4)), draw(st.sampled_from([1, 3, 8, 20, 33, 65])), 1
    small = st.integers(1, 3)
    r, s = draw(st.tuples(st.integers(1, 5), st.integers(1, 9)))
    stride, dilation = draw(st.tuples(small, small)), draw(st.tuples(small, small))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    h, w = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    window = Window(h, w, r, s, stride, padding, dilation, end_padding=(draw(st.integers(0, 3)), padding[1]))
    assume(window.P > 0 and window.Q > 0)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    shape = (groups * each, r, s, depth)
    if narrow:
        assume(conv2d_narrow.takes(shape, groups))
    else:
        itemsize = np.dtype(dtype).itemsize
        assume(all(conv2d_first.takes(shape, 1, window, itemsize, back) for back in (False, True)))
    n = draw(st.sampled_from([0, 1, 2, 5]))
    x, weight = (rng.standard_normal(size).astype(dtype) for size in ((n, h, w, groups * depth), shape))
    dy, y = (rng.standard_normal((n, window.P, window.Q, groups * each)).astype(dtype) for _ in range(2))
    relu, needs = draw(st.booleans()), (draw(st.booleans()), True, draw(st.booleans()))
    bias = rng.standard_normal(groups * each).astype(dtype) if draw(st.booleans()) else None
    forward = {"x": x, "weight": weight, "window": window, "groups": groups, "bias": bias, "relu": relu}
    backward = {"dy": dy, "y": np.maximum(y, 0) if relu else None, "x": x, "weight": weight, "window": window}
    return {"forward": forward, "backward": backward | {"groups": groups, "needs": needs}}


def _run(where: str, layer: dict[str, Any], order: str) -> list[np.ndarray | None]:
    """What the layer gives; on the emulator with warps and blocks in this order."""
    with in_order(where, order, seed=1):
        return [
            call(conv2d_forward, where, **layer["forward"]),
            *call(conv2d_backward, where, **layer["backward"]),
        ]


def _check(where: str, layer: dict[str, Any], name_begins: str, data_begins: str = "conv2d") -> None:
    expected = [conv2d_forward.plain(np, **layer["forward"]), *conv2d_backward.plain(np, **layer["backward"])]
    with trace_launches() as launches:
        got = _run(where, layer, "forward")
    names = [launch.kernel for launch in launches]
    assert all(name.startswith(data_begins if name.endswith("data") else name_begins) for name in names)
    assert all(launch.shared <= 48 * 1024 for launch in launches)  # what every card has
    for name, mine, theirs in zip(("y", "dx", "dweight", "dbias"), got, expected, strict=True):
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), name
            scale = max(1.0, np.abs(theirs).max(initial=0))
            # Sums of up to 1500 products of normal numbers, in another order.
            bound = 1e-5 if theirs.dtype == np.float32 else 1e-13
            assert np.abs(mine - theirs).max(initial=0) <= bound * scale, name
    for mine, again in zip(got, _run(where, layer, "shuffled"), strict=True):
        assert (None if mine is None else mine.tobytes()) == (None if again is None else again.tobytes())


@given(layers(narrow=True))
@settings(max_examples=40, deadline=None)
def test_narrow_groups_match_the_plain_body_in_any_order(kernels: str, layer: dict[str, Any]) -> None:
    _check(kernels, layer, "conv2d_narrow")


@st.composite
def layers_3x3(draw: st.DrawFn) -> dict[str, Any]:
    """A convolution that the kernels of 3 x 3 filters take."""
    some = [(1, 1, 4), (1, 1, 36), (1, 1, 72), (4, 4, 3), (4, 4, 9), (8, 4, 2), (4, 8, 2), (8, 8, 5)]
    depth, each, groups = draw(st.sampled_from(some))
    side = draw(st.integers(1, 2))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    end_padding = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    h, w = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    window = Window(h, w, 3, 3, (side, side), padding, (1, 1), end_padding=end_padding)
    assume(window.P > 0 and window.Q > 0)
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    n, c, k = draw(st.sampled_from([0, 1, 2, 5])), groups * depth, groups * each
    x, weight, dy, y = (
        rng.standard_normal(size).astype(np.float32)
        for size in ((n, h, w, c), (k, 3, 3, depth), *[(n, window.P, window.Q, k)] * 2)
    )
    relu, needs = draw(st.booleans()), (draw(st.booleans()), True, draw(st.booleans()))
    bias = rng.standard_normal(k).astype(np.float32) if draw(st.booleans()) else None
    forward = {"x": x, "weight": weight, "window": window, "groups": groups, "bias": bias, "relu": relu}
    backward = {"dy": dy, "y": np.maximum(y, 0) if relu else None, "x": x, "weight": weight, "window": window}
    return {"forward": forward, "backward": backward | {"groups": groups, "needs": needs}}


@given(layers_3x3())
@settings(max_examples=60, deadline=None)
def test_filters_of_3x3_match_the_plain_body_in_any_order(kernels: str, layer: dict[str, Any]) -> None:
    _check(kernels, layer, "conv2d_narrow_3x3", "conv2d_narrow_3x3")


@pytest.mark.parametrize(
    ("weight", "groups", "side", "stride", "dilation", "dtype", "taken"),
    [
        ((36, 3, 3, 1), 36, 9, (1, 1), (1, 1), np.float32, True),
        ((12, 3, 3, 4), 3, 9, (2, 2), (1, 1), np.float32, True),
        ((16, 3, 3, 8), 4, 9, (1, 1), (1, 1), np.float32, True),  # 8 channels in, 4 out
        ((16, 3, 3, 8), 8, 9, (1, 1), (1, 1), np.float32, False),  # 2 out
        ((34, 3, 3, 1), 34, 9, (1, 1), (1, 1), np.float32, False),  # not whole quads
        ((72, 3, 3, 1), 36, 9, (1, 1), (1, 1), np.float32, False),  # two filters a channel
        ((36, 3, 3, 1), 36, 9, (1, 1), (1, 1), np.float64, False),
        ((36, 3, 3, 1), 36, 9, (1, 2), (1, 1), np.float32, False),
        ((36, 3, 3, 1), 36, 9, (3, 3), (1, 1), np.float32, False),
        ((36, 3, 3, 1), 36, 9, (1, 1), (1, 2), np.float32, False),
        ((36, 3, 5, 1), 36, 9, (1, 1), (1, 1), np.float32, False),
        ((4, 3, 3, 1), 4, 2**29, (1, 1), (1, 1), np.float32, False),  # rows longer than 2^31 numbers
    ],
)
def test_which_narrow_groups_go_to_the_kernels_of_3x3(
    weight: tuple[int, ...], groups: int, side: int, stride: Any, dilation: Any, dtype: Any, taken: bool
) -> None:
    window = Window(9, side, weight[1], weight[2], stride, (1, 1), dilation)
    x, filters = np.empty((0, 9, 9, groups * weight[3]), dtype), np.zeros(weight, dtype)
    assert conv2d_narrow_3x3.takes(x, filters, window, groups, None) == taken


@pytest.mark.parametrize(("channels", "groups"), [(72, 72), (80, 20)])
@pytest.mark.parametrize("relu", [False, True])
def test_several_tiles_of_channels_with_split_sums_of_3x3(kernels: str, channels: int, groups: int, relu: bool) -> None:
    rng = np.random.Generator(np.random.Philox(10))
    window = Window(16, 10, 3, 3, (1, 1), (1, 1), (1, 1))
    x, dy, y = (rng.standard_normal((12, 16, 10, channels)).astype(np.float32) for _ in range(3))
    weight = rng.standard_normal((channels, 3, 3, channels // groups)).astype(np.float32)
    forward = {"x": x, "weight": weight, "window": window, "groups": groups, "bias": None, "relu": relu}
    backward = {"dy": dy, "y": y if relu else None, "x": x, "weight": weight, "window": window, "groups": groups}
    layer: dict[str, Any] = {"forward": forward, "backward": backward | {"needs": (True, True, True)}}
    with dry_launches() as launches:
        call(conv2d_backward, kernels, **layer["backward"])
    (grid,) = (launch.grid for launch in launches if "weight" in launch.kernel)
    assert min(grid[:2]) > 2
    _check(kernels, layer, "conv2d_narrow_3x3", "conv2d_narrow_3x3")


@pytest.mark.parametrize(
    ("x", "groups", "stride", "forward", "data", "weight"),
    [
        ((2, 15, 15, 32), 32, 1, (3, (8, 24)), (3, (8, 24)), ((1, 1), (8, 1, 15))),
        ((8, 16, 16, 32), 32, 1, (11, (8, 24)), (11, (8, 24)), ((1, 5), (8, 1, 13))),
        ((2, 16, 16, 32), 32, 2, (2, (8, 24)), (4, (8, 24)), ((1, 1), (8, 1, 16))),  # dx: with a row and column more
        ((1, 2, 3, 32), 32, 1, (1, (8, 1)), (1, (8, 1)), ((1, 1), (8, 1, 2))),
        ((2, 15, 15, 144), 144, 1, (12, (12, 16)), (12, (12, 16)), ((3, 1), (12, 1, 15))),
        ((2, 15, 15, 80), 20, 1, (9, (8, 24)), (9, (8, 24)), ((3, 3), (8, 3, 5))),
    ],
)
def test_blocks_of_3x3(
    kernels: str, x: tuple[int, ...], groups: int, stride: int, forward: Any, data: Any, weight: Any
) -> None:
    """No more than there is work for."""
    n, h, w, c = x
    window = Window(h, w, 3, 3, (stride, stride), (1, 1), (1, 1))
    images, filters = np.zeros(x, np.float32), np.zeros((c, 3, 3, c // groups), np.float32)
    dy = np.zeros((n, window.P, window.Q, c), np.float32)
    with dry_launches() as launches:
        call(conv2d_forward, kernels, images, filters, window, groups, None, False)
        call(conv2d_backward, kernels, dy, None, images, filters, window, groups, (True, True, False))
    found = {launch.kernel.removeprefix("conv2d_narrow_3x3_"): launch for launch in launches}
    for name, (blocks, block) in (("forward", forward), ("backward_data", data)):
        assert (found[name].grid, found[name].block) == ((blocks, 1, 1), (*block, 1)), name
    assert (found["backward_weight"].grid, found["backward_weight"].block) == ((*weight[0], 1), weight[1])


@pytest.mark.parametrize("stride", [1, 2])
def test_tall_images_of_one_quad_fit_into_a_block_of_3x3(kernels: str, stride: int) -> None:
    rng = np.random.Generator(np.random.Philox(9))
    window = Window(300, 3, 3, 3, (stride, stride), (1, 1), (1, 1))
    sizes = (1, 300, 3, 4), (4, 3, 3, 1), (1, window.P, window.Q, 4)
    x, weight, dy = (rng.standard_normal(size).astype(np.float32) for size in sizes)
    forward = {"x": x, "weight": weight, "window": window, "groups": 4, "bias": None, "relu": False}
    backward = {"dy": dy, "y": None, "x": x, "weight": weight, "window": window, "groups": 4}
    layer = {"forward": forward, "backward": backward | {"needs": (True, True, True)}}
    _check(kernels, layer, "conv2d_narrow_3x3", "conv2d_narrow_3x3")


@given(layers(narrow=False))
@settings(max_examples=40, deadline=None)
def test_first_layers_match_the_plain_body_in_any_order(kernels: str, layer: dict[str, Any]) -> None:
    _check(kernels, layer, "conv2d_first")


def test_many_filters_of_many_elements_fit_into_shared_memory(kernels: str) -> None:
    rng = np.random.Generator(np.random.Philox(3))
    window = Window(7, 7, 7, 7, (1, 1), (3, 3), (1, 1))
    x, weight, dy = (rng.standard_normal(size) for size in ((1, 7, 7, 33), (33 * 8, 7, 7, 1), (1, 7, 7, 33 * 8)))
    forward = {"x": x, "weight": weight, "window": window, "groups": 33, "bias": None, "relu": False}
    backward = {"dy": dy, "y": None, "x": x, "weight": weight, "window": window, "groups": 33}
    _check(kernels, {"forward": forward, "backward": backward | {"needs": (True, True, True)}}, "conv2d_narrow")


@pytest.mark.parametrize(
    ("weight", "groups", "taken"),
    [
        ((32, 3, 3, 1), 32, True),  # depthwise
        ((64, 5, 5, 1), 32, True),  # two filters a channel
        ((144, 7, 7, 1), 144, True),
        ((128, 3, 3, 4), 32, True),
        ((64, 3, 3, 8), 8, True),
        ((64, 3, 3, 16), 4, False),  # groups that fill a good part of a tile
        ((16, 9, 9, 1), 16, False),  # more filter elements than a block has threads for
        ((8, 3, 3, 4), 1, False),  # one group
    ],
)
def test_which_groups_are_narrow(weight: tuple[int, ...], groups: int, taken: bool) -> None:
    assert conv2d_narrow.takes(weight, groups) == taken


@pytest.mark.parametrize(
    ("weight", "size", "stride", "itemsize", "taken"),
    [
        ((20, 5, 5, 1), 28, 1, 4, (True, True)),  # LeNet
        ((64, 7, 7, 3), 224, 2, 4, (True, True)),  # ResNet
        ((32, 3, 3, 3), 224, 2, 4, (True, True)),  # MobileNet
        ((16, 3, 3, 4), 32, 1, 8, (True, True)),
        ((64, 7, 7, 3), 224, 2, 8, (True, True)),
        ((64, 3, 3, 5), 32, 1, 4, (False, False)),  # five channels
    ],
)
def test_which_layers_are_first(
    weight: tuple[int, ...], size: int, stride: int, itemsize: int, taken: tuple[bool, bool]
) -> None:
    r, s = weight[1:3]
    window = Window(size, size, r, s, (stride, stride), (r // 2, s // 2), (1, 1))
    found = tuple(conv2d_first.takes(weight, 1, window, itemsize, back) for back in (False, True))
    assert found == taken


def _layer(
    x: tuple[int, ...], k: int, r: int, stride: int = 1, padding: int = 0, groups: int = 1, relu: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the forward and of the backward pass of a convolution of normal numbers."""
    rng = np.random.Generator(np.random.Philox(8))
    n, h, w, c = x
    window = Window(h, w, r, r, (stride, stride), (padding, padding), (1, 1))
    shapes = {"x": x, "weight": (k, r, r, c // groups), "bias": (k,), "dy": (n, window.P, window.Q, k)}
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    common = {"x": made["x"], "weight": made["weight"], "window": window, "groups": groups}
    y = np.maximum(rng.standard_normal(made["dy"].shape), 0).astype(np.float32) if relu else None
    return common | {"bias": made["bias"], "relu": relu}, common | {"dy": made["dy"], "y": y}


def _kernels(run: Any) -> list[str]:
    with dry_launches() as launches:
        run()
    return [launch.kernel for launch in launches]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("x", "k", "r", "how", "product"),
    [
        ((2, 7, 5, 9), 13, 1, {}, True),
        ((2, 7, 5, 64), 64, 1, {}, True),
        ((2, 7, 5, 9), 13, 1, {"stride": 2}, False),
        ((2, 7, 5, 9), 13, 1, {"padding": 1}, False),
        ((2, 7, 5, 24), 24, 1, {"groups": 2}, False),
        ((2, 7, 5, 9), 13, 3, {"padding": 1}, False),
    ],
)
def test_filters_of_one_pixel_are_matrix_products(
    kernels: str, x: tuple[int, ...], k: int, r: int, how: dict[str, Any], product: bool, relu: bool
) -> None:
    forward, backward = _layer(x, k, r, **how, relu=relu)
    taken = _kernels(lambda: call(conv2d_forward, kernels, **forward))
    taken += _kernels(lambda: call(conv2d_backward, kernels, **backward, needs=(True, True, True)))
    assert taken == (["gemm_nt", "gemm_backward"] if product else ["conv2d_forward", "conv2d_backward"])


@pytest.mark.parametrize(
    ("x", "k", "relu", "together"),
    [
        ((128, 32, 32, 16), 16, False, True),  # ResNet-20 at its batch size
        ((128, 8, 8, 64), 64, False, True),
        ((128, 14, 14, 20), 50, True, True),  # LeNet's second layer
        ((256, 14, 14, 20), 50, True, False),  # reading dy and y for each filter element is what takes the time
        ((128, 28, 28, 256), 256, False, False),  # the large tile
        ((4, 7, 7, 512), 2048, False, False),  # of the weight gradient
    ],
)
def test_which_gradients_have_one_launch(
    kernels: str, x: tuple[int, ...], k: int, relu: bool, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpunn._winograd, "_enabled", False)
    _, backward = _layer((1, *x[1:]), k, 3, padding=1, relu=relu)
    for name in ("x", "dy", "y"):
        if backward[name] is not None:
            backward[name] = np.empty((x[0], *backward[name].shape[1:]), np.float32)
    taken = _kernels(lambda: call(conv2d_backward, kernels, **backward, needs=(True, True, False)))
    assert taken == (["conv2d_backward"] if together else ["conv2d_backward_weight", "conv2d_backward_data"])


@pytest.mark.parametrize("how", [{}, {"relu": True}, {"stride": 2}, {"groups": 2, "relu": True}])
def test_one_launch_gives_the_bits_of_two(kernels: str, how: dict[str, Any]) -> None:
    _, backward = _layer((3, 16, 15, 36), 40, 3, padding=1, **how)
    more = np.random.Generator(np.random.Philox(9)).standard_normal(backward["x"].shape).astype(np.float32)
    for extra in (None, more):
        both = call(conv2d_backward, kernels, **backward, needs=(True, True, True), more=extra)
        dx = call(conv2d_backward, kernels, **backward, needs=(True, False, False), more=extra)[0]
        _, dweight, dbias = call(conv2d_backward, kernels, **backward, needs=(False, True, True))
        assert [a.tobytes() for a in both] == [a.tobytes() for a in (dx, dweight, dbias)]
    # What is added is added last, and stays as it was.
    alone = call(conv2d_backward, kernels, **backward, needs=(True, True, True))[0]
    assert both[0].tobytes() == (more + alone).tobytes()


# -- the tiles ------------------------------------------------------------------------------------

# Few channels, so that a step of the reduction crosses several filter elements and rows of those; strides and
# dilations, whose phases have a filter element less; images so small that a step of pixels crosses them.
TILED = {
    "vectors": (6, 7, 9, 8, 12, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "pairs": (3, 9, 8, 6, 10, (3, 2), (2, 1), (1, 0), (1, 2), 1),
    "single": (4, 8, 7, 5, 9, (5, 3), (2, 3), (2, 1), (1, 1), 1),
    "more elements than bits": (2, 9, 9, 4, 8, (7, 5), (1, 1), (3, 2), (1, 1), 1),
    "tiny images": (37, 3, 2, 12, 8, (3, 2), (1, 1), (0, 0), (1, 1), 1),
    "groups": (5, 6, 6, 24, 24, (3, 3), (1, 2), (1, 1), (1, 1), 2),
    "one row": (2, 1, 40, 20, 12, (1, 5), (1, 1), (0, 2), (1, 3), 1),
}


@pytest.mark.parametrize("where", KERNELS)
@pytest.mark.parametrize("tile", [32, 64, 128])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", TILED)
def test_tiles_compute_what_the_plain_body_does(case: str, dtype: Any, tile: int, where: str) -> None:
    n, h, w, c, k, filter_shape, stride, padding, dilation, groups = TILED[case]
    window = Window(h, w, *filter_shape, stride, padding, dilation, end_padding=padding)
    rng = np.random.default_rng(7)
    x = rng.standard_normal((n, h, w, c)).astype(dtype)
    weight = rng.standard_normal((k, *filter_shape, c // groups)).astype(dtype)
    dy = rng.standard_normal((n, window.P, window.Q, k)).astype(dtype)
    y = np.maximum(rng.standard_normal(dy.shape), 0).astype(dtype)
    home = device(where)
    x_there, weight_there, dy_there, y_there = (upload(value, home) for value in (x, weight, dy, y))
    with home.active(), trace_launches() as launches, choices.tuned_by(_Tile(tile)):
        found = _tiled(home, x_there, weight_there, dy_there, y_there, window, groups)
    assert {(launch.kernel, launch.macros["TILE"]) for launch in launches} == {
        (f"conv2d_{part}", str(tile)) for part in ("forward", "backward_weight", "backward_data")
    }
    expected = conv2d_forward.plain(np, x, weight, window, groups, None, False)
    back = conv2d_backward.plain(np, dy, y, x, weight, window, groups, (True, True, True))
    for name, got, wanted in zip(("y", "dx", "dweight", "dbias"), host(found), (expected, *back), strict=True):
        error = np.abs(got - wanted).max() / np.abs(wanted).max()
        assert error < {np.float32: 2e-6, np.float64: 1e-14}[dtype], (name, error)


class _Tile:
    """A tuner that takes one tile, and where a reduction can be split three slices."""

    def __init__(self, tile: int) -> None:
        self._tile = tile

    def choose(self, where: Any, key: Any, source: Any, rule: Any, others: Any, run: Any) -> Any:
        return (self._tile, 1 if self._tile == 128 else 3)[: len(rule)]

    def known(self, key: Any, rule: Any) -> Any:
        return rule


def _tiled(home: Any, x: Any, weight: Any, dy: Any, y: Any, window: Window, groups: int) -> tuple[Any, Any, Any, Any]:
    """y, dx, dweight and dbias, each by a launch of its own."""
    output = tiled.forward(home, x, weight, window, groups, None, False)
    dweight, dbias, dz = tiled.backward_weight(home, dy, y, x, weight, window, groups, True, True, lambda: (None, None))
    return output, tiled.backward_data(home, dz, weight, x.shape, window, groups, None), dweight, dbias


@pytest.mark.emulator
@pytest.mark.parametrize("tile", [64, 128])
def test_forward_tiles_have_no_bank_conflicts(tile: int) -> None:
    home = kernel_counts.device()
    window = Window(8, 8, 3, 3, (1, 1), (1, 1), (1, 1), end_padding=(1, 1))
    x, weight = np.ones((2, 8, 8, 64), np.float32), np.ones((128, 3, 3, 64), np.float32)
    with counting() as counts:
        tiled.forward(home, x, weight, window, 1, None, False, way=(tile,))
    (count,) = counts.kernels.values()
    lines = (kernel_folder() / "gemm_panels.cuh").read_text(encoding="utf-8").splitlines()
    for text in ("found = load<AHEAD>(first", "store(panel + Shared::place("):
        at = [one for one in count.lines if one.file == "gemm_panels.cuh" and text in lines[one.line - 1]]
        assert at, text
        for one in at:
            assert one.asked == one.least, one

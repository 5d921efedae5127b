"""3 x 3 convolution on the CPU by Winograd's minimal filtering, F(4 x 4, 3 x 3).

Tiles of 6 x 6 inputs yield 4 x 4 outputs. In the transformed space the convolution is an elementwise product,
which over all channels is 36 independent matrix products: 36 multiplications where a direct convolution has 144.
The transforms are matrix products too: that of a tile is Bt d B, so with the tile as a column of 36 numbers it is
one product with the Kronecker square of Bt.

    y = At [(G w Gt) * (Bt x B)] A                 x: 6 x 6   w: 3 x 3   y: 4 x 4
    dw = Gt [sum over tiles (Bt x B) * (A dy At)] G,   dx: the same convolution of dy with turned filters

The price is rounding: relative to the largest output the error in float32 is up to 6e-6, where a direct convolution has
7e-7 (measured against float64, 64 to 512 channels; the points 0, 1, -1, 1/2, -2 give half the error of 0, 1, -1, 2,
-2). float64 always takes a direct way, and :func:`gpunn.set_winograd_enabled` switches this one off.

Source: Lavin and Gray 2015, arXiv:1509.09308; the choice of points: Barabasz et al. 2018, arXiv:1803.10986.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunn._window import Window
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d.tasks import LANES, Output, Problem, Products, Task, padded_rows, sizes, sum_products, tasks, view
from gpunn.cpu.conv2d.winograd import finish, flat, stack, transforms
from gpunn.cpu.elementwise import copy_pixels

_M, _T = 4, 6  # a tile's outputs and inputs, each way
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)  # and infinity
_ONE = _T + 1  # the index of point (1, 1), at which every output counts once: what is added there is added to all
# Fewer channels are faster along the rows only, or directly. The gradient of the filters has less to transform back.
_LEAST_CHANNELS, _LEAST_GRADIENT_CHANNELS = 128, 32
_LEAST_TILES = 64  # of a batch: fewer do not pay for transforming the filters
_MOST_WASTE = 1.5  # outputs computed for each that is wanted
_LARGE_FILTERS = 1 << 20  # bytes of transformed filters: more do not stay in a core's cache between products


def fits(problem: Problem) -> bool:
    """Whether it is a 3 x 3 convolution in float32, stride 1, no dilation, one group."""
    window, (_, r, s, _) = problem.window, problem.shape
    plain = r == s == 3 and problem.groups == 1 and window.stride == window.dilation == (1, 1)
    return plain and problem.dtype == np.float32


def pays(problem: Problem) -> bool:
    """Whether there are enough channels, and enough tiles that waste little beyond the image."""
    return _is_worth(problem, _LEAST_CHANNELS)


def pays_for_gradient(problem: Problem) -> bool:
    """The same for the gradient of the filters, which has less to transform back."""
    return _is_worth(problem, _LEAST_GRADIENT_CHANNELS)


def pays_together(problem: Problem) -> bool:
    """The same for filters that are too large for partial sums."""
    k, _, _, c = problem.shape
    return pays_for_gradient(problem) and _T * _T * k * c * problem.dtype.itemsize > _LARGE_FILTERS


def _is_worth(problem: Problem, channels: int) -> bool:
    window, (down, across) = problem.window, _tiles(problem.window)
    enough = min(problem.shape[0], problem.shape[3]) >= channels and problem.n * down * across >= _LEAST_TILES
    return enough and down * across * _M * _M <= _MOST_WASTE * window.P * window.Q


def _tiles(window: Window) -> tuple[int, int]:
    return -(-window.P // _M), -(-window.Q // _M)


_BT, _G, _AT = (
    np.kron(m, m).astype(np.float32) for m in transforms(_POINTS, _M)
)  # of whole tiles: (36, 36), (36, 9), (16, 36)


def forward(
    output: Output, x: np.ndarray, weight: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool
) -> None:
    """output = act(x correlated with weight + bias).

    Step by step for many tiles: each of the 36 filter matrices is fetched once for all of them.
    """
    filters = _transformed_filters(weight)
    (down, across), (k, c) = _tiles(window), filters.shape[1:]
    per_image, everything = down * across, slice(0, down)
    for images in _shares(len(x), per_image, c + k, x.itemsize):
        count = (images.stop - images.start) * per_image
        tiles = stack("all inputs", _T * _T, (count, c), x.dtype)
        products = stack("all outputs", _T * _T, (count, k), x.dtype)

        def transform(i: int, first: int = images.start, tiles: np.ndarray = tiles) -> None:
            _transformed(x[i : i + 1], window, everything, tiles[:, (i - first) * per_image :][:, :per_image])

        def multiply(i: int, tiles: np.ndarray = tiles, products: np.ndarray = products) -> None:
            np.matmul(tiles[i], filters[i].T, out=products[i])

        def back(i: int, first: int = images.start, products: np.ndarray = products) -> None:
            image = slice(i, i + 1)
            out = output.block(image, slice(0, window.P))
            _back(out, products[:, (i - first) * per_image :][:, :per_image], window, bias, relu)
            output.done(image, out)

        threads.run(transform, range(images.start, images.stop))
        threads.run(multiply, range(_T * _T))
        threads.run(back, range(images.start, images.stop))


def _shares(n: int, tiles: int, channels: int, itemsize: int) -> list[slice]:
    """Runs of images whose transformed tiles of ``channels`` channels have about ``sizes().batch`` bytes."""
    return threads.spans(n, -(-n * tiles * _T * _T * channels * itemsize // sizes().batch))


def _transformed_filters(weight: np.ndarray) -> np.ndarray:
    """G w Gt, (36, K, C)."""
    k, _, _, c = weight.shape
    filters = memory.empty((_T * _T, k, c), weight.dtype)

    def task(part: slice) -> None:
        np.matmul(_G, weight[part].reshape(-1, 9, c), out=filters[:, part].transpose(1, 0, 2))

    threads.run(task, threads.spans(k, max(1, min(LANES, filters.nbytes // sizes().block))))
    return filters


def _back(y: np.ndarray, products: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool) -> None:
    """y = act(At z A + bias) for the products z (36, tiles, K) of some tiles."""
    (n, p, q, k), across = y.shape, _tiles(window)[1]
    height = products.shape[1] // (n * across)
    if bias is not None:
        products[_ONE] += bias
    outputs = stack("outputs", _M * _M, (n, height, across, k), y.dtype)
    np.matmul(_AT, flat(products), out=flat(outputs))
    turned = _by_place(outputs, _M).transpose(2, 3, 0, 4, 1, 5)
    if (p, q) == (height * _M, across * _M):
        s0, s1, s2, s3 = y.strides
        finish(outputs, relu, (view(y, turned.shape, (s0, s1 * _M, s1, s2 * _M, s2, s3)), turned))
    else:  # the last tiles reach beyond the image
        whole = threads.scratch.array("copies", turned.shape, y.dtype)
        finish(outputs, relu, (whole, turned))
        y[...] = whole.reshape(n, height * _M, across * _M, k)[:, :p, :q]


def _transformed(x: np.ndarray, window: Window, rows: slice, out: np.ndarray | None = None) -> np.ndarray:
    """Bt x B of the tiles in these rows of tiles of some images: (36, tiles, C)."""
    n, c = len(x), x.shape[3]
    height, across = rows.stop - rows.start, _tiles(window)[1]
    padded = padded_rows(x, rows.start * _M - window.padding[0], -window.padding[1], height * _M + 2, across * _M + 2)
    tiles = stack("copies", _T * _T, (n, height, across, c), x.dtype)
    _gather(tiles, padded, _T)
    if out is None:
        out = stack("tiles", _T * _T, (n * height * across, c), x.dtype)
    np.matmul(_BT, flat(tiles), out=flat(out))
    return out


def weight_gradient(dz: np.ndarray, x: np.ndarray, window: Window, *, together: bool) -> np.ndarray:
    """dweight (K, 3, 3, C); ``together``: all threads share each of the 36 products, instead of using partial sums."""
    k, c = dz.shape[3], x.shape[3]
    total = (_sum_product_by_product if together else _sum_tile_by_tile)(dz, x, window)
    dweight = (_G.T @ total.reshape(_T * _T, -1)).reshape(3, 3, k, c)
    return np.ascontiguousarray(dweight.transpose(2, 0, 1, 3))


def _sum_tile_by_tile(dz: np.ndarray, x: np.ndarray, window: Window) -> np.ndarray:
    """(A dy At) times (Bt x B), (36, K, C): partial sums over a few tiles at a time."""
    k, c = dz.shape[3], x.shape[3]
    down, across = _tiles(window)

    def products_of(part: Task) -> Iterator[Products]:
        images, rows = part
        inputs = _transformed(x[images], window, rows)
        gradients = stack("gradients", _T * _T, (inputs.shape[1], k), x.dtype)
        _transformed_gradient(dz[images, rows.start * _M : rows.stop * _M], gradients)
        yield slice(None), gradients.transpose(0, 2, 1)[:, None], inputs[:, None]

    parts = tasks(len(x), down, across * _T * _T * (c + k) * x.itemsize // 2)
    total: np.ndarray = threads.run_all(sum_products(parts, products_of, (_T * _T, k, c), x.dtype))[0]
    return total


def _sum_product_by_product(dz: np.ndarray, x: np.ndarray, window: Window) -> np.ndarray:
    """The same for filters too large for partial sums: threads transform tiles, then divide up the products."""
    k, c = dz.shape[3], x.shape[3]
    down, across = _tiles(window)
    per_image, everything = down * across, slice(0, down)
    total = np.zeros((_T * _T, k, c), x.dtype)
    for images in _shares(len(x), per_image, c + k, x.itemsize):
        count = (images.stop - images.start) * per_image
        inputs = stack("all inputs", _T * _T, (count, c), x.dtype)
        gradients = stack("all outputs", _T * _T, (count, k), x.dtype)

        def transform(
            i: int, first: int = images.start, inputs: np.ndarray = inputs, gradients: np.ndarray = gradients
        ) -> None:
            mine = slice((i - first) * per_image, (i - first + 1) * per_image)
            _transformed(x[i : i + 1], window, everything, inputs[:, mine])
            _transformed_gradient(dz[i : i + 1], gradients[:, mine])

        def multiply(i: int, inputs: np.ndarray = inputs, gradients: np.ndarray = gradients) -> None:
            product = threads.scratch.array("products", (k, c), x.dtype)
            total[i] += np.matmul(gradients[i].T, inputs[i], out=product)

        threads.run(transform, range(images.start, images.stop))
        threads.run(multiply, range(_T * _T))
    return total


def _transformed_gradient(dz: np.ndarray, out: np.ndarray) -> None:
    """A dy At of all tiles of some images, (36, tiles, K)."""
    n, p, q, k = dz.shape
    down, across = -(-p // _M), -(-q // _M)
    padded = padded_rows(dz, 0, 0, down * _M, across * _M)
    tiles = stack("copies", _M * _M, (n, down, across, k), dz.dtype)
    _gather(tiles, padded, _M)
    np.matmul(_AT.T, flat(tiles), out=flat(out))


def _gather(tiles: np.ndarray, padded: np.ndarray, size: int) -> None:
    """Copy tiles of ``size`` x ``size`` pixels, ``_M`` pixels apart, into a stack (size^2, n, rows, columns, C)."""
    target = _by_place(tiles, size)
    s0, s1, s2, s3 = padded.strides
    copy_pixels(target, view(padded, target.shape, (s1, s2, s0, s1 * _M, s2 * _M, s3)))


def _by_place(stacked: np.ndarray, size: int) -> np.ndarray:
    """A stack (size^2, ...) as (size, size, ...), without copying."""
    s0, *steps = stacked.strides
    return view(stacked, (size, size, *stacked.shape[1:]), (size * s0, s0, *steps))

"""Convolution: its primitives and public op.

The fast NumPy bodies are in ``cpu/conv2d/``; ``gpu/conv2d.py`` says which kernels compute a convolution, and
launches those of ``kernels/conv2d.cu``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device, same_device
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, pair, remembered, sides
from gpunn.cpu.conv2d import ways
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu import conv2d as kernels
from gpunn.gpu import conv2d_first, conv2d_narrow
from gpunn.gpu.conv2d_geometry import refuse_too_many
from gpunn.ops.accumulate import accumulate
from gpunn.ops.bias import bias_backward
from gpunn.ops.linear import linear_backward
from gpunn.ops.matmul import gemm
from gpunn.primitive import primitive
from gpunn.tape import record

_Three = tuple[bool, bool, bool]  # whether the gradients of x, weight, bias are wanted


def _cases(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(
        n: int, c: int, h: int, w: int, k: int, r: int, s: int, groups: int = 1, dtype: Any = np.float32, **how: Any
    ) -> dict[str, Any]:
        geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)} | how
        return {
            "x": rng.standard_normal((n, h, w, c)).astype(dtype),
            "weight": rng.standard_normal((k, r, s, c // groups)).astype(dtype),
            "window": Window(h, w, r, s, **geometry),
            "groups": groups,
        }

    return [
        case(2, 1, 9, 8, 20, 5, 5, padding=(2, 2)),  # a first layer: one channel, no vectors
        case(2, 20, 7, 7, 50, 5, 5, padding=(2, 2)),  # the lecture LeNet's second
        case(1, 3, 11, 10, 8, 3, 2, stride=(2, 3), padding=(1, 0)),
        case(2, 4, 9, 9, 6, 3, 3, stride=(2, 1), padding=(2, 1), dilation=(2, 3)),
        case(1, 8, 6, 6, 12, 3, 3, groups=2, padding=(1, 1)),
        case(2, 6, 5, 5, 6, 3, 3, groups=6, padding=(1, 1)),  # depthwise
        case(3, 16, 4, 4, 33, 1, 1),
        case(2, 64, 5, 5, 64, 3, 3, padding=(1, 1)),
        case(0, 3, 5, 5, 2, 3, 3),
        case(2, 4, 5, 6, 4, 2, 4, padding=(0, 1), end_padding=(1, 2)),  # "same" with an even kernel
        case(1, 3, 7, 6, 5, 3, 2, stride=(2, 1), padding=(3, 0), end_padding=(0, 2)),
        case(1, 5, 6, 7, 4, 3, 3, dtype=np.float64, padding=(1, 1), stride=(2, 2)),
        case(2, 4, 7, 9, 8, 3, 3, stride=(2, 2), padding=(1, 1)),
        case(2, 3, 6, 8, 4, 1, 1, stride=(2, 3)),  # most pixels reach no output
        case(1, 2, 9, 14, 3, 4, 5, stride=(4, 6), padding=(3, 5), dilation=(2, 4)),
        case(1, 4, 5, 3, 2, 2, 2, stride=(7, 4), padding=(1, 0)),  # a stride beyond the image
        # With channels enough for the matrix product: vectors and strides, groups.
        case(2, 12, 9, 9, 6, 3, 3, stride=(2, 1), padding=(2, 1), dilation=(2, 3)),
        case(1, 9, 11, 10, 8, 3, 2, stride=(2, 3), padding=(1, 0)),
        case(1, 24, 6, 6, 20, 3, 3, groups=2, padding=(1, 1)),
        case(1, 10, 9, 14, 3, 4, 5, stride=(4, 6), padding=(3, 5), dilation=(2, 4)),
        # Depthwise: vectors; none; two filters a channel; strides and dilations; the tile's edge; no images.
        case(2, 36, 9, 17, 36, 3, 3, groups=36, padding=(1, 1)),
        case(2, 5, 9, 11, 5, 3, 3, groups=5, padding=(1, 1), stride=(2, 2)),
        case(2, 4, 9, 11, 8, 3, 3, groups=4, padding=(2, 1), stride=(2, 2), dilation=(1, 2)),
        case(1, 32, 15, 16, 32, 5, 5, groups=32, padding=(4, 4), dilation=(2, 2)),
        case(1, 4, 7, 9, 4, 7, 7, groups=4, padding=(3, 3), stride=(2, 3), dtype=np.float64),
        case(0, 8, 5, 5, 8, 3, 3, groups=8),
        case(2, 8, 5, 3, 8, 2, 2, groups=8, stride=(7, 4), padding=(1, 0)),
        # Groups of few channels: a vector each; one and a half; more filter elements than threads for them.
        case(1, 16, 6, 9, 8, 3, 3, groups=2, padding=(1, 1), stride=(3, 2), dilation=(2, 3)),
        case(1, 6, 6, 6, 8, 2, 3, groups=2, padding=(1, 1)),
        case(1, 4, 12, 12, 4, 9, 9, groups=2, padding=(4, 4)),
        # First layers: 7 x 7; a vector of channels; more filters than a tile; more tiles than one; 1 x 1.
        case(1, 3, 19, 21, 40, 7, 7, stride=(2, 2), padding=(3, 3)),
        case(2, 4, 17, 33, 8, 3, 3, padding=(1, 1)),
        case(2, 2, 9, 11, 70, 3, 3, padding=(2, 1), stride=(2, 2), dilation=(1, 2)),
        case(18, 1, 8, 8, 3, 3, 3, padding=(1, 1)),
        case(1060, 1, 2, 1, 1, 2, 1, padding=(1, 0)),  # and a block has several
        case(2, 3, 9, 11, 33, 1, 1, dtype=np.float64),
        # Plain matrix products: odd sizes, vectors, no images; not those, for their padding at the end.
        case(3, 7, 5, 9, 13, 1, 1),
        case(3, 24, 7, 9, 40, 1, 1),
        case(2, 9, 5, 3, 5, 1, 1, dtype=np.float64),
        case(0, 8, 4, 4, 12, 1, 1),
        case(2, 8, 4, 5, 12, 1, 1, end_padding=(0, 1)),
    ]


# -- forward --------------------------------------------------------------------------------------


def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = _cases(rng)
    for number, example in enumerate(made):
        k = example["weight"].shape[0]
        example["bias"] = rng.standard_normal(k).astype(example["x"].dtype) if number % 2 else None
        example["relu"] = number % 3 == 0
    return made


@primitive(examples=_forward_examples, returns=("y",))
def conv2d_forward(xp: Any, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool) -> Any:
    """y[n,p,q,k] = act(bias[k] + sum_{r,s,c} x[n, p*stride - top + r*dilation, ..., c] weight[k,r,s,c]).

    x (N, H, W, C), weight (K, R, S, C/groups), bias (K,) or None; y (N, P, Q, K). Channels are cut
    into ``groups`` that do not see each other.
    """
    y = xp.zeros((x.shape[0], window.P, window.Q, weight.shape[0]), x.dtype)
    padded = _pad(xp, x, window)
    for r in range(window.R):
        for s in range(window.S):
            tap = padded[_tap(window, r, s)]
            for xc, kc in _groups(x.shape[3], weight.shape[0], groups):
                y[..., kc] += tap[..., xc] @ weight[kc, r, s].T
    if bias is not None:
        y += bias
    return xp.maximum(y, y.dtype.type(0)) if relu else y


def _pad(xp: Any, x: Any, window: Window) -> Any:
    (ph, pw), (eh, ew), (n, h, w, c) = window.padding, window.after, x.shape
    padded = xp.zeros((n, ph + h + eh, pw + w + ew, c), x.dtype)
    padded[:, ph : ph + h, pw : pw + w] = x
    return padded


def _tap(window: Window, r: int, s: int) -> tuple[slice, ...]:
    """The elements of the padded image that filter element (r, s) meets."""
    (dh, dw), (sh, sw) = window.dilation, window.stride
    rows = slice(r * dh, r * dh + (window.P - 1) * sh + 1, sh)
    return slice(None), rows, slice(s * dw, s * dw + (window.Q - 1) * sw + 1, sw)


def _groups(c: int, k: int, groups: int) -> list[tuple[slice, slice]]:
    """(input channels, output channels) of each group."""
    cg, kg = c // groups, k // groups
    return [(slice(g * cg, (g + 1) * cg), slice(g * kg, (g + 1) * kg)) for g in range(groups)]


conv2d_forward.numpy(ways.forward)


@conv2d_forward.kernel
def _(device: Device, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool) -> Any:
    kind = kernels.choose(weight.shape, groups, window, x.itemsize, back=False)
    if kind == "narrow":
        return conv2d_narrow.forward(device, x, weight, window, groups, bias, relu)
    if kind == "first":
        return conv2d_first.forward(device, x, weight, window, bias, relu)
    if kind == "tiled":
        return kernels.forward(device, x, weight, window, groups, bias, relu)
    n, (k, _, _, c) = x.shape[0], weight.shape
    refuse_too_many(n, c, k, window)
    y = gemm(device, x.reshape(-1, c), weight.reshape(k, c), "nt", bias, relu)
    return y.reshape(n, window.P, window.Q, k)


# -- backward -------------------------------------------------------------------------------------


def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def with_output(example: dict[str, Any], relu: bool, needs: _Three) -> dict[str, Any]:
        x, window = example["x"], example["window"]
        shape = (x.shape[0], window.P, window.Q, example["weight"].shape[0])
        y = np.maximum(rng.standard_normal(shape), 0).astype(x.dtype) if relu else None
        return {**example, "dy": rng.standard_normal(shape).astype(x.dtype), "y": y, "needs": needs}

    asked = [(True, True, True), (False, True, True), (True, True, False), (True, False, True), (True, False, False)]
    # All combinations, and then those with the gradient of the weight, which has the most kernels.
    made = [
        with_output(e, number % 2 == 0, asked[number % (5 if number < 10 else 3)])
        for number, e in enumerate(_cases(rng))
    ]
    # Deep enough that the sum over pixels is split, into more slices than are added up at once.
    for n, c, k, groups in ((3, 8, 4, 1), (9, 8, 66, 1), (5, 20, 20, 2), (3, 32, 32, 32), (12, 8, 8, 2), (5, 3, 5, 1)):
        deep = Window(16, 16, 3, 3, (1, 1), (1, 1), (1, 1))
        x = rng.standard_normal((n, 16, 16, c)).astype(np.float32)
        weight = rng.standard_normal((k, 3, 3, c // groups)).astype(np.float32)
        example = {"x": x, "weight": weight, "window": deep, "groups": groups}
        made.append(with_output(example, k != 4 or groups > 1, (groups == 1, True, True)))
    # So many blocks, of phases, that behind a ReLU each gradient has a launch of its own.
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 46, 24, 5), (3, 2, 1, 5)))
    far: dict[str, Any] = {"x": x, "weight": weight, "window": Window(46, 24, 2, 1, (23, 23), (0, 0), (1, 1))}
    made.append(with_output({**far, "groups": 1}, True, (True, True, True)))
    # Both gradients in one launch, with a ReLU and without.
    many = [e for e in _cases(rng) if e["weight"].shape[3] > 4]
    made += [with_output(e, relu, (True, True, relu)) for e in many for relu in (True, False)]
    for number, each in enumerate(made):  # two of three, whether there is a ReLU or not
        if each["needs"][0] and number % 3:
            each["more"] = rng.standard_normal(each["x"].shape).astype(each["x"].dtype)
    return made


@primitive(examples=_backward_examples, returns=("dx", "dweight", "dbias"))
def conv2d_backward(
    xp: Any, dy: Any, y: Any, x: Any, weight: Any, window: Window, groups: int, needs: _Three, more: Any = None
) -> tuple[Any, Any, Any]:
    """Gradients of the convolution with respect to x, weight and bias, None where ``needs`` says so.

    dy (N, P, Q, K) is the gradient of the output, y the output if it went through a ReLU, else None. more (N, H, W, C),
    unless None, is added to the gradient of x.
    """
    rows = dy.reshape(-1, dy.shape[3])
    dz, dbias = bias_backward.plain(xp, rows, None if y is None else y.reshape(rows.shape), needs[2])
    dz = dz.reshape(dy.shape)
    padded = _pad(xp, x, window)
    dpadded = xp.zeros(padded.shape, x.dtype) if needs[0] else None
    dweight = xp.zeros(weight.shape, x.dtype) if needs[1] else None
    for r in range(window.R):
        for s in range(window.S):
            tap = _tap(window, r, s)
            for xc, kc in _groups(x.shape[3], weight.shape[0], groups):
                if dpadded is not None:
                    dpadded[tap][..., xc] += dz[..., kc] @ weight[kc, r, s]
                if dweight is not None:
                    columns = dz[..., kc].reshape(-1, kc.stop - kc.start)
                    dweight[kc, r, s] = columns.T @ padded[tap][..., xc].reshape(-1, xc.stop - xc.start)
    if dpadded is None:
        return None, dweight, dbias
    (ph, pw), (_, h, w, _) = window.padding, x.shape
    dx = xp.ascontiguousarray(dpadded[:, ph : ph + h, pw : pw + w])
    return dx if more is None else more + dx, dweight, dbias


@conv2d_backward.numpy
def _(
    dy: np.ndarray,
    y: np.ndarray | None,
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    needs: _Three,
    more: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    assert bias_backward.numpy_body is not None
    rows = dy.reshape(-1, dy.shape[3])
    dz, dbias = bias_backward.numpy_body(rows, None if y is None else y.reshape(rows.shape), needs[2])
    if not (needs[0] or needs[1]):
        return None, None, dbias
    dx, dweight = ways.backward(dz.reshape(dy.shape), x, weight, window, groups, needs[:2])
    if dx is not None and more is not None:
        np.add(more, dx, out=dx)
    return dx, dweight, dbias


@conv2d_backward.kernel
def _(
    device: Device, dy: Any, y: Any, x: Any, weight: Any, window: Window, groups: int, needs: _Three, more: Any = None
) -> tuple[Any, Any, Any]:
    k, _, _, c = weight.shape
    wants_data, wants_weight, wants_bias = needs
    kind = kernels.choose(weight.shape, groups, window, x.itemsize, back=True)
    if kind == "product":
        dy, y, rows, more = (a if a is None else a.reshape(-1, a.shape[3]) for a in (dy, y, x, more))
        dx, dweight, dbias = linear_backward(device, dy, y, rows, weight.reshape(k, c), needs, more)
        dx = None if dx is None else dx.reshape(x.shape)
        return dx, None if dweight is None else dweight.reshape(weight.shape), dbias
    if kind == "tiled" and wants_data and wants_weight:
        all_three = kernels.backward(device, dy, y, x, weight, window, groups, wants_bias, more)
        if all_three is not None:
            return all_three
    dx = dweight = dbias = None
    # One launch for the gradients of weight and bias, which leaves dz for the next.
    if not wants_weight:
        rows = dy.reshape(-1, k)
        dz, dbias = bias_backward(device, rows, None if y is None else y.reshape(rows.shape), wants_bias)
        dz = dz.reshape(dy.shape)
    elif kind == "narrow":
        dweight, dbias, dz = conv2d_narrow.backward_weight(
            device, dy, y, x, weight, window, groups, wants_bias, wants_data
        )
    elif kind == "first":
        dweight, dbias, dz = conv2d_first.backward_weight(device, dy, y, x, weight, window, wants_bias, wants_data)
    else:
        dweight, dbias, dz = kernels.backward_weight(device, dy, y, x, weight, window, groups, wants_bias, wants_data)
    if wants_data and kind == "narrow":
        dx = conv2d_narrow.backward_data(device, dz, weight, x.shape, window, groups)
        if more is not None:
            accumulate(device, dx, more)
    elif wants_data:
        dx = kernels.backward_data(device, dz, weight, x.shape, window, groups, more)
    return dx, dweight, dbias


# -- public op ------------------------------------------------------------------------------------


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    strict: bool = False,
) -> Tensor:
    """Two-dimensional convolution (cross-correlation, as everywhere in deep learning).

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
        float32 or float64.
    weight : Tensor, (K, C / groups, R, S)
    bias : Tensor, (K,), optional
    stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros on each side: for all, (vertical, horizontal), or ((top, bottom), (left, right)). "same"
        keeps the size, with the odd zero of an even extent at the end; it needs stride 1.
    groups : int
        Parts of the channels that do not see each other; groups = C is depthwise.
    activation : None or "relu"
        Applied in the same pass.
    strict : bool
        Raise if the stride leaves rows or columns at the bottom or right in no window.

    Returns
    -------
    Tensor, (N, K, P, Q)
        P = floor((H + top + bottom - dilation (R - 1) - 1) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError
        If channels do not match, the kernel is larger than the padded input, or a border is unused
        and ``strict`` is set.
    UsageError, DTypeError, DeviceError
        If an argument makes no sense, or dtypes or devices differ.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998; lecture topic L10.
    """
    op = "conv2d"
    inputs = (x, weight) if bias is None else (x, weight, bias)
    device = same_device(op, *(t.device for t in inputs))
    window = check_arguments(op, x, weight, bias, stride, padding, dilation, groups, strict=strict)
    if activation not in (None, "relu"):
        raise UsageError(f"{here(op)}: activation: expected None or 'relu'; got {activation!r}.")
    relu = activation == "relu"
    image, filters = x._physical, weight._physical
    y = conv2d_forward(device, image, filters, window, groups, None if bias is None else bias._physical, relu)

    def backward(dy: Any, needs: tuple[bool, ...], waiting: Any) -> tuple[Any, ...]:
        wanted = (needs[0], needs[1], bias is not None and needs[2])
        gate = y if relu else None
        return conv2d_backward(device, dy, gate, image, filters, window, groups, wanted, waiting)[: len(inputs)]

    return record(op, y, device, inputs, backward, saves=(x, weight), adds=True)


def check_arguments(
    op: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Padding | str,
    dilation: Pair,
    groups: int,
    *,
    strict: bool,
) -> Window:
    """Everything that can be wrong with the arguments, each with its own message."""
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            f"{here(op)}: expected x (N, C, H, W) and weight (K, C/groups, R, S); got {x.shape} and {weight.shape}."
        )
    check_operands(op, x, weight, bias, groups)
    window = _window(op, x.shape[2:], weight.shape[2:], stride, padding, dilation)
    if strict:
        window.refuse_unused(op)
    return window


@remembered
def _window(
    op: str, image: tuple[int, int], kernel: tuple[int, int], stride: Pair, padding: Padding | str, dilation: Pair
) -> Window:
    steps, spread = pair(stride, op, "stride", 1), pair(dilation, op, "dilation", 1)
    (top, bottom), (left, right) = sides(padding, op, kernel, steps, spread)
    window = Window(*image, *kernel, steps, (top, left), spread, False, (bottom, right))
    window.check(op)
    return window


def check_operands(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    """Raise unless channels, groups, bias and dtypes of a convolution over any number of axes go together."""
    (k, depth), channels = weight.shape[:2], x.shape[1]
    if not isinstance(groups, int) or groups < 1 or k % groups:
        raise UsageError(f"{here(op)}: groups: expected a divisor of the {k} output channels; got {groups!r}.")
    if k == 0 or depth == 0:
        raise ShapeError(f"{here(op)}: expected at least one channel and one filter; got weight {weight.shape}.")
    if channels != depth * groups:
        raise ShapeError(
            f"{here(op)}: expected {depth * groups} input channels to match weight {weight.shape}"
            f"{f' and {groups} groups' if groups > 1 else ''}; got x of shape {x.shape}."
        )
    if bias is not None and bias.shape != (k,):
        raise ShapeError(f"{here(op)}: expected a bias of shape {(k,)}; got {bias.shape}.")
    dtypes = [t.dtype for t in (x, weight, bias) if t is not None]
    if x.dtype.kind != "f" or any(d != x.dtype for d in dtypes):
        raise DTypeError(
            f"{here(op)}: expected one floating dtype; got {', '.join(map(str, dtypes))} for x, weight, bias. "
            "Convert x with .float() or the layer with .to(dtype)."
        )

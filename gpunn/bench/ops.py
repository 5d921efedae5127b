"""Cases of single ops: forward and gradients, each with its FLOP and byte counts.

A gradient is computed by the tape, as in training, on a forward pass made once.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.bench.case import Arrays, Case, Run, import_dezero, tensors, torch_physical, torch_tensors

# direction: leaves whose gradients are wanted (none for forward), FLOP, elements moved
Directions = dict[str, tuple[tuple[str, ...], float, float]]


def _forward(op: Callable[[Any], Any], device: Device, arrays: Arrays) -> Run:
    from gpunn.tape import no_grad

    given = tensors(device, arrays)

    def run() -> list[Any]:
        with no_grad():
            return [op(given)._physical]

    return run


def _backward(op: Callable[[Any], Any], leaves: tuple[str, ...], device: Device, arrays: Arrays) -> Run:
    given = tensors(device, arrays, *leaves)
    y = op(given)

    def run() -> list[Any]:
        for name in leaves:
            given[name].grad = None  # otherwise it would be added to
        y.backward(given["dy"], retain_graph=True)
        return [given[name].grad._physical for name in leaves]

    return run


def _torch_forward(op: Callable[[Any, Any], Any], torch: Any, arrays: Arrays, last: bool) -> Run:
    given = torch_tensors(torch, arrays, last)

    def run() -> list[Any]:
        with torch.no_grad():
            return torch_physical([op(torch, given)])

    return run


def _torch_backward(
    op: Callable[[Any, Any], Any], leaves: tuple[str, ...], torch: Any, arrays: Arrays, last: bool
) -> Run:
    given = torch_tensors(torch, arrays, last, *leaves)
    y = op(torch, given)
    wanted = [given[name] for name in leaves]
    return lambda: torch_physical(torch.autograd.grad(y, wanted, given["dy"], retain_graph=True))


def _dezero_forward(op: Callable[[Any, Any], Any], arrays: Arrays) -> Run:
    dezero, functions = import_dezero()

    given = _dezero_variables(dezero, arrays)

    def run() -> list[Any]:
        with dezero.no_grad():
            return [_last(op(functions, given).data)]

    return run


def _dezero_backward(op: Callable[[Any, Any], Any], leaves: tuple[str, ...], arrays: Arrays) -> Run:
    dezero, functions = import_dezero()

    given = _dezero_variables(dezero, arrays)
    y = op(functions, given)

    def run() -> list[Any]:
        for variable in given.values():
            variable.cleargrad()
        y.grad = given["dy"]
        y.backward()
        return [_last(given[name].grad.data) for name in leaves]

    return run


def _dezero_variables(dezero: Any, arrays: Arrays) -> dict[str, Any]:
    """DeZero variables of physical arrays, images as contiguous NCHW; everything gets a gradient there."""
    return {
        name: dezero.Variable(np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if a.ndim == 4 else a)
        for name, a in arrays.items()
    }


def _last(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def _cases(
    key: str,
    name: str,
    shapes: dict[str, tuple[int, ...]],
    dy: tuple[int, ...],
    op: Callable[[Any], Any],
    torch_op: Callable[[Any, Any], Any],
    directions: Directions,
    dtype: str,
    dezero_op: Callable[[Any, Any], Any] | None = None,
) -> list[Case]:
    made = []
    size = np.dtype(dtype).itemsize
    for direction, (leaves, flop, elements) in directions.items():
        ours: Callable[[Device, Arrays], Run]
        theirs: Callable[[Any, Arrays, bool], Run]
        if leaves:
            ours = functools.partial(_backward, op, leaves)
            theirs = functools.partial(_torch_backward, torch_op, leaves)
            # DeZero always computes all gradients, so timing it for one of them would make it look too slow.
            dezero = functools.partial(_dezero_backward, dezero_op, leaves) if dezero_op else None
        else:
            ours, theirs = functools.partial(_forward, op), functools.partial(_torch_forward, torch_op)
            dezero = functools.partial(_dezero_forward, dezero_op) if dezero_op else None
        made.append(
            Case(
                key,
                direction,
                name,
                "layers",
                {**shapes, "dy": dy} if leaves else shapes,
                flop,
                size * elements,
                ours,
                theirs,
                dezero if direction in ("forward", "backward") else None,
                dtype=dtype,
                layouts=len(dy) == 4,
                items=shapes["x"][0] if len(dy) == 4 else 0,
                tolerance=1e-3 if dtype == "float32" else 1e-9,
            )
        )
    return made


def convolution(
    key: str,
    n: int,
    c: int,
    h: int,
    k: int,
    r: int,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    groups: int = 1,
    first: bool = False,
    dtype: str = "float32",
) -> list[Case]:
    """Forward, dx and dweight of a square convolution; no dx where it is a network's first layer.

    FLOP: 2 N P Q K R S C / groups, padding included. Traffic: x, weight and y once each.
    """
    from gpunn.nn import functional as F

    p = (h + 2 * pad - dilation * (r - 1) - 1) // stride + 1
    how = (stride, pad, dilation, groups)
    x, weight, y = (n, h, h, c), (k, r, r, c // groups), (n, p, p, k)
    flop = 2.0 * n * p * p * k * r * r * (c // groups)
    elements = float(math.prod(x) + math.prod(weight) + math.prod(y))
    extra = f" s{stride}" * (stride > 1) + f" d{dilation}" * (dilation > 1) + f" g{groups}" * (groups > 1)
    directions: Directions = {
        d: (leaves, flop, elements) for d, leaves in (("forward", ()), ("dx", ("x",)), ("dweight", ("weight",)))
    }
    if first:
        del directions["dx"]
    plain = dilation == 1 and groups == 1
    return _cases(
        key,
        f"conv b{n} {c}→{k} {r}×{r}{extra} {h}²",
        {"x": x, "weight": weight},
        y,
        lambda t: F.conv2d(t["x"], t["weight"], None, *how),
        lambda torch, t: torch.nn.functional.conv2d(t["x"], t["weight"], None, *how),
        directions,
        dtype,
        (lambda functions, t: functions.conv2d(t["x"], t["weight"], None, stride, pad)) if plain else None,
    )


def max_pooling(
    key: str, n: int, c: int, h: int, k: int, stride: int, pad: int = 0, dtype: str = "float32"
) -> list[Case]:
    """Max pooling. Traffic: x, y and a byte for each winner's index, forward and backward."""
    from gpunn.nn import functional as F

    p = (h + 2 * pad - k) // stride + 1
    elements = float(n * h * h * c) + (1 + 1 / np.dtype(dtype).itemsize) * n * p * p * c
    return _cases(
        key,
        f"max-pool b{n} {c} {k}×{k} s{stride} {h}²",
        {"x": (n, h, h, c)},
        (n, p, p, c),
        lambda t: F.max_pool2d(t["x"], k, stride, pad),
        lambda torch, t: torch.nn.functional.max_pool2d(t["x"], k, stride, pad),
        {"forward": ((), 0.0, elements), "backward": (("x",), 0.0, elements)},
        dtype,
        # DeZero pads with zeros, which win over negative numbers.
        None if pad else lambda functions, t: functions.pooling(t["x"], k, stride, pad),
    )


def average_pooling(key: str, n: int, c: int, h: int, k: int, dtype: str = "float32") -> list[Case]:
    """Means of non-overlapping k x k windows, or of whole images where k = h. Traffic: x and y."""
    from gpunn.nn import functional as F

    p = h // k
    elements = float(n * c * (h * h + p * p))
    return _cases(
        key,
        f"avg-pool b{n} {c} {k}×{k} s{k} {h}²",
        {"x": (n, h, h, c)},
        (n, p, p, c),
        lambda t: F.adaptive_avg_pool2d(t["x"], 1) if k == h else F.avg_pool2d(t["x"], k),
        lambda torch, t: (
            torch.nn.functional.adaptive_avg_pool2d(t["x"], 1) if k == h else torch.nn.functional.avg_pool2d(t["x"], k)
        ),
        {"forward": ((), 0.0, elements), "backward": (("x",), 0.0, elements)},
        dtype,
    )


def batch_norm(key: str, n: int, c: int, h: int, residual: bool = False, dtype: str = "float32") -> list[Case]:
    """Batch norm in training with ReLU, and with an addition before it.

    Traffic: forward reads x for the statistics and again to normalise it, and writes y; backward reads dy and x for the
    sums, and again for dx. The residual is read once, and its gradient written; then backward reads y too.
    """
    from gpunn.nn import functional as F

    size = float(n * h * h * c)
    extra = ("residual",) if residual else ()

    def op(t: Any) -> Any:
        how = {"residual": t["residual"]} if residual else {}
        return F.batch_norm(t["x"], None, None, t["weight"], t["bias"], training=True, activation="relu", **how)

    def torch_op(torch: Any, t: Any) -> Any:
        y = torch.nn.functional.batch_norm(t["x"], None, None, t["weight"], t["bias"], training=True)
        return torch.relu(y + t["residual"] if residual else y)

    shape = (n, h, h, c)
    made = _cases(
        key,
        f"batch norm +{' add +' * residual} ReLU b{n} {c} {h}²",
        {"x": shape, "weight": (c,), "bias": (c,), **dict.fromkeys(extra, shape)},
        shape,
        op,
        torch_op,
        {
            "forward": ((), 0.0, (3 + residual) * size),
            "backward": (("x", "weight", "bias", *extra), 0.0, (8 if residual else 5) * size),
        },
        dtype,
    )
    return [dataclasses.replace(case, draw=functools.partial(_away_from_the_bend, case)) for case in made]


def _away_from_the_bend(case: Case, rng: np.random.Generator) -> Arrays:
    """The case's arrays, with no gradient where the ReLU's input is so near 0 that rounding decides the mask.

    One side would pass such a gradient on and the other would not, and a channel's sums would differ by all of it.
    """
    arrays = case.random_arrays(rng)
    if "dy" in arrays:
        x = arrays["x"]
        mean, var = (f(x, axis=(0, 1, 2), dtype=np.float64) for f in (np.mean, np.var))
        scale = arrays["weight"] / np.sqrt(var + 1e-5)
        z = x * scale.astype(x.dtype)
        z += (arrays["bias"] - mean * scale).astype(x.dtype)
        z += arrays.get("residual", 0)
        arrays["dy"][np.abs(z) < 1e-4] = 0
    return arrays


def linear(key: str, n: int, c: int, k: int, dtype: str = "float32") -> list[Case]:
    """y = x weightᵀ + bias. FLOP: 2 N C K, twice as many backward. Traffic: x, weight and y, twice backward."""
    from gpunn.nn import functional as F

    flop, elements = 2.0 * n * c * k, float(n * c + k * c + n * k)
    return _cases(
        key,
        f"linear b{n} {c}→{k}",
        {"x": (n, c), "weight": (k, c), "bias": (k,)},
        (n, k),
        lambda t: F.linear(t["x"], t["weight"], t["bias"]),
        lambda torch, t: torch.nn.functional.linear(t["x"], t["weight"], t["bias"]),
        {"forward": ((), flop, elements), "backward": (("x", "weight", "bias"), 2 * flop, 2 * elements)},
        dtype,
        lambda functions, t: functions.linear(t["x"], functions.transpose(t["weight"]), t["bias"]),
    )


def layer_norm(key: str, n: int, d: int, dtype: str = "float32") -> list[Case]:
    """Layer norm of rows."""
    return _norm(key, f"layer norm {n}×{d}", "layer_norm", (d,), (n, d), dtype)


def group_norm(key: str, n: int, c: int, h: int, groups: int, dtype: str = "float32") -> list[Case]:
    """Group norm of images."""
    return _norm(key, f"group norm b{n} {c}/{groups} {h}²", "group_norm", groups, (n, h, h, c), dtype)


def _norm(key: str, name: str, op: str, how: Any, shape: tuple[int, ...], dtype: str) -> list[Case]:
    """By its PyTorch name. Traffic: x twice and y once forward; backward dy and x twice, dx once."""
    from gpunn.nn import functional as F

    size = float(math.prod(shape))
    return _cases(
        key,
        name,
        {"x": shape, "weight": shape[-1:], "bias": shape[-1:]},
        shape,
        lambda t: getattr(F, op)(t["x"], how, t["weight"], t["bias"]),
        lambda torch, t: getattr(torch.nn.functional, op)(t["x"], how, t["weight"], t["bias"]),
        {"forward": ((), 0.0, 3 * size), "backward": (("x", "weight", "bias"), 0.0, 5 * size)},
        dtype,
    )


def activation(key: str, op: str, n: int, d: int, dtype: str = "float32", **how: Any) -> list[Case]:
    """A function of a matrix, by its PyTorch name, called with ``how``. Traffic: x and y; dy, x or y, and dx."""
    from gpunn.nn import functional as F

    size = float(n * d)
    return _cases(
        key,
        f"{op} {n}×{d}",
        {"x": (n, d)},
        (n, d),
        lambda t: getattr(F, op)(t["x"], **how),
        lambda torch, t: getattr(torch.nn.functional, op)(t["x"], **how),
        {"forward": ((), 0.0, 2 * size), "backward": (("x",), 0.0, 3 * size)},
        dtype,
    )


def cross_entropy(key: str, n: int, c: int, dtype: str = "float32") -> list[Case]:
    """The mean loss and its gradient, which is how training uses it. Traffic: logits and dlogits."""
    from gpunn.nn import functional as F

    def ours(device: Device, arrays: Arrays) -> Run:
        t = tensors(device, arrays, "logits")

        def run() -> list[Any]:
            t["logits"].grad = None
            loss = F.cross_entropy(t["logits"], t["target"])
            loss.backward()
            return [loss._physical, t["logits"].grad._physical]

        return run

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        t = torch_tensors(torch, arrays, last, "logits")

        def run() -> list[Any]:
            loss = torch.nn.functional.cross_entropy(t["logits"], t["target"])
            return [loss.detach(), *torch.autograd.grad(loss, t["logits"])]

        return run

    shapes: dict[str, tuple[int, ...]] = {"logits": (n, c), "target": (n,)}
    traffic = 2.0 * np.dtype(dtype).itemsize * n * c
    name = f"cross-entropy {n}×{c}"
    return [Case(key, "both", name, "layers", shapes, 0.0, traffic, ours, theirs, dtype=dtype, classes=c)]


def sgd(key: str, name: str, sizes: list[int], dtype: str = "float32") -> list[Case]:
    """One update of all parameters with momentum. Traffic: parameter and momentum read and written, gradient read."""
    return _update(key, "SGD", name, sizes, 5.0, {"lr": 1e-3, "momentum": 0.9}, dtype)


def adam(key: str, name: str, sizes: list[int], dtype: str = "float32") -> list[Case]:
    """One update of all parameters. Traffic: parameter and both averages read and written, gradient read."""
    return _update(key, "Adam", name, sizes, 7.0, {"lr": 1e-3}, dtype)


def _update(
    key: str, rule: str, name: str, sizes: list[int], elements: float, how: dict[str, float], dtype: str
) -> list[Case]:
    shapes: dict[str, tuple[int, ...]] = {f"{kind}{i}": (n,) for i, n in enumerate(sizes) for kind in ("p", "g")}

    def ours(device: Device, arrays: Arrays) -> Run:
        from gpunn import optim

        t = tensors(device, arrays, *(f"p{i}" for i in range(len(sizes))))
        members = [t[f"p{i}"] for i in range(len(sizes))]
        for i, p in enumerate(members):
            p.grad = t[f"g{i}"]
        optimizer = getattr(optim, rule)(members, **how)

        def run() -> list[Any]:
            optimizer.step()
            return [p._physical for p in members]

        return run

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        # Clones: both sides change their parameters.
        t = {name: tensor.clone() for name, tensor in torch_tensors(torch, arrays, last).items()}
        members = [t[f"p{i}"].requires_grad_() for i in range(len(sizes))]
        for i, p in enumerate(members):
            p.grad = t[f"g{i}"]
        optimizer = getattr(torch.optim, rule)(members, **how, fused=True)

        def run() -> list[Any]:
            optimizer.step()
            return [p.detach() for p in members]

        return run

    traffic = elements * np.dtype(dtype).itemsize * sum(sizes)
    return [Case(key, "update", f"{rule} {name}", "layers", shapes, 0.0, traffic, ours, theirs, dtype=dtype, checked=3)]


def copy(key: str, megabytes: int, dtype: str = "float32") -> list[Case]:
    """Memory bandwidth: compare other rows' GB/s with this one's."""
    n = megabytes * 1_000_000 // np.dtype(dtype).itemsize

    def ours(device: Device, arrays: Arrays) -> Run:
        def run() -> list[Any]:
            device.xp.copyto(arrays["y"], arrays["x"])
            return [arrays["y"]]

        return run

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        t = torch_tensors(torch, arrays, last)
        return lambda: [t["y"].copy_(t["x"])]

    shapes: dict[str, tuple[int, ...]] = {"x": (n,), "y": (n,)}
    return [
        Case(key, "ceiling", f"copy {megabytes} MB", "layers", shapes, 0.0, 2e6 * megabytes, ours, theirs, dtype=dtype)
    ]

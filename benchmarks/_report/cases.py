"""What is timed: one op in one direction, in gpunn and in PyTorch, on the same arrays.

A case names its arrays (physical: images are (N, H, W, C), filters (K, R, S, C)), and builds from them a
function without arguments for either side. Such a function returns physical arrays, so that the two can be
compared; a gradient is computed by the tape, as in training, on a forward pass made once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, Any]
Run = Callable[[], list[Any]]


@dataclass(frozen=True)
class Case:
    """One op in one direction.

    Attributes
    ----------
    name, direction : str
    shapes : dict
        Array name = physical shape. Filled with random numbers; "target" with labels below the
        last size of "logits".
    flop, traffic : float
        Multiplications and additions; bytes that must move at least.
    ours : callable
        ``ours(device, arrays)`` gives the function for gpunn.
    theirs : callable
        ``theirs(torch, arrays, channels_last)`` gives it for PyTorch, whose tensors share memory
        with gpunn's arrays.
    """

    name: str
    direction: str
    shapes: dict[str, tuple[int, ...]]
    flop: float
    traffic: float
    ours: Callable[[Any, Arrays], Run]
    theirs: Callable[[Any, Arrays, bool], Run]


def _tensors(device: Any, arrays: Arrays, *leaves: str) -> dict[str, Any]:
    """gpunn tensors of physical arrays; those named require gradients."""
    from gpunn._tensor import Tensor

    made = {name: Tensor._of_physical(array, device) for name, array in arrays.items()}
    for name in leaves:
        made[name].requires_grad = True
    return made


def _logical(torch: Any, arrays: Arrays, channels_last: bool, *leaves: str) -> dict[str, Any]:
    """PyTorch tensors of physical arrays; NCHW ones are copies."""
    made = {}
    for name, array in arrays.items():
        t = torch.from_dlpack(array)
        if t.ndim == 4:
            t = t.permute(0, 3, 1, 2)
            t = t if channels_last else t.contiguous()
        made[name] = t.detach().requires_grad_(name in leaves)
    return made


def _physical(tensors: Any) -> list[Any]:
    """PyTorch's results as physical tensors (not copied here: this is within the timed function)."""
    return [t.permute(0, 2, 3, 1) if t.ndim == 4 else t for t in tensors]


def _forward(op: Callable[[Any], Any], device: Any, arrays: Arrays) -> Run:
    from gpunn.tape import no_grad

    tensors = _tensors(device, arrays)

    def run() -> list[Any]:
        with no_grad():
            return [op(tensors)._physical]

    return run


def _backward(op: Callable[[Any], Any], leaves: tuple[str, ...], device: Any, arrays: Arrays) -> Run:
    tensors = _tensors(device, arrays, *leaves)
    y = op(tensors)

    def run() -> list[Any]:
        for name in leaves:
            tensors[name].grad = None  # else it would be added to
        y.backward(tensors.get("dy"), retain_graph=True)
        return [tensors[name].grad._physical for name in leaves]

    return run


def _torch_forward(op: Callable[[Any, Any], Any], torch: Any, arrays: Arrays, last: bool) -> Run:
    tensors = _logical(torch, arrays, last)

    def run() -> list[Any]:
        with torch.no_grad():
            return _physical([op(torch, tensors)])

    return run


def _torch_backward(
    op: Callable[[Any, Any], Any], leaves: tuple[str, ...], torch: Any, arrays: Arrays, last: bool
) -> Run:
    tensors = _logical(torch, arrays, last, *leaves)
    y = op(torch, tensors)
    wanted = [tensors[name] for name in leaves]
    return lambda: _physical(torch.autograd.grad(y, wanted, tensors.get("dy"), retain_graph=True))


def _pair(
    name: str,
    shapes: dict[str, tuple[int, ...]],
    dy: tuple[int, ...],
    op: Callable[[Any], Any],
    torch_op: Callable[[Any, Any], Any],
    directions: dict[str, tuple[tuple[str, ...], float, float]],
) -> list[Case]:
    """One op's cases: direction = (leaves whose gradients are wanted, none for forward; flop; traffic)."""
    made = []
    for direction, (leaves, flop, traffic) in directions.items():
        if leaves:
            ours = functools.partial(_backward, op, leaves)
            theirs = functools.partial(_torch_backward, torch_op, leaves)
        else:
            ours, theirs = functools.partial(_forward, op), functools.partial(_torch_forward, torch_op)
        wanted = {**shapes, "dy": dy} if leaves else shapes
        made.append(Case(name, direction, wanted, flop, traffic, ours, theirs))
    return made


# -- the ops --------------------------------------------------------------------------------------


def convolution(
    n: int, c: int, h: int, k: int, r: int, stride: int = 1, pad: int = 0, dilation: int = 1, groups: int = 1
) -> list[Case]:
    """Forward, dx and dweight of a square convolution (dweight alone where c is 1: a first layer)."""
    from gpunn.nn import functional as F

    p = (h + 2 * pad - dilation * (r - 1) - 1) // stride + 1
    how = (stride, pad, dilation, groups)
    x, weight, y = (n, h, h, c), (k, r, r, c // groups), (n, p, p, k)
    flop = 2.0 * n * p * p * k * r * r * (c // groups)
    traffic = 4.0 * (math.prod(x) + math.prod(weight) + math.prod(y))
    extra = f" s{stride}" * (stride > 1) + f" d{dilation}" * (dilation > 1) + f" g{groups}" * (groups > 1)
    directions: dict[str, tuple[tuple[str, ...], float, float]] = {
        name: (leaves, flop, traffic) for name, leaves in (("forward", ()), ("dx", ("x",)), ("dweight", ("weight",)))
    }
    if c == 1:
        del directions["dx"]
    return _pair(
        f"conv b{n} {c}→{k} {r}×{r}{extra} {h}²",
        {"x": x, "weight": weight},
        y,
        lambda t: F.conv2d(t["x"], t["weight"], None, *how),
        lambda torch, t: torch.nn.functional.conv2d(t["x"], t["weight"], None, *how),
        directions,
    )


def pooling(n: int, c: int, h: int, k: int, stride: int, pad: int = 0) -> list[Case]:
    """Max pooling; the offsets of the winners are a byte each."""
    from gpunn.nn import functional as F

    p = (h + 2 * pad - k) // stride + 1
    traffic = 4.0 * n * h * h * c + 5.0 * n * p * p * c
    return _pair(
        f"max-pool b{n} {c} {k}×{k} s{stride} {h}²",
        {"x": (n, h, h, c)},
        (n, p, p, c),
        lambda t: F.max_pool2d(t["x"], k, stride, pad),
        lambda torch, t: torch.nn.functional.max_pool2d(t["x"], k, stride, pad),
        {"forward": ((), 0.0, traffic), "backward": (("x",), 0.0, traffic)},
    )


def batch_norm(n: int, c: int, h: int) -> list[Case]:
    """Batch norm in training with ReLU: x is read for the statistics and again to be normalised."""
    from gpunn.nn import functional as F

    size = 4.0 * n * h * h * c

    def op(t: Any) -> Any:
        return F.batch_norm(t["x"], None, None, t["weight"], t["bias"], training=True, activation="relu")

    def torch_op(torch: Any, t: Any) -> Any:
        return torch.relu(torch.nn.functional.batch_norm(t["x"], None, None, t["weight"], t["bias"], training=True))

    shape = (n, h, h, c)
    return _pair(
        f"batch norm + ReLU b{n} {c} {h}²",
        {"x": shape, "weight": (c,), "bias": (c,)},
        shape,
        op,
        torch_op,
        # Backward reads dy, x and y for the sums, and again for dx.
        {"forward": ((), 0.0, 3 * size), "backward": (("x", "weight", "bias"), 0.0, 7 * size)},
    )


def linear(n: int, c: int, k: int) -> list[Case]:
    """y = x weightᵀ + bias."""
    from gpunn.nn import functional as F

    flop, traffic = 2.0 * n * c * k, 4.0 * (n * c + k * c + n * k)
    leaves = ("x", "weight", "bias")
    return _pair(
        f"linear b{n} {c}→{k}",
        {"x": (n, c), "weight": (k, c), "bias": (k,)},
        (n, k),
        lambda t: F.linear(t["x"], t["weight"], t["bias"]),
        lambda torch, t: torch.nn.functional.linear(t["x"], t["weight"], t["bias"]),
        {"forward": ((), flop, traffic), "backward": (leaves, 2 * flop, 2 * traffic)},
    )


def cross_entropy(n: int, c: int) -> list[Case]:
    """The mean loss and its gradient, which is how training uses it."""
    from gpunn.nn import functional as F

    def ours(device: Any, arrays: Arrays) -> Run:
        t = _tensors(device, arrays, "logits")

        def run() -> list[Any]:
            t["logits"].grad = None
            loss = F.cross_entropy(t["logits"], t["target"])
            loss.backward()
            return [loss._physical, t["logits"].grad._physical]

        return run

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        t = _logical(torch, arrays, last, "logits")

        def run() -> list[Any]:
            loss = torch.nn.functional.cross_entropy(t["logits"], t["target"])
            return [loss.detach(), *torch.autograd.grad(loss, t["logits"])]

        return run

    shapes = {"logits": (n, c), "target": (n,)}
    return [Case(f"cross-entropy {n}×{c}", "loss and gradient", shapes, 0.0, 8.0 * n * c, ours, theirs)]


def sgd(name: str, sizes: list[int]) -> list[Case]:
    """One update of all parameters with momentum: 20 bytes each."""
    shapes = {f"{kind}{i}": (n,) for i, n in enumerate(sizes) for kind in ("p", "g")}

    def ours(device: Any, arrays: Arrays) -> Run:
        from gpunn.optim import SGD

        t = _tensors(device, arrays, *(f"p{i}" for i in range(len(sizes))))
        members = [t[f"p{i}"] for i in range(len(sizes))]
        for i, p in enumerate(members):
            p.grad = t[f"g{i}"]
        optimizer = SGD(members, lr=1e-3, momentum=0.9)

        def run() -> list[Any]:
            optimizer.step()
            return [p._physical for p in members]

        return run

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        # Clones: both sides change their parameters.
        t = {name: tensor.clone() for name, tensor in _logical(torch, arrays, last).items()}
        members = [t[f"p{i}"].requires_grad_() for i in range(len(sizes))]
        for i, p in enumerate(members):
            p.grad = t[f"g{i}"]
        optimizer = torch.optim.SGD(members, lr=1e-3, momentum=0.9, fused=True)

        def run() -> list[Any]:
            optimizer.step()
            return [p.detach() for p in members]

        return run

    return [Case(f"SGD {name}", "update", shapes, 0.0, 20.0 * sum(sizes), ours, theirs)]


def copy(megabytes: int) -> list[Case]:
    """What the memory can do: every other row's GB/s is to be seen against this one's."""
    n = megabytes * 250_000
    return [
        Case(
            f"copy {megabytes} MB",
            "ceiling",
            {"x": (n,), "y": (n,)},
            0.0,
            8.0 * n,
            lambda device, arrays: lambda: [device.xp.copyto(arrays["y"], arrays["x"]) or arrays["y"]],
            lambda torch, arrays, last: _torch_copy(torch, arrays),
        )
    ]


def _torch_copy(torch: Any, arrays: Arrays) -> Run:
    t = _logical(torch, arrays, False)
    return lambda: [t["y"].copy_(t["x"])]


# -- the lists ------------------------------------------------------------------------------------


def all_cases(quick: bool) -> list[Case]:
    """LeNet's layers at batch 128 first, then PERFORMANCE-sized ones unless quick."""
    made = copy(1000) + convolution(128, 1, 28, 20, 5, pad=2) + convolution(128, 20, 14, 50, 5, pad=2)
    made += pooling(128, 20, 28, 2, 2) + pooling(128, 50, 14, 2, 2)
    made += linear(128, 2450, 500) + linear(128, 500, 10) + cross_entropy(128, 10)
    made += sgd("of LeNet", [500, 20, 25000, 50, 1225000, 500, 5000, 10])
    if quick:
        return made
    made += convolution(256, 64, 56, 64, 3, pad=1) + convolution(256, 64, 56, 256, 1)
    made += convolution(256, 256, 14, 256, 3, pad=1) + convolution(256, 3, 224, 64, 7, stride=2, pad=3)
    made += convolution(256, 128, 56, 128, 3, stride=2, pad=1) + convolution(512, 64, 32, 64, 3, pad=1)
    made += convolution(256, 512, 7, 512, 3, pad=1) + convolution(128, 144, 56, 144, 3, pad=1, groups=144)
    made += batch_norm(256, 256, 56) + batch_norm(128, 16, 32) + pooling(256, 64, 112, 3, 2, 1)
    return made + cross_entropy(256, 1000) + sgd("of 25.6 M parameters", [512_000] * 50)


def small_cases() -> list[Case]:
    """One of each kind, small enough for any device: the definitions above are themselves tested."""
    made = convolution(2, 3, 7, 4, 3, stride=2, pad=1) + convolution(2, 1, 6, 4, 3) + pooling(2, 4, 6, 2, 2)
    made += batch_norm(2, 4, 5) + linear(3, 6, 5) + cross_entropy(4, 5) + sgd("small", [3, 5])
    return made


def fill(device: Any, case: Case, seed: int) -> Arrays:
    """Random arrays for a case, drawn on the device: gigabytes would be long on the way from the host."""
    xp = device.xp
    with device.active():
        rng = xp.random.default_rng(seed)
        arrays = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in case.shapes.items()}
        if "target" in arrays:
            n, classes = case.shapes["logits"]
            arrays["target"] = rng.integers(0, classes, n, dtype=np.int64)
    return arrays

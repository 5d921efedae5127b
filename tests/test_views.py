"""Views and in-place changes against PyTorch: chains of both on and off the tape, and who shares memory with whom.

A chain makes names: of a tensor, of views of it, of views of those. Between, tensors are changed through some of the
names. At the end all names have to have PyTorch's values, and the leaves its gradients. Where PyTorch raises we may do
anything; where it does not, we have to agree, or raise one of the errors in ``REFUSED`` (see gpunn/DIFFERENCES.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpunn
from gpunn.errors import GpunnError
from tests.devices import EVERYWHERE

VIEWS: dict[str, Callable[[Any], Any]] = {
    "x[0]": lambda x: x[0],
    "x[:2]": lambda x: x[:2],
    "x[1:, ::2]": lambda x: x[1:, ::2],
    "x[:, 1]": lambda x: x[:, 1],
    "x[..., 1:]": lambda x: x[..., 1:],
    "x[None]": lambda x: x[None],
    "transpose": lambda x: x.transpose(0, 1),
    "mT": lambda x: x.mT,
    "t": lambda x: x.t(),
    "permute": lambda x: x.permute(*range(x.ndim - 1, -1, -1)),
    "movedim": lambda x: x.movedim(0, -1),
    "view": lambda x: x.view(-1),
    "rows": lambda x: x.view(x.shape[0], -1),
    "reshape": lambda x: x.reshape(-1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(0, (-1, 1)),
    "squeeze": lambda x: x.squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "chunk": lambda x: x.chunk(2, 1)[0],
    "split": lambda x: x.split(1)[-1],
    "unbind": lambda x: x.unbind(1)[0],
    "iteration": lambda x: next(iter(x)),
    "narrow": lambda x: x.narrow(0, 0, 1),
    "select": lambda x: x.select(1, 0),
    "expand": lambda x: x.unsqueeze(0).expand(2, *x.shape),
    "expand_1": lambda x: x.expand(1, *x.shape),
    "contiguous": lambda x: x.contiguous(),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "itself": lambda x: x,
    "clone": lambda x: x.clone(),
}


def _functions(x: Any) -> Any:
    if isinstance(x, gpunn.Tensor):
        return gpunn.nn.functional
    return pytest.importorskip("torch").nn.functional


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "zero_": lambda x, w: x.zero_(),
    "fill_": lambda x, w: x.fill_(3),
    "mul_": lambda x, w: x.mul_(2),
    "add_ tensor": lambda x, w: x.add_(w),
    "add_ alpha": lambda x, w: x.add_(w, alpha=2),
    "mul_ tensor": lambda x, w: x.mul_(w),
    "div_ tensor": lambda x, w: x.div_(w),
    "+=": lambda x, w: x.__iadd__(1),
    "-=": lambda x, w: x.__isub__(w),
    "exp_": lambda x, w: x.exp_(),
    "abs_.sqrt_": lambda x, w: x.abs_().sqrt_(),
    "pow_": lambda x, w: x.pow_(2),
    "sigmoid_": lambda x, w: x.sigmoid_(),
    "tanh_": lambda x, w: x.tanh_(),
    "neg_": lambda x, w: x.neg_(),
    "relu_": lambda x, w: x.relu_(),
    "clamp_": lambda x, w: x.clamp_(-0.5, 0.5),
    "masked_fill_": lambda x, w: x.masked_fill_(x > 0, 0.25),
    "copy_": lambda x, w: x.copy_(w),
    "relu": lambda x, w: _functions(x).relu(x, inplace=True),
    "elu": lambda x, w: _functions(x).elu(x, inplace=True),
    "silu": lambda x, w: _functions(x).silu(x, inplace=True),
    "leaky_relu": lambda x, w: _functions(x).leaky_relu(x, inplace=True),
    "hardtanh": lambda x, w: _functions(x).hardtanh(x, inplace=True),
    "x[0] = number": lambda x, w: x.__setitem__(0, 5.0),
    "x[0] = tensor": lambda x, w: x.__setitem__(0, w),
    "x[:] = tensor": lambda x, w: x.__setitem__(slice(None), w),
    "x[..., -1] = tensor": lambda x, w: x.__setitem__((..., -1), w),
    "x[None] = tensor": lambda x, w: x.__setitem__(None, w),
    "x[mask] = tensor": lambda x, w: x.__setitem__(x > 0, w),
    "x[[0]] = tensor": lambda x, w: x.__setitem__([0], w),
    "x[:, [0, 0]] = tensor": lambda x, w: x.__setitem__((slice(None), [0, 0]), w),
}
BY_NAMES: dict[str, Callable[[Any, Any], Any]] = {  # the other operand is another name
    "add_": lambda x, y: x.add_(y),
    "mul_": lambda x, y: x.mul_(y),
    "copy_": lambda x, y: x.copy_(y),
    "x[0] =": lambda x, y: x.__setitem__(0, y),
    "+=": lambda x, y: x.__iadd__(y),
}
REFUSED = re.compile(
    "several elements of an expanded tensor"
    "|that backward needs was changed in place"
    r"|was made under no_grad\(\)"
)


class Chain(NamedTuple):
    """What to do: ``place`` says where on the tape the first name is; a link is (kind, what, name, other name)."""

    shape: tuple[int, ...]
    place: str
    links: tuple[tuple[str, str, int, int], ...]
    constant: bool

    def run(self, module: Any, where: str, skipped: set[int], decide: bool) -> tuple[list[Any], list[Any]]:
        """All names' values, and the gradients of both leaves."""
        values = np.random.Generator(np.random.Philox(7)).standard_normal(self.shape).astype(np.float32)
        options = {"device": where} if module is gpunn else {}
        leaf, w = module.tensor(values, **options), module.tensor(1.5, **options)
        w.requires_grad_(not self.constant)
        leaf.requires_grad_(self.place != "off")
        names = [leaf * 1.25 if self.place == "inner" else leaf]
        if self.place == "product":  # of four axes: by rows on the CPU
            names = [leaf @ (module.eye(self.shape[-1], **options) * 1.25).expand(*self.shape[:-2], -1, -1)]
        with module.set_grad_enabled(self.place != "no_grad"):
            for number, (kind, what, name, other) in enumerate(self.links):
                x, y = names[name % len(names)], names[other % len(names)]
                if kind == "view":
                    names.append(VIEWS[what](x))
                elif kind == "change":
                    CHANGES[what](x, w)
                else:
                    # What comes of operands that overlap in memory is undefined in PyTorch.
                    if decide and x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr():
                        skipped.add(number)
                    if number not in skipped:
                        BY_NAMES[what](x, y)
        results = [name.detach().cpu().numpy().copy() for name in names]
        total = None
        for number, name in enumerate(names):
            if name.requires_grad:
                part = (name * name * 0.1 + name * (0.5 * number + 0.5)).sum()
                total = part if total is None else total + part
        if total is not None:
            total.backward()
        return results, [None if t.grad is None else t.grad.cpu().numpy() for t in (leaf, w)]

    def check(self, where: str) -> bool:
        """Whether we agree with PyTorch; False where it raises."""
        torch, skipped = pytest.importorskip("torch"), set[int]()
        try:
            expected, gradients = self.run(torch, "cpu", skipped, True)
        except Exception:  # whatever PyTorch refuses
            return False
        try:
            got, made = self.run(gpunn, where, skipped, False)
        except GpunnError as error:
            if not REFUSED.search(str(error)):
                raise AssertionError(f"{self}: PyTorch does this") from error
            return True
        for number, (a, b) in enumerate(zip(got, expected, strict=True)):
            # exp, tanh and sigmoid of the two differ by some units in the last place.
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=f"{self}: name {number}")
        for who, a, b in zip(("leaf", "w"), made, gradients, strict=True):
            # A tensor that got no gradient and one that got zeros are alike: PyTorch leaves out what it knows to be 0.
            if a is None and b is None:
                continue
            zeros = np.zeros_like(a if b is None else b)
            a, b = (zeros if g is None else g for g in (a, b))
            # w's is a sum over all elements: some hundred terms of order 10, which may cancel.
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=f"{self}: gradient of {who}")
        return True


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore:Use of:UserWarning", "ignore:The .grad attribute")
@pytest.mark.parametrize("view", VIEWS)
def test_every_change_through_every_view_is_pytorchs(view: str) -> None:
    agreed = 0
    for shape, places in (((3, 4), ("off", "inner")), ((2, 3, 4, 5), ("off", "inner", "product", "leaf", "no_grad"))):
        for place in places:
            for change in CHANGES:
                views = ("view", view, 0, 0), ("view", "x[:, 1]", 0, 0)
                links = (*views, ("change", change, 1, 0), ("change", "-=", 0, 0))
                agreed += Chain(shape, place, links, place not in ("inner", "product")).check("cpu")
    assert agreed > 15  # PyTorch refuses what changes a leaf, and everything for some views on the tape


def chains(seed: int, count: int) -> list[Chain]:
    rng = np.random.Generator(np.random.Philox(seed))
    shapes = [(3, 4), (4, 4), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 2), (2, 1, 3, 3), (1, 2, 1, 3)]
    made = []
    for _ in range(count):
        links = []
        for _ in range(int(rng.integers(2, 7))):
            kind = str(rng.choice(["view", "view", "view", "change", "change", "names"]))
            what = list({"view": [*VIEWS], "change": [*CHANGES], "names": [*BY_NAMES]}[kind])
            first, second = (int(n) for n in rng.integers(0, 6, 2))
            links.append((kind, what[int(rng.integers(len(what)))], first, second))
        place = str(rng.choice(["off", "inner", "product", "product", "leaf", "no_grad"]))
        made.append(Chain(shapes[int(rng.integers(len(shapes)))], place, tuple(links), bool(rng.random() < 0.6)))
    return made


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore:Use of:UserWarning", "ignore:The .grad attribute")
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("seed", range(4))
def test_chains_of_views_and_changes_are_pytorchs(where: str, seed: int) -> None:
    count = 250 if where == "cpu" else 40  # kernels run slowly on the emulator
    agreed = [chain.check(where) for chain in chains(seed, count)]
    assert sum(agreed) > count // 3


# -- known answers --------------------------------------------------------------------------------


def test_contiguous_is_pytorchs() -> None:
    x = gpunn.arange(6).view(2, 3)
    assert x.is_contiguous()
    assert x.contiguous() is x
    assert not x.t().is_contiguous()
    copied = x.t().contiguous()
    copied.zero_()
    assert x.sum().item() == 15
    assert x.t().reshape(-1).tolist() == [0, 3, 1, 4, 2, 5]
    with pytest.raises(gpunn.errors.ShapeError, match=r"view: .*use reshape\(\), or contiguous\(\) first"):
        x.t().view(-1)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_optimisers_and_captured_steps_are_seen_by_views(where: str) -> None:
    layer = gpunn.nn.Linear(3, 2, bias=False).to(where)
    turned, row = layer.weight.data.t(), layer.weight.data[1]
    optimiser = gpunn.optim.SGD(layer.parameters(), lr=0.5)

    def step(x: gpunn.Tensor) -> None:
        optimiser.zero_grad()
        layer(x).sum().backward()
        optimiser.step()

    captured, x = gpunn.capture(step), gpunn.ones(4, 3, device=where)
    for _ in range(4):
        captured(x)
        np.testing.assert_array_equal(turned.tolist(), np.array(layer.weight.tolist()).T)
        np.testing.assert_array_equal(row.tolist(), layer.weight.tolist()[1])


@pytest.mark.parametrize("where", EVERYWHERE)
def test_views_of_gradients_see_what_is_added(where: str) -> None:
    x: Any = gpunn.ones(2, 3, device=where, requires_grad=True)
    (x * 2).sum().backward()
    turned = x.grad.t()
    (x * 3).sum().backward()
    assert turned.tolist() == [[5, 5]] * 3
    gpunn.nn.utils.clip_grad_value_([x], 1.0)
    assert turned.tolist() == [[1, 1]] * 3
    sums = gpunn.zeros(3, 2, device=where)
    x.grad = sums.t()  # with gaps
    (x * 3).sum().backward()
    assert (x.grad.tolist(), sums.tolist()) == ([[3] * 3] * 2, [[3, 3]] * 3)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_initial_values_and_running_statistics_are_seen_by_views(where: str) -> None:
    weight = gpunn.zeros(3, 4, device=where)
    turned = weight.t()
    gpunn.nn.init.ones_(weight[1:])
    assert turned.tolist() == [[0, 1, 1]] * 4
    gpunn.nn.init.constant_(turned[0], 7.0)
    assert weight[:, 0].tolist() == [7, 7, 7]
    norm: Any = gpunn.nn.BatchNorm1d(2).to(where)
    column = norm.running_mean.view(2, 1)[:, 0]
    norm(gpunn.tensor([[1.0, 2.0], [3.0, 4.0]], device=where))
    assert column.tolist() == norm.running_mean.tolist() != [0, 0]


def test_views_leave_nothing_behind() -> None:
    from gpunn import _storage

    x = gpunn.zeros(4, 4)
    known = len(_storage._copied)
    for _ in range(100):
        x.t()
        x[1:]
    assert len(_storage._copied) == known
    assert x._storage.sharing is not None
    assert len(x._storage.sharing.tensors) == 1


def _shares(y: gpunn.Tensor, x: gpunn.Tensor) -> bool:
    if y.device.ordinal is None:
        return bool(np.shares_memory(y.array, x.array))
    first, last = (range(t.array.data.ptr, t.array.data.ptr + t.array.nbytes) for t in (x, y))
    return (bool(first) and first[0] in last) or last[0] in first


NEW = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
    "prod": lambda x: x.prod(0),
    "amax": lambda x: x.amax(0),
    "max": lambda x: x.max(0).values,
    "norm": lambda x: x.norm(dim=0),
    "cat": lambda x: gpunn.cat([x]),
    "stack": lambda x: gpunn.stack([x]),
    "clone": lambda x: x.clone(),
    "+ 0": lambda x: x + 0,
    "* 1": lambda x: x * 1,
    "** 1": lambda x: x**1,
    "/ 1": lambda x: x / 1,
    "abs": lambda x: x.abs(),
    "round": lambda x: x.round(),
    "clamp": lambda x: x.clamp(-9),
    "where": lambda x: gpunn.where(x == x, x, x),
    "masked_fill": lambda x: x.masked_fill(x != x, 0),
    "maximum": lambda x: x.maximum(x),
    "flip": lambda x: x.flip(0),
    "tril": lambda x: x.tril(9),
    "repeat": lambda x: x.repeat(*(1,) * x.ndim),
    "index_select": lambda x: x.index_select(0, gpunn.arange(x.shape[0], device=x.device)),
    "x[[0]]": lambda x: x[[0]],
    "x[mask]": lambda x: x[x == x],
    "to": lambda x: x.to("emulator" if x.device.name == "cpu" else "cpu"),
    "relu": lambda x: x.relu(),
    "pad": lambda x: gpunn.nn.functional.pad(x, (0, 0)),
    "pad, cropped": lambda x: gpunn.nn.functional.pad(x, (0, 0, 0, 0)),
    "dropout": lambda x: gpunn.nn.functional.dropout(x, 0.5),  # with 0 it is x itself, as in PyTorch
    "max_pool2d": lambda x: gpunn.nn.functional.max_pool2d(x.view(1, 1, *x.shape[-2:]), 1),
    "avg_pool2d": lambda x: gpunn.nn.functional.avg_pool2d(x.view(1, 1, *x.shape[-2:]), 1),
    "adaptive_avg_pool2d": lambda x: gpunn.nn.functional.adaptive_avg_pool2d(x.view(1, 1, *x.shape[-2:]), x.shape[-2:]),
    "adaptive_max_pool2d": lambda x: gpunn.nn.functional.adaptive_max_pool2d(x.view(1, 1, *x.shape[-2:]), x.shape[-2:]),
    "conv2d": lambda x: gpunn.nn.functional.conv2d(
        x.view(1, 1, *x.shape[-2:]), gpunn.ones(1, 1, 1, 1, device=x.device)
    ),
    "matmul": lambda x: x @ gpunn.eye(x.shape[-1], device=x.device),
    "softmax": lambda x: x.softmax(0),
    "narrow of a stack": lambda x: gpunn.stack([x, x]).narrow(0, 0, 1),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("op", NEW)
def test_results_that_are_no_views_have_memory_of_their_own(op: str, where: str) -> None:
    """Also where there is nothing to do: an in-place change of the result would change the operand."""
    for shape in ((1, 4), (1, 1, 4)):
        x = gpunn.rand(*shape, device=where, requires_grad=True)
        y = NEW[op](x)
        assert y._storage is not x._storage
        assert not (y.device is x.device and _shares(y, x)), shape

"""cross_entropy against PyTorch, known answers, extreme scores, bad labels on every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import nn, optim
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, LabelError, ShapeError, UsageError
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.cross_entropy import cross_entropy, cross_entropy_forward
from tests.devices import EVERYWHERE, call, in_order
from tests.traces import dry_launches


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    n, c = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    target = rng.integers(0, c, n)
    ignored = draw(st.sampled_from([-100, 0, 3]))
    if draw(st.booleans()):
        target[0 : n - 1 : 2] = ignored  # the last row always counts: the mean of none is tested on its own
    if target[-1] == ignored:
        ignored = -100
    target[target < 0] = ignored
    return {
        "logits": draw(st.sampled_from([1.0, 30.0])) * rng.standard_normal((n, c)),
        "target": target,
        "ignored": ignored,
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
        "dtype": draw(st.sampled_from([np.float32, np.float64])),
        "label": draw(st.sampled_from([np.int32, np.int64])),
    }


def _check_against_torch(where: str, how: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    target = how["target"].astype(how["label"])

    def ours(logits: Any) -> Any:
        labels = gpunn.tensor(target, device=where)
        return cross_entropy(logits, labels, reduction=how["reduction"], ignore_index=how["ignored"])

    def theirs(logits: Any) -> Any:
        labels = parity.torch.tensor(target).long()  # PyTorch takes no int32
        f = parity.torch.nn.functional.cross_entropy
        return f(logits, labels, reduction=how["reduction"], ignore_index=how["ignored"])

    # A sum of up to 40 exponentials and 9 rows, in another order: some dozen roundings of 6e-8 or 1e-16, and
    # the score is a difference of numbers ten times the loss.
    tolerance = 5e-6 if how["dtype"] == np.float32 else 1e-14
    # The logarithm of a sum of at least 1: near 1 it is off by a rounding of 1, however small it is.
    parity.compare(ours, theirs, {"logits": how["logits"].astype(how["dtype"])}, where, tolerance, least_scale=1)


@given(configurations())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(how: dict[str, Any]) -> None:
    _check_against_torch("cpu", how)


@given(configurations())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, how: dict[str, Any]) -> None:
    _check_against_torch(kernels, how)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("classes", [1023, 1024, 1030, 12400])
def test_long_rows(where: str, classes: int) -> None:
    """By a warp, by a block, by a block without room for the row: against the definition in float64."""
    rng = np.random.Generator(np.random.Philox(classes))
    x, target = rng.standard_normal((2, classes)).astype(np.float32), np.array([classes - 1, 0])
    logits = gpunn.tensor(x, device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor(target, device=where), reduction="sum")
    loss.backward()
    p = np.exp(x.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    assert loss.item() == pytest.approx(-np.log(p[[0, 1], target]).sum(), rel=1e-6)  # sums of 12400: some roundings
    p[[0, 1], target] -= 1
    np.testing.assert_allclose(logits.grad.numpy(), p, rtol=0, atol=1e-6)


# -- known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
def test_lecture_example(where: str) -> None:
    """COVERAGE L3: p = 0.8 on the true class."""
    logits = gpunn.tensor(np.log(np.array([[0.2, 0.8]])), device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([1], device=where))
    assert loss.item() == pytest.approx(0.2231436, abs=5e-8)  # as many digits as are given
    loss.backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[0.2, -0.2]], atol=1e-15)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("label", "loss"), [(0, 0.0), (1, 1e4), (2, 2e4)])
def test_extreme_scores_are_exact(where: str, label: int, loss: float) -> None:
    logits = gpunn.tensor([[1e4, 0.0, -1e4]], device=where, requires_grad=True)
    got = cross_entropy(logits, gpunn.tensor([label], device=where))
    assert got.item() == loss
    got.backward()
    expected = np.array([[1.0, 0.0, 0.0]])
    expected[0, label] -= 1
    assert logits.grad.tolist() == expected.tolist()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("scores", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_scores_that_are_no_numbers_give_nan(where: str, scores: list[float]) -> None:
    assert np.isnan(cross_entropy(gpunn.tensor([scores], device=where), gpunn.tensor([0], device=where)).item())


@pytest.mark.parametrize("where", EVERYWHERE)
def test_one_impossible_class_is_fine(where: str) -> None:
    logits = gpunn.tensor([[-np.inf, 0.0]], device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([1], device=where))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.tolist() == [[0, 0]]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_no_rows(where: str) -> None:
    """As PyTorch: the mean of nothing is NaN, its sum 0."""
    logits = gpunn.zeros(0, 3, device=where, requires_grad=True)
    target = gpunn.tensor(np.zeros(0, np.int64), device=where)
    assert np.isnan(cross_entropy(logits, target).item())
    assert cross_entropy(logits, target, reduction="none").shape == (0,)
    loss = cross_entropy(logits, target, reduction="sum")
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.shape == (0, 3)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_all_rows_ignored(where: str) -> None:
    logits = gpunn.ones(2, 3, device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([-100, -100], device=where))
    loss.backward()
    assert np.isnan(loss.item())
    assert logits.grad.tolist() == np.zeros((2, 3)).tolist()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("how", [{}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_ignored_rows_get_no_gradient_whatever_their_scores(where: str, how: dict[str, Any], score: float) -> None:
    """Unlike PyTorch, where 0 times a softmax of NaN is NaN."""
    logits = gpunn.tensor([[score] * 3, [1.0, 1.0, 1.0]], device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([-100, 0], device=where), **how)
    loss.backward()
    assert loss.item() == pytest.approx(np.log(3), rel=1e-6)
    assert logits.grad.tolist()[0] == [0, 0, 0]
    assert np.isfinite(logits.grad.numpy()).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(reduction: str) -> None:
    logits = gpunn.randn(4, 3, dtype=np.float64, requires_grad=True)
    target = gpunn.tensor([2, 0, -100, 1])
    assert gradcheck(lambda x: cross_entropy(x, target, reduction=reduction), logits)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_backward_twice_gives_twice_the_gradient(where: str) -> None:
    """The stored gradient is neither scaled in place nor given away."""
    logits = gpunn.randn(4, 3, device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([2, 0, 1, 1], device=where))
    loss.backward(retain_graph=True)
    once = logits.grad.numpy().copy()
    loss.backward(retain_graph=True)
    np.testing.assert_array_equal(logits.grad.numpy(), 2 * once)
    logits.grad.zero_()
    loss.backward()
    np.testing.assert_array_equal(logits.grad.numpy(), once)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_backward_twice_where_two_paths_meet(where: str) -> None:
    """What is added to the loss's gradient is not added into the stored one."""
    x: Any = gpunn.randn(4, 3, device=where, requires_grad=True)
    scores = x * 1.0
    total = scores.sum()  # before the loss, so that on the way back the loss's gradient is there first
    both = cross_entropy(scores, gpunn.tensor([2, 0, 1, 1], device=where)) + total
    both.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    x.grad = None
    both.backward()
    np.testing.assert_array_equal(x.grad.numpy(), once)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [5, 2900])
def test_gradient_is_scaled_by_what_comes_back(where: str, reduction: str, rows: int) -> None:
    """Whether the loss's backward starts at 1, at a 1 of the caller's or at 2: also where the factor comes later."""
    target = gpunn.tensor(np.arange(rows) % 3, device=where)
    gradients = []
    for start in (None, 1.0, 2.0):
        logits = gpunn.tensor(np.random.default_rng(3).standard_normal((rows, 3)), device=where, requires_grad=True)
        loss = cross_entropy(logits, target, reduction=reduction)
        loss.backward(None if start is None else gpunn.tensor(np.array(start), device=where))
        gradients.append(logits.grad.numpy())
    np.testing.assert_array_equal(gradients[1], gradients[0])
    np.testing.assert_array_equal(gradients[2], 2 * gradients[0])
    p = np.exp(logits.detach().numpy())
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(rows), np.arange(rows) % 3] -= 1
    expected = p / rows if reduction == "mean" else p
    np.testing.assert_allclose(gradients[0], expected, rtol=0, atol=1e-15)  # float64: some roundings of 1


@pytest.mark.parametrize("rows", [45, 2900])
def test_same_bits_whichever_block_is_last(kernels: str, rows: int) -> None:
    rng = np.random.default_rng(7)
    logits, weight = rng.standard_normal((rows, 5)).astype(np.float32), rng.random(5).astype(np.float32)
    arguments = logits, rng.integers(0, 5, rows), weight, 0.1, 2, "mean", True
    found = set()
    for order in ("forward", "reverse", "shuffled"):
        with in_order(kernels, order):
            made = call(cross_entropy_forward, kernels, *arguments)
        found.add(tuple(None if a is None else a.tobytes() for a in made))
    assert len(found) == 1


def test_launches(kernels: str) -> None:
    """One forward; none backward, where the scores are not a leaf and the rows not too many to count in each block."""

    def launched(rows: int, start: float | None, tracked: bool = True, reduction: str = "mean") -> list[str]:
        x = gpunn.randn(rows, 3, device=kernels, requires_grad=tracked)
        target = gpunn.tensor(np.arange(rows) % 3, device=kernels)
        with trace_launches() as launches:
            scores = x.reshape(3, rows).reshape(rows, 3)
            loss = cross_entropy(scores, target, reduction=reduction)
            if tracked:
                loss.backward(None if start is None else gpunn.tensor(np.float32(start), device=kernels))
            else:
                assert launches[0].args[3] is None, "no gradient is stored where none is needed"
        return [launch.kernel for launch in launches]

    forward, backward = ["cross_entropy_forward"], ["cross_entropy_backward"]
    assert launched(4, None, tracked=False) == forward
    copied = launched(4, None)[1:]  # for the leaf, which keeps what it gets
    assert len(copied) == 1
    assert copied != backward
    assert launched(4, None, reduction="sum") == forward + copied
    assert launched(4, 1.0) == launched(4, 2.0) == forward + backward + copied
    assert launched(2896, None) == forward + copied
    assert launched(2897, None) == forward + backward + copied
    assert launched(2897, None, reduction="sum") == forward + copied


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 10, 1000, 1024, 1025, 5000, 11776, 11777, 12288, 100_000])
def test_launch_shapes(kernels: str, classes: int, dtype: Any) -> None:
    """A warp for each of several rows, or a block for one; no more shared memory than every GPU gives a block."""
    with dry_launches() as launches:
        cross_entropy(gpunn.zeros(20, classes, dtype=dtype, device=kernels), gpunn.arange(20, device=kernels))
    (rows,) = launches
    given = {declared.name: arg for declared, arg in zip(rows.parameters, rows.args, strict=True)}
    height = rows.block[0] // 32 if given["by_warp"] else 1
    assert 20 <= rows.grid[0] * height < 20 + height
    # With the three reductions' own 768 bytes and a word it must fit into the 48 KB of a block.
    assert rows.shared + 768 + 16 <= 48 * 1024
    row_bytes = classes * np.dtype(dtype).itemsize
    assert given["kept"] == (row_bytes <= 46 * 1024)
    assert rows.shared == (height * row_bytes if given["kept"] else 0)
    assert given["by_warp"] == (classes <= 1024)
    assert rows.block[0] <= 256 if given["by_warp"] else 256 <= rows.block[0] <= 512


# -- bad labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "classes"), [(3, 3), (-1, 3), (2**40, 3)])
def test_bad_label_on_cpu_raises_at_once(label: int, classes: int) -> None:
    target = gpunn.tensor(np.array([0, 2, label, label]))
    message = f"cross_entropy: label {label} at position 2 is not a class index: the scores have {classes} classes"
    with pytest.raises(LabelError, match=message):
        cross_entropy(gpunn.zeros(4, classes), target)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x: gpunn.Tensor, target: gpunn.Tensor) -> gpunn.Tensor:
        return self.loss(self.fc(x), target)


def test_bad_label_in_training_names_the_layer_and_changes_nothing(kernels: str) -> None:
    net = _Net().to(kernels)
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = gpunn.randn(5, 4, device=kernels)

    def step(labels: list[int]) -> gpunn.Tensor:
        optimizer.zero_grad()
        loss = net(x, gpunn.tensor(np.array(labels), device=kernels))
        loss.backward()
        optimizer.step()
        return loss

    step([0, 1, 2, 0, 1])
    before = {name: p.detach().numpy().copy() for name, p in net.named_parameters()}
    loss = step([0, 1, 2, 7, 1])
    step([0, 1, 2, 0, 1])  # good data after bad: nothing is written until the host has seen it
    with pytest.raises(LabelError, match=r"loss \(CrossEntropyLoss\): label 7 at position 3 is not a class index"):
        loss.item()
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(p.detach().numpy(), before[name])
    assert np.isnan(loss.item())
    good = step([0, 1, 2, 0, 1])
    assert np.isfinite(good.item())
    assert any((p.detach().numpy() != before[name]).any() for name, p in net.named_parameters())


@pytest.mark.parametrize(("label", "shown"), [(-1, -1), (3, 3), (2**40, 2**31 - 1), (-(2**40), -(2**31))])
def test_bad_label_on_a_device_is_reported_once_read(kernels: str, label: int, shown: int) -> None:
    """The error buffer has 32 bits for the value; larger ones show as the largest."""
    target = gpunn.tensor(np.array([0, label]), device=kernels)
    logits = gpunn.zeros(2, 3, device=kernels, requires_grad=True)
    cross_entropy(logits, target).backward()
    with pytest.raises(LabelError, match=f"cross_entropy: label {shown} at position 1"):
        device(kernels).synchronize()
    device(kernels).synchronize()  # once
    np.testing.assert_array_equal(logits.grad.numpy()[1], [0, 0, 0])


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "target", "how", "error", "message"),
    [
        (gpunn.zeros(2, 3), gpunn.zeros(2), {}, DTypeError, r"got float32. Convert with target.to\('int64'\)"),
        (gpunn.zeros(2, 3), gpunn.zeros(2, dtype=np.uint8), {}, DTypeError, "got uint8"),
        (gpunn.zeros(2, 3, dtype=np.int64), gpunn.arange(2), {}, DTypeError, "input: expected a floating dtype"),
        (gpunn.zeros(2, 3), gpunn.zeros(2, 3, dtype=np.int64), {}, ShapeError, "not a one-hot vector"),
        (gpunn.zeros(2, 3), gpunn.zeros(2, 3, dtype=np.float64), {}, DTypeError, "target: expected the input's dtype"),
        (gpunn.zeros(2, 3), gpunn.arange(3), {}, ShapeError, r"input \(2, 3\) a target of shape \(2,\); got \(3,\)"),
        (gpunn.zeros(2, 3, 4, 5), gpunn.arange(2), {}, ShapeError, r"a target of shape \(2, 4, 5\); got \(2,\)"),
        (gpunn.zeros(3), gpunn.arange(1), {}, ShapeError, r"a target of shape \(\); got \(1,\)"),
        (gpunn.zeros(()), gpunn.arange(1), {}, ShapeError, r"expected input \(N, C\)"),
        (gpunn.zeros(2, 0), gpunn.arange(2), {}, ShapeError, r"expected input \(N, C\)"),
        (gpunn.zeros(2, 3), gpunn.arange(2), {"reduction": "max"}, UsageError, "expected 'mean', 'sum' or 'none'"),
        (
            gpunn.zeros(2, 3),
            gpunn.arange(2),
            {"label_smoothing": 1.5},
            UsageError,
            "label_smoothing: expected a number",
        ),
        (gpunn.zeros(2, 3), gpunn.zeros(2, 3), {"ignore_index": 1}, UsageError, "no index to ignore; got 1"),
        (gpunn.zeros(2, 3), gpunn.arange(2), {"weight": gpunn.ones(2)}, ShapeError, "each of the 3 classes"),
        (gpunn.zeros(2, 3), gpunn.arange(2), {"weight": gpunn.arange(3)}, DTypeError, "weight: .* float32; got int64"),
    ],
)
def test_refuses(logits: Any, target: Any, how: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        cross_entropy(logits, target, **how)


def test_refuses_two_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match=f"cpu and {kernels}"):
        cross_entropy(gpunn.zeros(2, 3), gpunn.arange(2, device=kernels))

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
from gpunn.launcher import record_launches
from gpunn.ops.softmax_cross_entropy import cross_entropy

DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)]


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


@pytest.mark.emulator
@given(configurations())
@settings(max_examples=25, deadline=None)
def test_matches_torch_on_emulator(how: dict[str, Any]) -> None:
    _check_against_torch("emulator", how)


@pytest.mark.parametrize("where", DEVICES)
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


@pytest.mark.parametrize("where", DEVICES)
def test_lecture_example(where: str) -> None:
    """COVERAGE L3: p = 0.8 on the true class."""
    logits = gpunn.tensor(np.log(np.array([[0.2, 0.8]])), device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([1], device=where))
    assert loss.item() == pytest.approx(0.2231436, abs=5e-8)  # as many digits as are given
    loss.backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[0.2, -0.2]], atol=1e-15)


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize(("label", "loss"), [(0, 0.0), (1, 1e4), (2, 2e4)])
def test_extreme_scores_are_exact(where: str, label: int, loss: float) -> None:
    logits = gpunn.tensor([[1e4, 0.0, -1e4]], device=where, requires_grad=True)
    got = cross_entropy(logits, gpunn.tensor([label], device=where))
    assert got.item() == loss
    got.backward()
    expected = np.array([[1.0, 0.0, 0.0]])
    expected[0, label] -= 1
    assert logits.grad.tolist() == expected.tolist()


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("scores", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_scores_that_are_no_numbers_give_nan(where: str, scores: list[float]) -> None:
    assert np.isnan(cross_entropy(gpunn.tensor([scores], device=where), gpunn.tensor([0], device=where)).item())


@pytest.mark.parametrize("where", DEVICES)
def test_one_impossible_class_is_fine(where: str) -> None:
    logits = gpunn.tensor([[-np.inf, 0.0]], device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([1], device=where))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.tolist() == [[0, 0]]


@pytest.mark.parametrize("where", DEVICES)
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


@pytest.mark.parametrize("where", DEVICES)
def test_all_rows_ignored(where: str) -> None:
    logits = gpunn.ones(2, 3, device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([-100, -100], device=where))
    loss.backward()
    assert np.isnan(loss.item())
    assert logits.grad.tolist() == np.zeros((2, 3)).tolist()


@pytest.mark.parametrize("where", DEVICES)
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


@pytest.mark.parametrize("where", DEVICES)
def test_backward_twice_gives_twice_the_gradient(where: str) -> None:
    """The stored softmax is not scaled in place."""
    logits = gpunn.randn(4, 3, device=where, requires_grad=True)
    loss = cross_entropy(logits, gpunn.tensor([2, 0, 1, 1], device=where))
    loss.backward(retain_graph=True)
    once = logits.grad.numpy().copy()
    loss.backward()
    np.testing.assert_array_equal(logits.grad.numpy(), 2 * once)


@pytest.mark.emulator
def test_launches() -> None:
    logits, target = gpunn.randn(4, 3, device="emulator"), gpunn.tensor([2, 0, 1, 1], device="emulator")

    def run() -> None:
        loss = cross_entropy(logits, target)
        if loss.requires_grad:
            loss.backward()

    with record_launches() as launches:
        run()
    assert [launch.kernel for launch in launches] == ["cross_entropy_rows", "cross_entropy_reduce"]
    assert launches[0].args[1] is None, "no gradient is stored where none is needed"
    logits.requires_grad_()
    with record_launches() as launches:
        run()
    assert [launch.kernel for launch in launches][2:] == ["cross_entropy_backward"]


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 10, 1000, 1024, 1025, 5000, 12032, 12033, 12288, 100_000])
def test_launch_shapes(classes: int, dtype: Any) -> None:
    """A warp for each of several rows, or a block for one; no more shared memory than every GPU gives a block."""
    with record_launches(postpone=True) as launches:
        cross_entropy(gpunn.zeros(20, classes, dtype=dtype, device="emulator"), gpunn.arange(20, device="emulator"))
    rows = launches[0]
    assert rows.grid[0] * rows.block[1] >= 20
    # With the reductions' own 512 bytes (two arrays of 32 numbers) it must fit into the 48 KB of a block.
    assert rows.shared + 512 <= 48 * 1024
    kept, row_bytes = rows.args[-1], classes * np.dtype(dtype).itemsize
    assert kept == (row_bytes <= 47 * 1024)
    assert rows.shared == (rows.block[1] * row_bytes if kept else 0)
    assert rows.block[0] == 32 if classes <= 1024 else (rows.block[0] >= 256 and rows.block[1] == 1)


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


@pytest.mark.emulator
def test_bad_label_in_training_names_the_layer_and_changes_nothing() -> None:
    net = _Net().to("emulator")
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = gpunn.randn(5, 4, device="emulator")

    def step(labels: list[int]) -> gpunn.Tensor:
        optimizer.zero_grad()
        loss = net(x, gpunn.tensor(np.array(labels), device="emulator"))
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


@pytest.mark.emulator
@pytest.mark.parametrize(("label", "shown"), [(-1, -1), (3, 3), (2**40, 2**31 - 1), (-(2**40), -(2**31))])
def test_bad_label_on_a_device_is_reported_once_read(label: int, shown: int) -> None:
    """The error buffer has 32 bits for the value; larger ones show as the largest."""
    target = gpunn.tensor(np.array([0, label]), device="emulator")
    logits = gpunn.zeros(2, 3, device="emulator", requires_grad=True)
    cross_entropy(logits, target).backward()
    with pytest.raises(LabelError, match=f"cross_entropy: label {shown} at position 1"):
        device("emulator").synchronize()
    device("emulator").synchronize()  # once
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


@pytest.mark.emulator
def test_refuses_two_devices() -> None:
    with pytest.raises(DeviceError, match="cpu and emulator"):
        cross_entropy(gpunn.zeros(2, 3), gpunn.arange(2, device="emulator"))

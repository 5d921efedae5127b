"""nll_loss against PyTorch, known answers, weights, ignored labels, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, GraphError, LabelError, ShapeError, UsageError
from gpunn.ops.cross_entropy import cross_entropy
from gpunn.ops.log_softmax import log_softmax
from gpunn.ops.nll_loss import nll_loss
from tests.devices import EVERYWHERE
from tests.ops.losses import TOLERANCE, strided
from tests.traces import dry_launches


@st.composite
def class_cases(draw: st.DrawFn) -> dict[str, Any]:
    """Scores for labels of 0 to 4 axes, class weights or none, ignored labels, every reduction."""
    labels = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=4)))
    c = draw(st.integers(1, 6))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    shape = (*labels[:1], c, *labels[1:])
    target = rng.integers(0, c, labels)
    ignored = draw(st.sampled_from([-100, 0, 3, -1]))
    if draw(st.booleans()):
        target = np.where(rng.random(labels) < 0.3, ignored, target)
    some = (target != ignored).any()  # the mean over nothing is NaN, which is tested on its own
    return {
        "x": strided(np.asarray(rng.standard_normal(shape), dtype), rng),
        "target": target,
        "weight": np.asarray(0.1 + rng.random(c), dtype) if draw(st.booleans()) else None,
        "ignore_index": ignored,
        "reduction": draw(st.sampled_from(["mean", "sum", "none"] if some else ["sum", "none"])),
        "label": draw(st.sampled_from([np.int32, np.int64])),
        "rng": rng,
    }


def compare_with_torch(name: str, case: dict[str, Any], where: str = "cpu", **more: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    torch, f = parity.torch, getattr(gpunn.nn.functional, name)
    options = {"ignore_index": case["ignore_index"], "reduction": case["reduction"], **more}
    labels = gpunn.tensor(case["target"].astype(case["label"]), device=where)

    def theirs(x: Any, weight: Any) -> Any:
        # PyTorch takes no int32, and no gaps in memory where labels are images.
        return getattr(torch.nn.functional, name)(x.contiguous(), torch.tensor(case["target"]), weight, **options)

    # PyTorch adds up numbers of order one, of both signs, in the input's dtype.
    parity.compare(
        lambda x, weight: f(x, labels, weight, **options),
        theirs,
        {"x": case["x"], "weight": case["weight"]},
        where,
        3 * TOLERANCE[case["x"].dtype],
        ("weight",),
        least_scale=1,
    )


@given(class_cases())
@settings(max_examples=200, deadline=None)
def test_matches_torch(case: dict[str, Any]) -> None:
    compare_with_torch("nll_loss", case)


@given(class_cases())
@settings(max_examples=30, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any]) -> None:
    compare_with_torch("nll_loss", case, kernels)


def test_known_answer() -> None:
    x = gpunn.tensor(np.array([[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]]), requires_grad=True)
    weight = gpunn.tensor(np.array([1.0, 3.0]))
    loss = nll_loss(x, gpunn.tensor([1, 0, -100]), weight)
    loss.backward()
    assert loss.item() == (3 * 2 + 1 * 3) / 4
    assert x.grad.tolist() == [[0, -0.75], [-0.25, 0], [0, 0]]


def test_after_log_softmax_it_is_cross_entropy() -> None:
    x, target = gpunn.randn(9, 4, dtype=np.float64, requires_grad=True), gpunn.arange(9)
    labels = gpunn.tensor(target.numpy() % 4)
    composed = nll_loss(log_softmax(x, 1), labels)
    composed.backward()
    gradient = x.grad.numpy()
    x = x.detach().requires_grad_()
    fused = cross_entropy(x, labels)
    fused.backward()
    assert composed.item() == pytest.approx(fused.item(), rel=1e-14)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=0, atol=1e-16)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(reduction: str) -> None:
    x = gpunn.randn(2, 3, 1, 2, dtype=np.float64, requires_grad=True)
    target = gpunn.tensor(np.array([0, 2, -100, 1]).reshape(2, 1, 2))
    weight = gpunn.tensor(np.array([0.5, 1.0, 2.0]))
    assert gradcheck(lambda a: nll_loss(a, target, weight, reduction=reduction), x)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_counts(where: str) -> None:
    """As PyTorch: the mean over no label is NaN, with gradients of 0; the sum is 0."""
    for x, target in (
        (gpunn.zeros(0, 3, device=where, requires_grad=True), gpunn.tensor(np.zeros(0, np.int64), device=where)),
        (gpunn.ones(2, 3, device=where, requires_grad=True), gpunn.tensor([-100, -100], device=where)),
    ):
        mean = nll_loss(x, target)
        mean.backward()
        assert np.isnan(mean.item())
        np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))
        assert nll_loss(x, target, reduction="sum").item() == 0


@pytest.mark.parametrize("where", EVERYWHERE)
def test_labels_of_no_weight(where: str) -> None:
    """As PyTorch: a mean over labels that weigh nothing is NaN, in the gradients as well."""
    x = gpunn.ones(2, 3, device=where, requires_grad=True)
    labels, weight = gpunn.tensor([0, -100], device=where), gpunn.tensor([0.0, 1.0, 1.0], device=where)
    loss = nll_loss(x, labels, weight)
    loss.backward()
    assert np.isnan(loss.item())
    np.testing.assert_array_equal(x.grad.numpy(), np.array([[np.nan, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nan_and_infinity_of_the_own_class_only(where: str) -> None:
    x = gpunn.tensor(np.array([[np.nan, 1, -np.inf]] * 3, np.float32), device=where)
    loss = nll_loss(x, gpunn.tensor([0, 1, 2], device=where), reduction="none")
    np.testing.assert_array_equal(loss.numpy(), np.array([np.nan, -1, np.inf], np.float32))


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize(("label", "shown"), [(3, 3), (-1, -1), (2**40, 2**31 - 1)])
@pytest.mark.parametrize("op", ["nll_loss", "probability_cross_entropy"])
def test_kernel_reports_a_bad_label_and_reads_nothing_at_it(
    kernels: str, op: str, label: int, shown: int, reduction: str
) -> None:
    """The score and the weight at such an index would lie outside of the arrays, which the emulator refuses to read."""
    x = gpunn.ones(2, 3, device=kernels, requires_grad=True)
    target, weight = gpunn.tensor([0, label], device=kernels), gpunn.ones(3, device=kernels)
    loss = getattr(gpunn.nn.functional, op)(x, target, weight, reduction=reduction)
    loss.backward(None if reduction == "mean" else gpunn.ones(2, device=kernels))
    with pytest.raises(LabelError, match=rf"^{op}: label {shown} at position 1 is not a class index"):
        device(kernels).synchronize()
    assert np.isnan(loss.detach().numpy().reshape(-1)[-1])
    np.testing.assert_array_equal(x.grad.numpy()[1], [0, 0, 0])


def test_few_rows_are_one_launch(kernels: str) -> None:
    for rows, expected in ((1024, ["nll_parts"]), (1025, ["nll_parts", "nll_total"])):
        labels = gpunn.tensor(np.zeros(rows, np.int64), device=kernels)
        with dry_launches() as launches:
            nll_loss(gpunn.zeros(rows, 3, device=kernels), labels)
        assert [launch.kernel for launch in launches] == expected


def test_inputs_changed_before_backward_are_noticed() -> None:
    for changed in (0, 1):
        target, weight = gpunn.tensor([1, 0]), gpunn.ones(2)
        loss = nll_loss(gpunn.ones(2, 2, requires_grad=True), target, weight)
        (target, weight)[changed].fill_(0)
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()


def test_refuses() -> None:
    x = gpunn.ones(2, 3)
    labels = gpunn.tensor([0, 1])
    with pytest.raises(
        LabelError, match=r"^nll_loss: label 3 at position 1 is not a class index: .* 3 classes, 0 to 2"
    ):
        nll_loss(x, gpunn.tensor([0, 3]))
    with pytest.raises(LabelError, match="label -1 at position 0"):
        nll_loss(x, gpunn.tensor([-1, 3]))
    with pytest.raises(ShapeError, match=r"for input \(2, 3\) a target of shape \(2,\); got \(2, 3\).*one-hot"):
        nll_loss(x, x)
    with pytest.raises(ShapeError, match=r"expected input \(N, C\), \(C,\) or .* with C > 0; got \(2, 0\)"):
        nll_loss(gpunn.ones(2, 0), labels)
    with pytest.raises(ShapeError, match=r"got \(\)"):
        nll_loss(gpunn.ones(()), labels)
    with pytest.raises(DTypeError, match=r"got float32. Convert with target.to\('int64'\)"):
        nll_loss(x, gpunn.ones(2))
    with pytest.raises(DTypeError, match="input: expected a floating dtype"):
        nll_loss(gpunn.arange(3), gpunn.tensor(1))
    with pytest.raises(ShapeError, match=r"weight: expected one number for each of the 3 classes; got shape \(2,\)"):
        nll_loss(x, labels, gpunn.ones(2))
    with pytest.raises(DTypeError, match="weight: expected the input's dtype, float32; got float64"):
        nll_loss(x, labels, gpunn.ones(3, dtype=np.float64))
    with pytest.raises(UsageError, match="weight: expected a constant"):
        nll_loss(x, labels, gpunn.ones(3, requires_grad=True))
    with pytest.raises(UsageError, match="reduction: expected 'mean', 'sum' or 'none'; got 'max'"):
        nll_loss(x, labels, reduction="max")


def test_refuses_two_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match=f"cpu and {kernels}"):
        nll_loss(gpunn.ones(1, 3), gpunn.tensor([0], device=kernels))
    with pytest.raises(DeviceError, match=f"cpu and {kernels}"):
        nll_loss(gpunn.ones(1, 3), gpunn.tensor([0]), gpunn.ones(3, device=kernels))

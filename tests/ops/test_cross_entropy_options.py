"""cross_entropy with class weights, label smoothing, class probabilities and labels of any shape, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn.cpu import threads
from gpunn.errors import LabelError, UsageError
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.cross_entropy import cross_entropy
from tests.devices import EVERYWHERE
from tests.ops.losses import TOLERANCE
from tests.ops.test_nll_loss import class_cases, compare_with_torch
from tests.traces import dry_launches

SMOOTHING = st.sampled_from([0.0, 0.1, 0.5, 1.0])


@given(class_cases(), SMOOTHING)
@settings(max_examples=200, deadline=None)
def test_labels_match_torch_on_cpu(case: dict[str, Any], smoothing: float) -> None:
    compare_with_torch("cross_entropy", case, label_smoothing=smoothing)


@given(class_cases(), SMOOTHING)
@settings(max_examples=40, deadline=None)
def test_labels_match_torch_with_kernels(kernels: str, case: dict[str, Any], smoothing: float) -> None:
    compare_with_torch("cross_entropy", case, kernels, label_smoothing=smoothing)


def _compare_probabilities(where: str, case: dict[str, Any], smoothing: float) -> None:
    parity = pytest.importorskip("tests.parity")
    x = case["x"]
    target = np.asarray(case["rng"].random(x.shape), x.dtype)
    how = {"reduction": case["reduction"], "label_smoothing": smoothing}
    parity.compare(
        lambda x, target, weight: cross_entropy(x, target, weight, **how),
        lambda x, target, weight: parity.torch.nn.functional.cross_entropy(x, target, weight, **how),
        {"x": x, "target": target, "weight": case["weight"]},
        where,
        # Every loss is a sum over up to 6 classes of logarithms and products, all of one sign.
        5 * TOLERANCE[x.dtype],
        ("weight",),
        least_scale=1,
    )


@given(class_cases(), SMOOTHING)
@settings(max_examples=200, deadline=None)
def test_probabilities_match_torch_on_cpu(case: dict[str, Any], smoothing: float) -> None:
    _compare_probabilities("cpu", case, smoothing)


@given(class_cases(), SMOOTHING)
@settings(max_examples=15, deadline=None)
def test_probabilities_match_torch_with_kernels(kernels: str, case: dict[str, Any], smoothing: float) -> None:
    _compare_probabilities(kernels, case, smoothing)


# -- known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
def test_weights_and_smoothing_by_hand(where: str) -> None:
    """Three equal scores: every logarithm is -log 3."""
    x = gpunn.tensor(np.zeros((2, 3)), device=where, requires_grad=True)
    weight = gpunn.tensor(np.array([1.0, 2.0, 5.0]), device=where)
    target = gpunn.tensor([1, 2], device=where)
    loss = cross_entropy(x, target, weight, label_smoothing=0.3)
    loss.backward()
    smooth = 0.1 * np.array([1.0, 2.0, 5.0])
    a = np.array([[0, 1.4, 0], [0, 0, 3.5]]) + smooth
    assert loss.item() == pytest.approx(np.log(3) * a.sum() / 7, rel=1e-15)
    np.testing.assert_allclose(x.grad.numpy(), (a.sum(axis=1, keepdims=True) / 3 - a) / 7, rtol=0, atol=1e-16)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_extreme_scores_are_exact(where: str, smoothing: float) -> None:
    x = gpunn.tensor([[1e4, 0.0, -1e4, 0.0]], device=where, requires_grad=True)
    weight = gpunn.tensor([1.0, 2.0, 3.0, 4.0], device=where)
    loss = cross_entropy(x, gpunn.tensor([1], device=where), weight, reduction="sum", label_smoothing=smoothing)
    loss.backward()
    a = np.array([0, 2 * (1 - smoothing), 0, 0]) + smoothing / 4 * np.arange(1, 5)
    assert loss.item() == (a * [0, 1e4, 2e4, 1e4]).sum()
    assert x.grad.tolist() == [(np.array([a.sum(), 0, 0, 0]) - a).tolist()]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("classes", [1023, 1024, 1030, 12400])
def test_long_rows(where: str, classes: int) -> None:
    """By a warp, by a block, by a block without room for the row: against the definition in float64."""
    rng = np.random.Generator(np.random.Philox(classes))
    x, w = rng.standard_normal((2, classes)).astype(np.float32), rng.random(classes).astype(np.float32)
    target = np.array([classes - 1, 0])
    logits = gpunn.tensor(x, device=where, requires_grad=True)
    loss = cross_entropy(
        logits,
        gpunn.tensor(target, device=where),
        gpunn.tensor(w, device=where),
        reduction="sum",
        label_smoothing=0.2,
    )
    loss.backward()
    wide = x.astype(np.float64)
    log_p = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    a = np.tile(w.astype(np.float64) * 0.2 / classes, (2, 1))
    a[[0, 1], target] += 0.8 * w[target]
    assert loss.item() == pytest.approx(-(a * log_p).sum(), rel=2e-6)  # float32 sums of 12400: some roundings
    expected = np.exp(log_p) * a.sum(axis=1, keepdims=True) - a
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_one_impossible_class(where: str) -> None:
    """As PyTorch: weights do not make it count; smoothing does, and costs infinitely much."""
    weight = gpunn.tensor([1.0, 1.0, 2.0], device=where)
    for smoothing, expected in ((0.0, 2 * np.log(2)), (0.1, np.inf)):
        x = gpunn.tensor([[-np.inf, 0.0, 0.0]], device=where, requires_grad=True)
        target = gpunn.tensor([2], device=where)
        loss = cross_entropy(x, target, weight, reduction="sum", label_smoothing=smoothing)
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=1e-7)
        assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize(("dtype", "classes"), [(np.float32, 11776), (np.float64, 5888), (np.float64, 1000)])
def test_shared_memory_of_the_weighted_kernel(kernels: str, dtype: Any, classes: int) -> None:
    """With its four reductions' own arrays of 32 numbers, and a word, it must fit into the 48 KB of a block."""
    x, target = gpunn.zeros(20, classes, dtype=dtype, device=kernels), gpunn.arange(20, device=kernels)
    with dry_launches() as launches:
        cross_entropy(x, target, label_smoothing=0.1)
    assert launches[0].kernel == "cross_entropy_weighted_forward"
    assert launches[0].shared >= 39 * 1024
    assert launches[0].shared + 4 * 32 * np.dtype(dtype).itemsize + 16 <= 48 * 1024


def test_plain_case_keeps_its_own_kernel(kernels: str) -> None:
    x, target = gpunn.randn(4, 3, device=kernels), gpunn.tensor([2, 0, 1, 1], device=kernels)
    with trace_launches() as launches:
        cross_entropy(x, target)
        cross_entropy(x, target, gpunn.ones(3, device=kernels))
    assert [launch.kernel for launch in launches] == ["cross_entropy_forward", "cross_entropy_weighted_forward"]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_probabilities_backward_again_and_from_other_starts(where: str) -> None:
    """The stored gradients are neither scaled in place nor given away, and scaled by what comes back."""
    rng = np.random.Generator(np.random.Philox(4))
    x, t = (gpunn.tensor(rng.random((11, 3)), device=where, requires_grad=True) for _ in range(2))
    loss = cross_entropy(x, t, label_smoothing=0.1)
    found = []
    for start in (None, 1.0, 2.0, None):
        loss.backward(None if start is None else gpunn.tensor(np.array(start), device=where), retain_graph=True)
        found.append([leaf.grad.numpy().copy() for leaf in (x, t)])
        for leaf in (x, t):
            leaf.grad.zero_()
            leaf.grad = None
    for first, *others in zip(*found, strict=True):
        assert np.abs(first).max() > 0
        for other, times in zip(others, (1, 2, 1), strict=True):
            np.testing.assert_array_equal(other, times * first)


def test_probabilities_are_one_launch_and_their_gradients_none(kernels: str) -> None:
    x = gpunn.randn(20, 3, device=kernels, requires_grad=True)
    t = gpunn.ones(20, 3, device=kernels)
    with trace_launches() as launches:
        loss = cross_entropy(x * 1.0, t)
        loss.backward()
    assert [launch.kernel for launch in launches][1:-1] == ["cross_entropy_of_probabilities"]
    assert "cross_entropy" not in launches[0].kernel + launches[-1].kernel, "the product, forward and backward"


@pytest.mark.parametrize("where", EVERYWHERE)
def test_images_need_no_copy(where: str) -> None:
    """Scores (N, C, H, W) lie channels last, so their rows are there already."""
    x = gpunn.randn(2, 3, 4, 5, device=where, requires_grad=True)
    target = gpunn.tensor(np.arange(40).reshape(2, 4, 5) % 3, device=where)
    from gpunn.primitive import count_bodies

    with count_bodies() as counts:
        losses = cross_entropy(x, target, reduction="none")
        losses.sum().backward()
    assert losses.shape == (2, 4, 5)
    assert not any(name in ("batched_transpose", "elements_in_logical_order") for name, _ in counts)
    one = cross_entropy(
        gpunn.tensor(x.detach().numpy()[1, :, 2, 3][None]), gpunn.tensor([int(target.numpy()[1, 2, 3])])
    )
    assert losses.detach().numpy()[1, 2, 3] == pytest.approx(one.item(), rel=1e-6)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("how", [{}, {"label_smoothing": 0.1}])
def test_nothing_counts(where: str, how: dict[str, Any]) -> None:
    """As PyTorch: the mean is NaN, the gradient 0."""
    weight = gpunn.ones(3, device=where)
    for n in (0, 2):
        x = gpunn.ones(n, 3, device=where, requires_grad=True)
        target = gpunn.tensor(np.full(n, -100), device=where)
        loss = cross_entropy(x, target, weight, **how)
        loss.backward()
        assert np.isnan(loss.item())
        np.testing.assert_array_equal(x.grad.numpy(), np.zeros((n, 3)))
        assert cross_entropy(x, target, weight, reduction="sum", **how).item() == 0


def test_no_rows_of_probabilities() -> None:
    x = gpunn.zeros(0, 3, requires_grad=True)
    loss = cross_entropy(x, gpunn.zeros(0, 3))
    loss.backward()
    assert np.isnan(loss.item())
    assert x.grad.shape == (0, 3)
    assert cross_entropy(x, gpunn.zeros(0, 3), reduction="sum").item() == 0


def test_one_hot_probabilities_are_labels() -> None:
    rng = np.random.Generator(np.random.Philox(3))
    x, labels = gpunn.tensor(rng.standard_normal((6, 4))), rng.integers(0, 4, 6)
    by_label = cross_entropy(x, gpunn.tensor(labels), reduction="none", label_smoothing=0.2)
    by_row = cross_entropy(x, gpunn.tensor(np.eye(4)[labels]), reduction="none", label_smoothing=0.2)
    np.testing.assert_allclose(by_label.numpy(), by_row.numpy(), rtol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(reduction: str) -> None:
    rng = np.random.Generator(np.random.Philox(3))
    x = gpunn.tensor(rng.standard_normal((2, 3, 1, 2)), requires_grad=True)
    weight = gpunn.tensor(rng.random(3))
    how: dict[str, Any] = {"weight": weight, "reduction": reduction, "label_smoothing": 0.2}
    labels = gpunn.tensor(np.array([0, 2, -100, 1]).reshape(2, 1, 2))
    assert gradcheck(lambda a: cross_entropy(a, labels, **how), x)
    target = gpunn.tensor(rng.random((2, 3, 1, 2)), requires_grad=True)
    assert gradcheck(lambda a, t: cross_entropy(a, t, **how), [x, target])


def test_same_bits_with_one_thread_or_two() -> None:
    """Blocks of rows: an image's worth of labels, as in float64 in one go."""
    rng = np.random.Generator(np.random.Philox(3))
    x, labels = rng.standard_normal((2, 21, 90, 91)).astype(np.float32), rng.integers(0, 21, (2, 90, 91))
    found, before = [], threads.get_num_threads()
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            leaf = gpunn.tensor(x, requires_grad=True)
            loss = cross_entropy(leaf, gpunn.tensor(labels), label_smoothing=0.1)
            loss.backward()
            found.append((loss.item(), leaf.grad.numpy()))
    finally:
        threads.set_num_threads(before)
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    wide = x.astype(np.float64)
    log_p = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    a = 0.9 * np.eye(21)[labels].transpose(0, 3, 1, 2) + 0.1 / 21
    assert found[0][0] == pytest.approx(-(a * log_p).sum() / labels.size, rel=1e-6)  # a few roundings of every loss
    np.testing.assert_allclose(found[0][1] * labels.size, np.exp(log_p) - a, rtol=0, atol=2e-6)


# -- bad data -------------------------------------------------------------------------------------


def test_bad_label_of_an_image_is_found() -> None:
    target = np.zeros((2, 3, 3), np.int64)
    target[1, 1, 2] = 9
    with pytest.raises(LabelError, match="label 9 at position 14"):
        cross_entropy(gpunn.zeros(2, 4, 3, 3), gpunn.tensor(target), label_smoothing=0.1)


@pytest.mark.parametrize("label", [3, -1, 2**40])
def test_bad_label_with_weights_is_reported_and_reads_no_weight(kernels: str, label: int) -> None:
    """The weight at such an index would lie outside of the array, which the emulator refuses to read."""
    x = gpunn.zeros(2, 3, device=kernels, requires_grad=True)
    target = gpunn.tensor(np.array([0, label]), device=kernels)
    cross_entropy(x, target, gpunn.ones(3, device=kernels), label_smoothing=0.1).backward()
    with pytest.raises(LabelError, match="at position 1"):
        device(kernels).synchronize()
    np.testing.assert_array_equal(x.grad.numpy()[1], [0, 0, 0])


def test_weight_must_be_a_constant() -> None:
    with pytest.raises(UsageError, match="weight: expected a constant"):
        cross_entropy(gpunn.zeros(2, 3), gpunn.arange(2), gpunn.ones(3, requires_grad=True))

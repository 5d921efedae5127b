"""What gpunn.onnx.export accepts, refuses and writes; that the model is left as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DataError, UsageError
from gpunn.nn import functional as F
from tests.onnx_runs import Applied, compare, run

onnx = pytest.importorskip("onnx", reason="pip install onnx")
pytest.importorskip("onnxruntime", reason="what is exported is run in onnxruntime: pip install onnx onnxruntime")

X = np.random.Generator(np.random.Philox(1)).normal(size=(2, 4)).astype(np.float32)


class Inner(nn.Module):
    """A function in a layer that has a name."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.odd = Applied(function)

    def forward(self, x: Any) -> Any:
        return self.odd(self.first(x))


def _some_rows(x: Any) -> Any:
    y = x * 2
    y[:1] = 0
    return y


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: x.nonzero(), r"odd \(Applied\)|does not depend"),
        (lambda x: x * float(x.sum()), r"odd \(Applied\): mul: got .* in one run and .* in another"),
        (lambda x: x + gpunn.tensor(x.numpy()), r"odd \(Applied\): add: a tensor .* not computed by ops"),
        (lambda x: x + gpunn.randn(4), r"odd \(Applied\): add: a tensor .* or by chance, differs"),
        (lambda x: x.exp() if len(x) % 2 else x.log(), r"odd \(Applied\): from (exp|log) on the model calls other ops"),
        (lambda x: x * len(x) ** 2, r"odd \(Applied\): mul: a number was 4 in one run and 25 in another"),
        (lambda x: F.dropout(x, 0.5, True), r"odd \(Applied\): dropout: .*expected model\.eval\(\)"),
        (lambda x: F.mse_loss(x, x * 2), r"odd \(Applied\): mse_loss has no form in ONNX"),
        (lambda x: F.max_pool2d(x[:, None, :, None], (2, 1), return_indices=True)[1] + 1, "the indices of a pooling"),
        (lambda x: F.avg_pool1d(x, 2), r"odd \(Applied\): avg_pool1d: one item without a batch axis has no form"),
        (lambda x: F.adaptive_max_pool1d(x[:, None], 3), "adaptive_max_pool1d: windows of unequal size have no form"),
        (lambda x: F.fold(x[:, :, None], 2, 2), r"odd \(Applied\): fold has no form in ONNX"),
        (_some_rows, "assignment to some rows of a tensor whose first axis is dynamic"),
        (lambda x: x[x > 0], r"odd \(Applied\): .*mask"),
        (lambda x: gpunn.ones(3), "outputs that ops of gpunn compute from the inputs"),
        (lambda x: 3.0, "expected a model that returns tensors"),
    ],
)
def test_what_a_graph_cannot_say_is_refused_with_the_layers_name(function: Callable[[Any], Any], match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        gpunn.onnx.export(Inner(function), X)
    assert str(caught.value).startswith("onnx.export: ")
    assert len(str(caught.value)) < 500


def test_a_view_that_sees_a_change_in_place_is_refused() -> None:
    def stale(x: Any) -> Any:
        y = x * 1
        part = y[:, :2]
        y += 1
        return part * 2

    with pytest.raises(UsageError, match="changed in place through a view"):
        gpunn.onnx.export(Applied(stale), X)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"opset_version": 17}, r"opset_version: expected 18 to \d+"),
        ({"opset_version": 10_000}, r"opset_version: expected 18 to \d+"),
        ({"input_names": ["a", "b"]}, "input_names: expected 1 different ones"),
        ({"output_names": []}, "output_names: expected 1 different ones"),
        ({"output_names": ["x"]}, "'x' is the name of an input"),
        ({"dynamic_axes": {"y": {0: "n"}}}, "dynamic_axes: expected names out of x; got 'y'"),
        ({"dynamic_axes": {"x": [2]}}, r"dynamic_axes: 'x': expected axes of shape \(2, 4\); got 2"),
        ({"external_data": True}, "external_data: expected a file"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        gpunn.onnx.export(nn.Sequential(nn.Linear(4, 3)), X, **options)


def test_what_is_no_model_or_example_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model: expected a gpunn"):
        gpunn.onnx.export(3, X)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one tensor"):
        gpunn.onnx.export(nn.ReLU(), (3,))
    with pytest.raises(UsageError, match=r"of one length; got x \(2, 4\), y \(3, 4\)"):
        gpunn.onnx.export(_Two(), (X, np.zeros((3, 4), "f")))
    with pytest.raises(DataError, match=r"none.model\.onnx: could not be written"):
        gpunn.onnx.export(nn.ReLU(), X, tmp_path / "none" / "model.onnx")


class _Two(nn.Module):
    def forward(self, x: Any, y: Any, factor: float = 1.0) -> Any:
        return x @ y.transpose(-1, -2) * factor


def test_names_arguments_by_keyword_and_constants() -> None:
    proto = gpunn.onnx.export(_Two(), (X,), kwargs={"y": X, "factor": 3.0}, dynamic_axes={}, output_names=["product"])
    assert [one.name for one in proto.graph.input] == ["x", "y"]
    assert [one.name for one in proto.graph.output] == ["product"]
    assert proto.producer_name == "gpunn"
    np.testing.assert_allclose(run(proto, [X, X])[0], X @ X.T * 3, rtol=1e-5)  # sums of four terms
    renamed = gpunn.onnx.export(_Two(), (X, X), input_names=["left", "right"], dynamic_axes={})
    assert [one.name for one in renamed.graph.input] == ["left", "right"]


@pytest.mark.parametrize("opset", [18, 21, onnx.defs.onnx_opset_version()])
def test_the_graph_is_valid_in_every_version_of_the_operators(opset: int) -> None:
    """onnxruntime may not know the newest; the checker does, and export calls it."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.AvgPool2d(2, ceil_mode=True), nn.Flatten(), nn.Softmax(1))
    proto = gpunn.onnx.export(model, np.zeros((1, 1, 7, 7), np.float32), opset_version=opset)
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", opset)]
    if opset <= 21:
        assert run(proto, [np.zeros((3, 1, 7, 7), np.float32)])[0].shape == (3, 36)


def test_a_model_on_another_device(kernels: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).to(kernels)
    x = np.random.Generator(np.random.Philox(2)).normal(size=(3, 1, 8, 8)).astype(np.float32)
    (found,) = run(gpunn.onnx.export(model, x), [x])
    # Sums of some forty terms of the order of 1.
    np.testing.assert_allclose(found, model.cpu()(gpunn.tensor(x)).detach().numpy(), rtol=0, atol=1e-5)


def test_float64_and_a_network_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Tanh(), nn.LayerNorm(3)).to("float64")
    proto = compare(model, [X.astype(float)], [np.vstack([X, X]).astype(float)])
    assert proto.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[1].eval()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    gpunn.onnx.export(model, X)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert sys.getprofile() is None
    with pytest.raises(ZeroDivisionError):
        gpunn.onnx.export(Applied(lambda x: x / (1 // 0)), X)
    assert sys.getprofile() is None
    assert gpunn.is_grad_enabled()


def test_a_profiler_in_the_way_is_told() -> None:
    sys.setprofile(lambda *args: None)
    try:
        with pytest.raises(UsageError, match="a profiler is watching"):
            gpunn.onnx.export(nn.ReLU(), X)
    finally:
        sys.setprofile(None)


def test_an_op_of_the_users_own_is_what_its_forward_computes() -> None:
    class Cube(gpunn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * x * x

    compare(Applied(Cube.apply), [X], [X[:1]])


def test_shared_and_unused_parameters() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x)), x, x

    proto = compare(Tied(), [X], [X[:1]])
    assert sorted(tensor.name for tensor in proto.graph.initializer) == ["a.bias", "a.weight", "b.bias"]


def test_weights_in_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 300), nn.Linear(300, 3), nn.ReLU())
    path = tmp_path / "model.onnx"
    expected = run(gpunn.onnx.export(model, X), [X])[0]
    gpunn.onnx.export(model, X, path, external_data=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert path.stat().st_size < 2000 < (tmp_path / "model.onnx.data").stat().st_size
    np.testing.assert_array_equal(run(str(path), [X])[0], expected)
    # Also where one file could not hold them.
    monkeypatch.setattr("gpunn.onnx._file._MOST_BYTES", 5000)
    big = tmp_path / "big.onnx"
    gpunn.onnx.export(model, X, big)
    assert (tmp_path / "big.onnx.data").is_file()
    with pytest.raises(UsageError, match="GB of weights need a file"):
        gpunn.onnx.export(model, X)
    np.testing.assert_array_equal(run(str(big), [X])[0], expected)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"needs the package onnx .*: pip install 'gpunn\[onnx\]'"):
        gpunn.onnx.export(nn.ReLU(), X)

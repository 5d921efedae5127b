"""Two devices in lockstep: they agree where they should, and a layer that is spoilt on one of them is named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.cli.main import main
from gpunn.errors import UsageError
from gpunn.nn import functional as F
from gpunn.primitive import REGISTRY
from gpunn.random import default_generator


class Spoilt(gpunn.Function):
    """x * 2, wrong in one way on every device but ``cpu``."""

    @staticmethod
    def forward(ctx: Any, x: Any, how: str) -> Any:
        ctx.how = how if x.device.name != "cpu" else ""
        y = x * 2
        if ctx.how == "numbers":
            return y * 1.001
        if ctx.how == "one number":
            return y + gpunn.tensor(np.eye(1, y.numel(), 3, dtype=np.float32).reshape(y.shape), device=y.device)
        if ctx.how == "nan":
            return y * math.nan
        if ctx.how == "shape":
            return y[:, :-1]
        if ctx.how == "dtype":
            return y.to(np.float64)
        if ctx.how == "error":
            raise RuntimeError("no such kernel")
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        if ctx.how == "gradient error":
            raise RuntimeError("no gradient here")
        return dy * (1.9 if ctx.how == "gradient" else 2), None


class Twice(nn.Module):
    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.register_buffer("seen", gpunn.zeros(1))

    def forward(self, x: Any) -> Any:
        if self.how == "buffer" and x.device.name != "cpu":
            self.seen += 1
        return Spoilt.apply(x, self.how)


class Block(nn.Module):
    """A residual block whose own code has a parameter and works in place; it may be called several times."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 3, 3, padding=1)  # its bias has a gradient of rounding errors alone
        self.norm = nn.BatchNorm2d(3)
        self.act = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(gpunn.ones(1))

    def forward(self, x: Any) -> Any:
        y = self.norm(self.conv(x))
        y += x
        if self.how == "between" and x.device.name != "cpu":
            y = y + 0.01
        return self.act(y * self.scale)


class Net(nn.Module):
    """Branches, reused layers, two inputs, nested outputs, dropout, layers that are not called."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(2, 3))
        self.block = Block(how)
        self.drop = nn.Dropout(0.3)
        self.twice = Twice(how)
        self.head = nn.Linear(27, 4)
        self.aux = nn.Linear(4, 4)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Any, offset: Any) -> Any:
        h = self.stem(x).reshape(-1, 3, 3, 3)
        h = F.dropout(self.block(self.block(h)).flatten(1), 0.2)  # by the default generator, not by a layer's own
        h = self.twice(self.drop(h))
        scores = self.head(h)
        return {"twice": self.aux(self.aux(scores)) + offset, "others": (scores.exp(), [offset * 2])}


def batch() -> tuple[Any, None]:
    rng = np.random.Generator(np.random.Philox(3))
    return (rng.standard_normal((2, 1, 6, 6), np.float32), rng.standard_normal((2, 4), np.float32)), None


def names(report: Any) -> list[str]:
    return [layer.place for layer in report.layers if layer.diverges]


# -- devices that agree ----------------------------------------------------------------------------


def test_agrees_and_changes_nothing(kernels: str) -> None:
    model = Net()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    state = default_generator().get_state()
    report = gpunn.lockstep(model, batch(), ("cpu", kernels))
    assert report.agrees, str(report)
    assert report.first is None
    # Ten times less than is tolerated, so that the tolerance is no matter of luck.
    assert max(d.ratio for layer in report.layers for d in layer.differences) < 0.5
    assert all(layer.accumulated is None or layer.accumulated < 1e-5 for layer in report.layers)
    assert default_generator().get_state() == state
    assert {name: value.numpy().tolist() for name, value in model.state_dict().items()} == {
        name: value.tolist() for name, value in before.items()
    }
    assert all(p.grad is None and p.device.name == "cpu" for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    rows = [(layer.name, layer.call) for layer in report.layers]
    assert rows[:4] == [("stem.0", 1), ("stem.1", 1), ("stem.2", 1), ("stem.3", 1)]
    assert ("block.conv", 2) in rows
    assert ("aux", 2) in rows
    assert rows[-1] == ("stem.0 + stem.1 + stem.2", 1)
    assert "unused" not in dict(rows)
    assert f"{report.devices[1]} agrees with cpu" in str(report).splitlines()[-1]


def test_what_is_compared() -> None:
    report = gpunn.lockstep(Net(), batch(), ("cpu", "cpu"))
    found = {layer.place: [d.what for d in layer.differences] for layer in report.layers}
    assert found["block.norm (BatchNorm2d)"] == [
        "buffer running_mean",
        "buffer running_var",
        "buffer num_batches_tracked",
        "output",
        "gradient of input",
        "gradient of weight",
        "gradient of bias",
    ]
    assert found["aux (Linear, call 2)"] == ["output", "gradient of input", "gradient of weight", "gradient of bias"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("training", [True, False])
def test_labels_and_losses(dtype: str, training: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.PReLU(), nn.Linear(8, 2)).to(dtype).train(training)
    rng = np.random.Generator(np.random.Philox(3))
    x = rng.standard_normal((5, 3)).astype(dtype)
    report = gpunn.lockstep(model, (x, np.array([0, 1, 1, 0, 1])), ("cpu", "cpu"))
    assert report.layers[-1].place == "loss (CrossEntropyLoss)"
    assert report.agrees
    squares = gpunn.lockstep(model, (x, x[:, :2].copy()), ("cpu", "cpu"), loss=nn.MSELoss())
    assert squares.layers[-1].place == "loss (MSELoss)"
    own = gpunn.lockstep(model, (x, x[:, :2].copy()), ("cpu", "cpu"), loss=lambda y, t: ((y - t) ** 2).sum())
    assert own.agrees
    assert own.layers[-1].name == "3"


def test_inputs_of_whole_numbers_and_no_gradient(kernels: str) -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 2)).requires_grad_(False)
    report = gpunn.lockstep(model, np.array([[1, 2, 6], [0, 0, 3]]), ("cpu", kernels))
    assert report.agrees, str(report)
    assert {d.what for layer in report.layers for d in layer.differences} == {"output"}


def test_sums_of_parameters_that_cancel_are_no_fault(kernels: str) -> None:
    class Cancels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            numbers = np.random.Generator(np.random.Philox(1)).standard_normal(3000)
            self.weight = nn.Parameter(gpunn.tensor((numbers - numbers.mean()).astype(np.float32)))

        def forward(self, x: Any) -> Any:
            return x + self.weight.sum()

    report = gpunn.lockstep(Cancels(), np.zeros((1, 1), np.float32), ("cpu", kernels))
    (output,) = [d for d in report.layers[0].differences if d.what == "output"]
    assert report.agrees, str(report)
    assert output.relative > 1e-5, "this sum is all rounding"


def test_models_with_habits_of_their_own(kernels: str) -> None:
    """Hooks, a result that is kept, a part without gradients, a call that fails and is caught, tied weights."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(7, 5)
            self.linear = nn.Linear(5, 5)
            self.linear.register_forward_hook(lambda module, args, output: output * 2)
            self.kept: Any = None

        def forward(self, numbers: Any) -> Any:
            x = self.embedding(numbers).mean(1)
            with gpunn.no_grad():
                still = self.linear(x)
            with pytest.raises(gpunn.errors.ShapeError):
                self.linear(x.reshape(-1))
            self.kept = self.linear(x) + still
            return self.kept @ self.embedding.weight.t(), self.kept.argmax(1)

    model = Odd()
    numbers = np.array([[1, 2], [3, 6], [0, 0]])
    model(numbers)
    report = gpunn.lockstep(model, numbers, ("cpu", kernels))
    assert report.agrees, str(report)
    assert not model.kept.is_leaf
    calls = [(layer.name, layer.call) for layer in report.layers]
    assert calls == [("embedding", 1), ("linear", 1), ("linear", 3)]


# -- devices that do not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "layer", "what"),
    [
        ("numbers", "twice (Twice)", "output by "),
        ("one number", "twice (Twice)", "output by 1 (0.0"),
        ("nan", "twice (Twice)", "output: nan instead of "),
        ("shape", "twice (Twice)", "output: shape (2, 26) instead of (2, 27)"),
        ("dtype", "twice (Twice)", "output: dtype float64 instead of float32"),
        ("error", "twice (Twice)", "RuntimeError: no such kernel"),
        ("gradient", "twice (Twice)", "gradient of input by "),
        ("gradient error", "twice (Twice)", "RuntimeError: no gradient here"),
        ("buffer", "twice (Twice)", "buffer seen by 1"),
        ("between", "block (Block)", "input of block.act by 0.01 "),
    ],
)
def test_the_spoilt_layer_is_named_and_no_other(kernels: str, how: str, layer: str, what: str) -> None:
    report = gpunn.lockstep(Net(how), batch(), ("cpu", kernels))
    assert report.first is not None
    assert report.first.place == layer, str(report)
    assert what in report.verdict() or what in str(report)
    assert {name.replace(", call 2", "") for name in names(report)} == {layer}
    assert not report.agrees
    assert "DIVERGES: " in str(report)


@pytest.mark.parametrize(
    ("primitive", "layer", "backward"),
    [
        ("max_pool2d_forward", "stem.2 (MaxPool2d)", False),
        ("batch_norm_normalise", "block.norm (BatchNorm2d)", False),
        ("batch_norm_backward", "block.norm (BatchNorm2d, call 2)", True),
    ],
)
def test_a_broken_kernel(kernels: str, primitive: str, layer: str, backward: bool, monkeypatch: Any) -> None:
    body = REGISTRY[primitive].kernel_body

    def broken(device: Any, *args: Any, **kwargs: Any) -> Any:
        results = body(device, *args, **kwargs)
        first = results[0] if isinstance(results, tuple) else results
        with device.active():
            first.reshape(-1)[-1:] += 0.01
        return results

    monkeypatch.setattr(REGISTRY[primitive], "kernel_body", broken)
    monkeypatch.setattr(REGISTRY[primitive], "_plans", None)
    report = gpunn.lockstep(Net(), batch(), ("cpu", kernels))
    assert report.first is not None, str(report)
    assert report.first.place == layer
    assert report.first.forward_diverges is not backward
    kind = layer.partition(" (")[0]
    assert all(name.startswith(kind) for name in names(report) if "+" not in name)


def test_a_fault_of_the_fused_op_alone(monkeypatch: Any) -> None:
    forward = nn.Linear.forward

    def broken(self: Any, x: Any, activation: str | None = None) -> Any:
        return forward(self, x, activation=activation) * (1.001 if activation else 1)

    monkeypatch.setattr(nn.Linear, "forward", broken)
    model = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3), nn.Tanh())
    report = gpunn.lockstep(model, np.ones((2, 4), np.float32), ("cpu", "cpu"))
    assert names(report) == ["0 + 1 (Linear + ReLU)"]
    assert report.first is not None
    assert report.first.place == "0 + 1 (Linear + ReLU)"


# -- usage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.ReLU(), np.ones(3, np.float32), "cpu"), "devices: expected two, such as"),
        ((nn.ReLU(), np.ones(3, np.float32), ("cpu",)), "devices: expected two, such as"),
        ((3, np.ones(3, np.float32)), "model: expected a gpunn.nn.Module; got int"),
        ((nn.ReLU(), (1, 2, 3)), "expected an input or \\(input, target\\); got 3 parts"),
        ((nn.ReLU(), "x"), "batch: expected tensors or arrays; got str"),
    ],
)
def test_refuses(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gpunn.lockstep(*arguments)


def test_a_loss_needs_a_target() -> None:
    with pytest.raises(UsageError, match="loss: it needs a target"):
        gpunn.lockstep(nn.ReLU(), np.ones(3, np.float32), ("cpu", "cpu"), loss=nn.MSELoss())


def test_an_error_of_the_reference_is_the_models() -> None:
    with pytest.raises(gpunn.errors.ShapeError, match="Linear"):
        gpunn.lockstep(nn.Linear(3, 2), np.ones((2, 4), np.float32), ("cpu", "cpu"))


def test_the_command(tmp_path: Path, capsys: Any, kernels: str) -> None:
    net = tmp_path / "net.py"
    net.write_text(
        "from gpunn import nn\n\n\nclass Wrong(nn.Module):\n    def forward(self, x):\n"
        "        return x * 2 if x.device.name == 'cpu' else x * 3\n\n\n"
        "def Net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3), Wrong())\n\n\n"
        "def Right():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n"
    )
    words = ["lockstep", f"{net}:Net", "--input", "3,2,2", "--devices", f"cpu,{kernels}"]
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{net}:Net: from {net}; input 3x2x2, batch 2, float32"
    assert lines[-1].startswith("2 (Wrong) is the first that diverges on ")
    assert main([*words[:1], f"{net}:Right", *words[2:], "--dtype", "float64", "--eval"]) == 0
    assert " agrees with cpu: 3 calls of layers" in capsys.readouterr().out

"""Training in 16 bits: ``Trainer(autocast=)``, what it scales, leaves out and keeps."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._half import bfloat16_dtype
from gpunn.amp import GradScaler, autocast
from gpunn.cli.main import main
from gpunn.data import DataLoader, DeviceLoader, TensorDataset
from gpunn.errors import TrainingError, UsageError
from gpunn.optim import SGD
from gpunn.train import Trainer
from tests.devices import EVERYWHERE

HALVES = [pytest.param("float16"), pytest.param("bfloat16")]


@pytest.fixture(autouse=True)
def _has_bfloat16() -> None:
    pytest.importorskip("ml_dtypes")


def network() -> nn.Sequential:
    gpunn.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def arrays(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.random.Generator(np.random.Philox(1)).normal(0, 1, (n, 4)).astype(np.float32), np.arange(n) % 3


def data() -> TensorDataset:
    return TensorDataset(*arrays(22))


def made(where: str = "cpu", model: nn.Module | None = None, **options: Any) -> Trainer:
    model = network() if model is None else model
    return Trainer(model, SGD(model.parameters(), lr=0.5, momentum=0.9), device=where, log=None, **options)


def state(model: nn.Module) -> list[np.ndarray]:
    return [value.detach().numpy().copy() for value in model.state_dict().values()]


def by_hand(
    where: str, dtype: str, epochs: int, scaler: GradScaler, clip: float | None
) -> tuple[nn.Module, list[bool]]:
    """The loop of PyTorch's manual, and which steps it left out."""
    model = network().to(where)
    optimizer, criterion = SGD(model.parameters(), lr=0.5, momentum=0.9), nn.CrossEntropyLoss()
    left_out = []
    for _ in range(epochs):
        for x, labels in DataLoader(data(), 8, device=where):
            optimizer.zero_grad()
            with autocast(model[0].weight.device.type, getattr(gpunn, dtype)):
                loss = criterion(model(x), labels)
            scaler.scale(loss).backward()
            before = scaler.get_scale()
            scaler.unscale_(optimizer)
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            scaler.step(optimizer)
            scaler.update()
            left_out.append(scaler.get_scale() < before)
    return model, left_out


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_it_is_the_loop_of_pytorchs_manual_bit_for_bit(
    where: str, dtype: str, capture: bool, clip: float | None
) -> None:
    wanted, left_out = by_hand(where, dtype, 2, GradScaler(enabled=dtype == "float16"), clip)
    assert not any(left_out)
    trainer = made(where, autocast=dtype, capture=capture, clip_grad_norm=clip)
    trainer.fit(DataLoader(data(), 8, device=where), epochs=2)
    for ours, theirs in zip(state(trainer.model), state(wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype in (np.float32, np.int64)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", HALVES)
def test_training_and_tests_compute_in_16_bits(where: str, dtype: str) -> None:
    model, seen = network(), []
    model[0].register_forward_hook(lambda module, args, output: seen.append((module.training, output.dtype.name)))
    loader, tests = (DataLoader(data(), 22, device=where) for _ in range(2))
    trainer = made(where, model, autocast=getattr(gpunn, dtype), capture=False)
    trainer.fit(loader, tests)
    assert seen == [(True, dtype), (False, dtype)]
    assert not gpunn.is_autocast_enabled("cpu")
    assert not gpunn.is_autocast_enabled("cuda")
    seen.clear()
    made(where, model, capture=False).fit(loader, tests)
    assert seen == [(True, "float32"), (False, "float32")]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", HALVES)
def test_pieces_of_a_batch_and_images_on_the_device(where: str, dtype: str) -> None:
    x, labels = arrays(22)
    images = TensorDataset(x.reshape(22, 1, 2, 2), labels)
    whole, split, other = (
        made(where, nn.Sequential(nn.Flatten(), network()[0], network()[3]), autocast=dtype, accumulate=pieces)
        for pieces in (1, 3, 1)
    )
    whole.fit(DeviceLoader(images, 8, device=where), epochs=2)
    split.fit(DeviceLoader(images, 8, device=where), epochs=2)
    other.fit(DataLoader(images, 8, device=where), epochs=2)
    for a, b, c in zip(*(state(trainer.model) for trainer in (whole, split, other)), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_allclose(a, b, rtol=0, atol=0.02)  # six steps of 0.5 with gradients of 8 bits; weights near 1


class Loud(nn.Module):
    """Scores so large that their gradients, scaled by 65,536, are not finite in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        return self.inner(x * 64.0) * 64.0


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("capture", [True, False])
def test_steps_that_overflow_are_left_out_and_the_scale_shrinks(where: str, capture: bool) -> None:
    gpunn.manual_seed(3)
    trainer = made(where, Loud(), autocast="float16", capture=capture)
    before = state(trainer.model)
    trainer.fit(DataLoader(data(), 22, device=where))
    assert trainer.history[0].skipped == 1
    assert 1 < trainer.history[0].train_loss < 1000  # it was finite, and is told
    for a, b in zip(before, state(trainer.model), strict=True):  # running statistics too
        np.testing.assert_array_equal(a, b)
    assert trainer._train_step.scaler.get_scale() == 32768
    trainer.fit(DataLoader(data(), 22, device=where), epochs=20)
    assert 0 < sum(r.skipped for r in trainer.history) < 12
    assert not np.array_equal(before[0], state(trainer.model)[0])
    assert trainer._train_step.scaler.get_scale() < 32768


def test_a_resumed_run_goes_on_with_its_scale(tmp_path: Any) -> None:
    whole = made(model=Loud(), autocast="float16", out=tmp_path / "whole")
    whole.fit(DataLoader(data(), 8), epochs=4)
    scale = whole._train_step.scaler.get_scale()
    assert scale < 65536
    made(model=Loud(), autocast="float16", out=tmp_path / "cut").fit(DataLoader(data(), 8), epochs=2)
    rest = made(model=Loud(), autocast="float16", out=tmp_path / "cut")
    rest.resume()
    rest.fit(DataLoader(data(), 8), epochs=2)
    assert rest._train_step.scaler.get_scale() == scale
    for a, b in zip(state(whole.model), state(rest.model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["autocast"] == "float16"


def test_where_every_step_overflows_training_ends() -> None:
    model = network()
    model[0].weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(TrainingError, match=r"more than 100 steps in a row .* compute in bfloat16"):
        made(model=model, autocast="float16").fit(DataLoader(data(), 4), epochs=200)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_loss_that_is_not_finite_ends_training_where_that_is_wanted(dtype: str) -> None:
    x, labels = arrays(16)
    x[8:] = np.nan
    bad = TensorDataset(x, labels)
    with pytest.raises(TrainingError, match=r"training loss became nan at step 2 .* images given to 0"):
        made(autocast=dtype).fit(DataLoader(bad, 8))
    trainer = made(autocast=dtype, not_finite="skip")
    trainer.fit(DataLoader(bad, 8))
    assert trainer.history[0].skipped == 1


def test_a_layer_that_overflows_in_float16_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    with gpunn.no_grad():
        model[0].weight.fill_(1e30)  # finite in float32, and in no product of 16 bits
    with pytest.raises(TrainingError, match=r"0 \(Linear\) is the first layer whose output is not finite"):
        made(model=model, autocast="float16").fit(DataLoader(data(), 8))


@pytest.mark.parametrize("wrong", ["float32", np.float64, 16, "bf16"])
def test_other_dtypes_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="Trainer: autocast: expected 'float16', 'bfloat16' or None"):
        made(autocast=wrong)


# -- the command -----------------------------------------------------------------------------------


def test_the_command_trains_in_16_bits_and_goes_on_so(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    asked = ["--autocast", "float16", "--precision", "tf32"]
    rest = ["--device", "cpu", "--batch-size", "256", "--lr", "0.05"]
    assert main(["train", "mlp", *rest, *asked, "--epochs", "2", "--max-steps", "3", "--out", str(out)]) == 0
    assert ", in float16 and float32 products by tf32." in capsys.readouterr().out
    assert gpunn.get_precision() == "fp32"
    config = json.loads((out / "config.json").read_text())
    assert config["autocast"] == "float16"
    command = config["command"]
    assert command[command.index("--precision") + 1] == "tf32"
    assert main(["train", "--resume", str(out), "--autocast", "bfloat16"]) == 2
    assert "--autocast: a resumed run keeps its own" in capsys.readouterr().err
    assert main(["eval", str(out), "--device", "cpu"]) == 0


@pytest.mark.parametrize("asked", [None, "tf32"])
def test_the_command_computes_products_as_asked(
    asked: str | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, fit = [], Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda *args: (seen.append(gpunn.get_precision()), fit(*args))[1])
    monkeypatch.chdir(tmp_path)
    more = [] if asked is None else ["--precision", asked]
    assert main(["train", "mlp", "--device", "cpu", "--max-steps", "1", "--no-save", *more]) == 0
    assert seen == [asked or "fp32"]
    assert gpunn.get_precision() == "fp32"


def test_the_command_leaves_nothing_where_bfloat16_is_not_there(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    bfloat16_dtype.cache_clear()
    assert main(["train", "mlp", "--autocast", "bfloat16", "--device", "cpu"]) == 1
    assert "pip install 'gpunn[bf16]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_other_types(capsys: pytest.CaptureFixture[str]) -> None:
    for flag, wrong in (("--autocast", "float32"), ("--precision", "fp16")):
        assert main(["train", "mlp", flag, wrong]) == 2
        assert f"argument {flag}: expected one of" in capsys.readouterr().err

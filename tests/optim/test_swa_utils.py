"""Averaged models, the schedule that goes with them, and batch normalisation's statistics, against PyTorch."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed
swa = importlib.import_module("gpunn.optim.swa_utils")


def _of(library: Any) -> Any:
    return importlib.import_module(f"{library.__name__}.optim.swa_utils")


def _model(library: Any, seed: int) -> Any:
    rng = np.random.Generator(np.random.Philox(seed))
    model = library.nn.Sequential(library.nn.Linear(3, 4), library.nn.BatchNorm1d(4), library.nn.Linear(4, 2))
    for tensor in (*model.parameters(), *(b for b in model.buffers() if b.ndim)):
        tensor.data.copy_(library.tensor(rng.uniform(0.5, 1.5, tuple(tensor.shape)).astype(np.float32)))
    return model


AVERAGES: list[Any] = [
    lambda library: {},
    lambda library: {"use_buffers": True},
    lambda library: {"avg_fn": _of(library).get_swa_avg_fn()},
    lambda library: {"avg_fn": _of(library).get_ema_avg_fn(0.75), "use_buffers": False},
    lambda library: {"multi_avg_fn": _of(library).get_swa_multi_avg_fn()},
    lambda library: {"multi_avg_fn": _of(library).get_ema_multi_avg_fn(0.75)},
]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("options", AVERAGES)
def test_averages_match_torch(where: str, options: Any) -> None:
    torch = pytest.importorskip("torch")
    states = []
    for library in (gpunn, torch):
        place = {"device": where} if library is gpunn else {}
        averaged = _of(library).AveragedModel(_model(library, 0), **place, **options(library))
        for seed in (1, 2, 3):
            averaged.update_parameters(_model(library, seed))
        assert not averaged.module[0].weight.grad_fn if library is torch else averaged.module[0].weight.is_leaf
        states.append({name: value.detach().numpy() for name, value in averaged.state_dict().items()})
    assert list(states[0]) == list(states[1])
    for name, mine in states[0].items():
        np.testing.assert_allclose(mine, states[1][name], rtol=1e-6, err_msg=name)  # some float32 roundings
    assert states[0]["n_averaged"] == 3


def test_runs_and_trains_like_its_model() -> None:
    model = _model(gpunn, 0)
    averaged = swa.AveragedModel(model)
    x = gpunn.ones(5, 3)
    assert averaged(x).tolist() == model(x).tolist()
    model[0].weight.data.zero_()
    assert averaged.module[0].weight.abs().sum().item() > 0  # it is a copy
    assert averaged.module[0].weight.requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"swa_lr": 0.1, "anneal_epochs": 4},
        {"swa_lr": [0.1, 0.2], "anneal_epochs": 4, "anneal_strategy": "linear"},
        {"swa_lr": 0.9, "anneal_epochs": 0},
        {"swa_lr": 0.05, "anneal_epochs": 1},
        {"swa_lr": 0.05},
    ],
)
def test_rates_match_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rates: list[list[Any]] = []
    for library in (gpunn, torch):
        first, second = (library.ones(2, requires_grad=True) for _ in range(2))
        optimizer = library.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.3}], lr=0.5)
        schedule = _of(library).SWALR(optimizer, **options)
        rates.append([])
        for _ in range(12):
            rates[-1].append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            schedule.step()
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-12)


def test_statistics_match_torch() -> None:
    torch = pytest.importorskip("torch")
    batches = np.random.Generator(np.random.Philox(4)).standard_normal((3, 5, 3)).astype(np.float32)
    found = []
    for library in (gpunn, torch):
        model = _model(library, 0)
        model.eval()
        model[1].momentum = 0.25
        for loader in ([library.tensor(b) for b in batches], [[library.tensor(b), 0] for b in batches]):
            _of(library).update_bn(loader, model, device="cpu")
        assert not model[1].training
        assert model[1].momentum == 0.25
        found.append([model[1].running_mean.numpy(), model[1].running_var.numpy()])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)  # means of float32 sums
    swa.update_bn([1 / 0 for _ in ()], gpunn.nn.Linear(2, 2))


def test_refusals() -> None:
    model, mean = gpunn.nn.Linear(2, 2), swa.get_swa_avg_fn()
    optimizer = gpunn.optim.SGD(model.parameters(), lr=0.1)
    for text, call in (
        (
            "AveragedModel: expected avg_fn or multi_avg_fn; got both",
            lambda: swa.AveragedModel(model, None, mean, mean),
        ),
        ("AveragedModel: model: expected an nn.Module; got list", lambda: swa.AveragedModel([model])),
        ("get_ema_avg_fn: decay: expected a number from 0 to 1; got 2", lambda: swa.get_ema_avg_fn(2)),
        ("get_ema_multi_avg_fn: decay: expected a number", lambda: swa.get_ema_multi_avg_fn(-1)),
        ("SWALR: anneal_strategy: expected 'cos' or 'linear'", lambda: swa.SWALR(optimizer, 0.1, 3, "step")),
        ("SWALR: swa_lr: expected one for each of 1", lambda: swa.SWALR(optimizer, [0.1, 0.2])),
        ("SWALR: anneal_epochs: expected a whole number of at least 0", lambda: swa.SWALR(optimizer, 0.1, -1)),
    ):
        with pytest.raises(UsageError, match=text):
            call()

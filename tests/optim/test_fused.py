"""What all optimisers share: state by parameter, step counts, refusals, copies, and captured steps."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import CaptureError, LabelError, UsageError
from gpunn.optim import lr_scheduler
from gpunn.primitive import count_bodies
from gpunn.train import Callback, Trainer

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("LAMB", {}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {"momentum_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"betas": (0.9, 0.9), "weight_decay": 0.1}),  # rectified from the sixth step on
]


def _make(kind: str, p: Any, options: dict[str, Any]) -> Any:
    return getattr(optim, kind)(p, lr=0.05, **options)


def _stepped(kind: str, options: dict[str, Any], steps: int = 2) -> tuple[list[gpunn.Tensor], Any]:
    gpunn.manual_seed(3)
    params = [gpunn.randn(3, requires_grad=True), gpunn.randn(2, 3, 2, 2, requires_grad=True)]
    optimizer = _make(kind, params, options)
    for _ in range(steps):
        _step(params, optimizer)
    return params, optimizer


def _step(params: list[gpunn.Tensor], optimizer: Any) -> None:
    for i, p in enumerate(params):
        p.grad = (p.detach() * 0.5 + float(i + 1)).detach()
    optimizer.step()


def _bytes(params: list[gpunn.Tensor]) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in params)


# -- state ----------------------------------------------------------------------------------------


def test_state_is_keyed_by_the_parameter_itself() -> None:
    params, optimizer = _stepped("Adam", {})
    p = params[0]
    assert p in optimizer.state
    assert all(a is b for a, b in zip(optimizer.state, params, strict=True))
    assert optimizer.state[p]["exp_avg"].shape == p.shape
    assert optimizer.state[p]["step"].item() == 2
    assert optimizer.state[p]["step"].shape == ()
    # Equal values are not the same parameter.
    twin = gpunn.tensor(p.detach().numpy())
    assert twin not in optimizer.state
    assert optimizer.state.get(twin) is None
    assert optimizer.state[twin] == {}, "as in PyTorch, asking makes an entry"
    del optimizer.state[twin]
    assert len(optimizer.state) == 2
    with pytest.raises(UsageError, match="expected a parameter as the key; got int"):
        optimizer.state[0] = {}


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_has_parameters_and_state_of_its_own(kind: str, options: dict[str, Any], how: str) -> None:
    params, optimizer = _stepped(kind, options)
    both = params, optimizer
    twins, twin = copy.deepcopy(both) if how == "deepcopy" else pickle.loads(pickle.dumps(both))
    assert all(a is b for a, b in zip(twin.state, twins, strict=True))
    _step(params, optimizer)
    assert _bytes(params) != _bytes(twins)
    _step(twins, twin)
    assert _bytes(params) == _bytes(twins)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_loaded_state_goes_on_as_the_saved_one(kind: str, options: dict[str, Any]) -> None:
    params, optimizer = _stepped(kind, options)
    twins = [gpunn.tensor(p.detach().numpy(), requires_grad=True) for p in params]
    other = getattr(optim, kind)(twins, lr=1.0)
    other.load_state_dict(optimizer.state_dict())
    for _ in range(2):
        _step(params, optimizer)
        _step(twins, other)
    assert _bytes(params) == _bytes(twins)
    saved, loaded = optimizer.state_dict(), other.state_dict()
    assert saved["param_groups"] == loaded["param_groups"]
    for i, buffers in saved["state"].items():
        for name, buffer in buffers.items():
            assert not np.shares_memory(buffer.array, loaded["state"][i][name].array), name


def test_step_counts_of_older_files_may_be_numbers() -> None:
    params, optimizer = _stepped("Adam", {})
    saved = optimizer.state_dict()
    for buffers in saved["state"].values():
        buffers["step"] = 7
    optimizer.load_state_dict(saved)
    assert optimizer.state[params[0]]["step"].item() == 7


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_buffers_follow_a_model_that_is_moved(kernels: str, kind: str, options: dict[str, Any]) -> None:
    weights = []
    for move in (False, True):
        gpunn.manual_seed(1)
        net = nn.Linear(3, 2)
        optimizer = _make(kind, net.parameters(), options)
        for number in range(4):
            if move and number == 2:
                net.to(kernels)
            for p in net.parameters():
                p.grad = gpunn.ones(*p.shape, device=p.device)
            optimizer.step()
        for p in net.parameters():
            for name, buffer in optimizer.state[p].items():
                assert buffer.device.name == ("cpu" if name in ("step", "mu_product") else p.device.name)
        weights.append(np.concatenate([p.detach().numpy().ravel() for p in net.parameters()]))
    # Some roundings of numbers of order one, in another order.
    np.testing.assert_allclose(weights[0], weights[1], rtol=0, atol=1e-6)


# -- the step -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_one_call_of_one_primitive_for_all_parameters(kind: str, options: dict[str, Any]) -> None:
    params, optimizer = _stepped(kind, options, steps=1)
    with count_bodies() as counts:
        _step(params, optimizer)
    name = {"AdamW": "adam_step"}.get(kind, f"{kind.lower()}_step")
    assert counts[name, "numpy"] == 1


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_closure_is_called_first_and_its_loss_returned(kind: str, options: dict[str, Any]) -> None:
    p = gpunn.ones(2, requires_grad=True)
    optimizer = _make(kind, [p], options)

    def closure() -> gpunn.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2
    assert p.detach().numpy()[0] < 1


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_parameters_without_a_gradient_stay_and_one_that_does_not_fit_is_refused(kind: str, options: Any) -> None:
    used, unused = gpunn.ones(2, requires_grad=True), gpunn.ones(2, requires_grad=True)
    optimizer = _make(kind, [used, unused], options)
    used.grad = gpunn.ones(2)
    optimizer.step()
    assert unused.tolist() == [1.0, 1.0]
    assert used.tolist() != [1.0, 1.0]
    used.grad = gpunn.ones(3)
    with pytest.raises(UsageError, match=f"{kind}: expected a gradient of shape"):
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.Adam(p, lr=-1.0), "Adam: lr: expected a number >= 0"),
        (lambda p: optim.Adam(p, betas=(1.0, 0.9)), r"betas\[0\]: expected a number >= 0 and < 1; got 1.0"),
        (lambda p: optim.Adam(p, betas=cast(Any, 0.9)), "betas: expected two numbers"),
        (lambda p: optim.AdamW(p, weight_decay=-1), "AdamW: weight_decay"),
        (lambda p: optim.LAMB(p, eps=float("nan")), "LAMB: eps"),
        (lambda p: optim.LAMB(p, betas=(0.9, 1.5)), r"LAMB: betas\[1\]"),
        (lambda p: optim.RMSprop(p, alpha=-0.1), "RMSprop: alpha"),
        (lambda p: optim.RMSprop(p, momentum=-0.1), "RMSprop: momentum"),
        (lambda p: optim.Adagrad(p, lr_decay=-1), "Adagrad: lr_decay"),
        (lambda p: optim.Adagrad([{"params": p, "eps": -1}]), "Adagrad: eps"),
        (lambda p: optim.Adam([{"params": p, "momentum": 1}]), "unknown options .'momentum'"),
        (lambda p: optim.Adadelta(p, lr=-1.0), "Adadelta: lr"),
        (lambda p: optim.Adadelta(p, rho=2.0), "Adadelta: rho: expected a number from 0 to 1; got 2.0"),
        (lambda p: optim.Adamax(p, eps=-1.0), "Adamax: eps"),
        (lambda p: optim.Adamax(p, betas=(0.5, 1.0)), r"Adamax: betas\[1\]"),
        (lambda p: optim.NAdam(p, momentum_decay=-1.0), "NAdam: momentum_decay"),
        (lambda p: optim.NAdam(p, betas=cast(Any, 0.5)), "NAdam: betas: expected two numbers"),
        (lambda p: optim.RAdam(p, weight_decay=cast(Any, "a")), "RAdam: weight_decay"),
        (lambda p: optim.RAdam(p, differentiable=True), "RAdam: differentiable=True is not supported"),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make([gpunn.ones(3, requires_grad=True)])


# -- captured -------------------------------------------------------------------------------------


class _Run:
    """A small network trained with kernels and with a schedule that changes the rate in every step."""

    def __init__(self, kernels: str, kind: str, options: dict[str, Any], captured: bool, clip: bool = False) -> None:
        gpunn.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).to(kernels)
        self.optimizer = _make(kind, optim.decay_groups(self.net, 0.01), options)
        self.schedule = lr_scheduler.ExponentialLR(self.optimizer, 0.8)
        self.clip = clip
        self.kernels = kernels
        self.labels = gpunn.tensor([0, 1, 1], device=kernels)
        self.norms: list[float] = []
        self.run: Any = gpunn.capture(self._step) if captured else self._step

    def _step(self, x: gpunn.Tensor) -> Any:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), self.labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), 0.1) if self.clip else loss
        self.optimizer.step()
        return loss, norm

    def train(self, steps: int) -> None:
        for number in range(steps):
            x = gpunn.tensor(np.sin(np.arange(9, dtype=np.float32).reshape(3, 3) + number), device=self.kernels)
            self.norms.append(self.run(x)[1].item())
            self.schedule.step()

    def bytes(self) -> bytes:
        buffers = [b for p in self.net.parameters() for b in self.optimizer.state[p].values()]
        return _bytes([*self.net.parameters(), *buffers])


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_captured_equals_eager_to_the_bit(kernels: str, kind: str, options: dict[str, Any]) -> None:
    """Bias corrections, step counts and a changing rate go on from replay to replay."""
    eager, captured = _Run(kernels, kind, options, False), _Run(kernels, kind, options, True)
    for run in (eager, captured):
        run.train(9)
    assert captured.run.graphs == 1
    assert captured.bytes() == eager.bytes()


def test_clipping_is_captured(kernels: str) -> None:
    eager, captured = _Run(kernels, "Adam", {}, False, clip=True), _Run(kernels, "Adam", {}, True, clip=True)
    for run in (eager, captured):
        run.train(5)
    assert captured.norms == eager.norms
    assert min(eager.norms) > 0.1, "nothing was clipped"
    assert len(set(eager.norms)) == 5
    assert captured.bytes() == eager.bytes()


@pytest.mark.parametrize("kind", ["Adam", "NAdam"])
def test_two_steps_in_one_captured_step_count_twice(kernels: str, kind: str) -> None:
    """Each launch has device words of its own: their bias corrections differ."""
    found = []
    for captured in (False, True):
        p = gpunn.ones(3, device=kernels, requires_grad=True)
        p.grad = gpunn.tensor([1.0, 2.0, 3.0], device=kernels)
        optimizer = getattr(optim, kind)([p], lr=0.1, betas=(0.5, 0.9))

        def step(x: gpunn.Tensor, optimizer: Any = optimizer) -> None:
            optimizer.step()
            optimizer.step()

        run = gpunn.capture(step) if captured else step
        for _ in range(4):
            run(gpunn.ones(1, device=kernels))
        assert optimizer.state[p]["step"].item() == 8
        found.append(p.detach().numpy().tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("kind", "options", "change"),
    [
        ("Adam", {}, {"amsgrad": True}),
        ("RMSprop", {}, {"centered": True}),
        ("RMSprop", {"momentum": 0.9}, {"momentum": 0}),
    ],
)
def test_a_replay_refuses_another_form_of_the_rule(
    kernels: str, kind: str, options: Any, change: dict[str, Any]
) -> None:
    run = _Run(kernels, kind, options, True)
    run.train(3)
    before = run.bytes()
    run.optimizer.param_groups[0].update(change)
    with pytest.raises(CaptureError, match="capture it again"):
        run.train(1)
    assert run.bytes() == before


def test_a_replay_refuses_step_counts_that_have_parted(kernels: str) -> None:
    run = _Run(kernels, "Adam", {}, True)
    run.train(3)
    run.optimizer.state[run.net[0].weight]["step"].fill_(1)
    with pytest.raises(CaptureError, match="no longer have"):
        run.train(1)


def test_a_replay_refuses_products_of_nadam_that_have_parted(kernels: str) -> None:
    run = _Run(kernels, "NAdam", {}, True)
    run.train(3)
    run.optimizer.state[run.net[0].weight]["mu_product"].fill_(0.5)
    with pytest.raises(CaptureError, match="the same step and mu_product no longer have"):
        run.train(1)


@pytest.mark.parametrize("kind", ["Adadelta", "Adamax", "NAdam", "RAdam"])
def test_options_that_change_between_replays_are_followed(kernels: str, kind: str) -> None:
    """What reaches the kernel as a number may change, and with it for RAdam whether steps are rectified."""
    changes: dict[str, Any] = {"lr": 0.2, "eps": 1e-2, "weight_decay": 0.3, "maximize": True}
    changes |= {"rho": 0.5} if kind == "Adadelta" else {"betas": (0.5, 0.6)}
    changes |= {"decoupled_weight_decay": True} if kind in ("NAdam", "RAdam") else {}
    changes |= {"momentum_decay": 0.5} if kind == "NAdam" else {}
    runs = _Run(kernels, kind, {}, False), _Run(kernels, kind, {}, True)
    seen = [set[bytes](), set[bytes]()]
    for name, value in changes.items():
        for run, found in zip(runs, seen, strict=True):
            run.train(2)
            run.optimizer.param_groups[0][name] = value
            run.train(1)
            found.add(run.bytes())
    assert runs[1].run.graphs == 1
    assert runs[0].bytes() == runs[1].bytes()
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("captured", [True, False])
def test_a_label_out_of_range_stops_the_update(kernels: str, kind: str, options: Any, captured: bool) -> None:
    """The loss's kernel has set the error buffer, which the update's reads."""
    run = _Run(kernels, kind, options, captured)
    run.train(3)

    def numbers() -> bytes:
        states = [run.optimizer.state[p] for p in run.net.parameters()]
        buffers = [b for state in states for name, b in state.items() if name not in ("step", "mu_product")]
        return _bytes([*run.net.parameters(), *buffers])

    before = numbers()
    run.labels.copy_(np.array([0, 9, 1]))
    with pytest.raises(LabelError, match="label 9 at position 1"):
        run.train(1)
    assert numbers() == before
    run.labels.copy_(np.array([0, 1, 1]))
    run.train(1)
    assert numbers() != before


@pytest.mark.parametrize(("kind", "options"), [k for k in KINDS if k[0] != "SGD"])
@pytest.mark.parametrize("capture", [True, False])
def test_a_trainer_skips_a_loss_that_is_not_finite(kernels: str, kind: str, options: Any, capture: bool) -> None:
    """Parameters and buffers stay as the step before has left them."""
    kept: list[bytes] = []
    x = np.sin(np.arange(60, dtype=np.float32)).reshape(20, 3)
    x[10, 1] = np.nan
    gpunn.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).to(kernels)
    optimizer = _make(kind, net.parameters(), options)

    class Keep(Callback):
        def on_progress(self, trainer: Any, progress: Any) -> None:
            states = [optimizer.state[p] for p in net.parameters()]
            buffers = [b for state in states for name, b in state.items() if name not in ("step", "mu_product")]
            kept.append(_bytes([*net.parameters(), *buffers]))

    trainer = Trainer(net, optimizer, device=kernels, log=None, capture=capture, not_finite="skip", callbacks=[Keep()])
    trainer._read_every = 1
    trainer.fit(DataLoader(TensorDataset(x, np.arange(20) % 2), 4, device=kernels))
    assert trainer.history[0].skipped == 1
    assert len(kept) == 5
    assert kept[2] == kept[1]
    assert len(set(kept)) == 4


@pytest.mark.parametrize(("kind", "options"), [k for k in KINDS if k[0] != "SGD"])
def test_a_first_step_cannot_be_captured(kernels: str, kind: str, options: dict[str, Any]) -> None:
    run = _Run(kernels, kind, options, True)
    run.train(1)
    run.optimizer.state.clear()
    with pytest.raises(CaptureError, match=r"the first step creates .* cannot be captured; run one step first"):
        run.train(1)


def test_a_replay_uses_a_state_that_was_loaded_after_the_capture(kernels: str) -> None:
    donor = _Run(kernels, "Adam", {}, False)
    donor.train(5)
    runs = _Run(kernels, "Adam", {}, True), _Run(kernels, "Adam", {}, False)
    for run in runs:
        run.train(3)
        run.optimizer.load_state_dict(donor.optimizer.state_dict())
        run.train(2)
    assert runs[0].bytes() == runs[1].bytes()


def test_changing_betas_between_steps_is_followed() -> None:
    """Bias corrections use the rates of the step, as PyTorch's."""
    torch = pytest.importorskip("torch")
    mine, other = gpunn.ones(2, dtype=np.float64, requires_grad=True), torch.ones(2, dtype=torch.float64)
    ours, theirs = optim.Adam([mine], lr=0.1), torch.optim.Adam([other.requires_grad_()], lr=0.1)
    for number in range(5):
        mine.grad, other.grad = gpunn.tensor(np.full(2, number - 1.5)), torch.full((2,), number - 1.5).double()
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["betas"] = (0.8 + 0.02 * number, 0.99)
            optimizer.step()
    assert mine.detach().numpy()[0] == pytest.approx(other.detach().numpy()[0], abs=1e-14)
    assert math.isfinite(mine.detach().numpy()[0])

"""Numbers out of their range in layers, initial values, losses, optimisers, transforms: refused where PyTorch refuses.

Beyond PyTorch, NaN is refused, and so are numbers that mean nothing, such as a negative momentum. What PyTorch accepts
and means something is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.data import transforms as typed_transforms
from gpunn.errors import GpunnError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed  # what is refused is not of the annotated types
transforms: Any = typed_transforms
nn, optim = gpunn.nn, gpunn.optim
NAN, INF = math.nan, math.inf
NO_NUMBERS = ("a", None, [1.0, 2.0], object())


def _x(package: Any) -> Any:
    return package.ones(4, 3)


def _functional(package: Any) -> Any:
    return package.nn.functional


def _with_gradient(package: Any) -> list[Any]:
    p = package.ones(3, requires_grad=True)
    (p * 2).sum().backward()
    return [p]


def _optimizer(name: str, option: str) -> Callable[[Any, Any], Any]:
    def make(package: Any, v: Any) -> Any:
        given = {"betas": {"beta1": (v, 0.9), "beta2": (0.9, v)}.get(option)} if "beta" in option else {option: v}
        getattr(package.optim, name)(_with_gradient(package), **given).step()

    return make


# What is called with the package and the number -> numbers refused, numbers accepted.
TABLE: dict[str, tuple[Callable[[Any, Any], Any], tuple[Any, ...], tuple[Any, ...]]] = {
    "BatchNorm1d eps": (lambda m, v: m.nn.BatchNorm1d(3, eps=v)(_x(m)), (-1, -1e-9, NAN, 0, -INF), (1e-5, 2, INF)),
    "BatchNorm1d eps, eval": (lambda m, v: m.nn.BatchNorm1d(3, eps=v).eval()(_x(m)), (-1, NAN), (0, 0.0, 1)),
    "batch_norm eps": (
        lambda m, v: _functional(m).batch_norm(_x(m), m.zeros(3), m.ones(3), eps=v),
        (-1, -0.5, NAN, -INF),
        (0, 1e-5, 1),
    ),
    "batch_norm eps in training": (
        lambda m, v: _functional(m).batch_norm(_x(m), None, None, training=True, eps=v),
        (-1, NAN, 0),
        (1e-5, 1),
    ),
    "BatchNorm1d momentum": (
        lambda m, v: m.nn.BatchNorm1d(3, momentum=v)(_x(m)),
        (-1, NAN, -INF),
        (0, 0.3, 1, 2, None),
    ),
    "batch_norm momentum": (
        lambda m, v: _functional(m).batch_norm(_x(m), m.zeros(3), m.ones(3), training=True, momentum=v),
        (-1, NAN, -INF),
        (0, 0.3, 1, 2),
    ),
    "LayerNorm eps": (lambda m, v: m.nn.LayerNorm(3, eps=v)(_x(m)), (-1, NAN, -INF), (0, 1e-5, 2)),
    "layer_norm eps": (lambda m, v: _functional(m).layer_norm(_x(m), (3,), eps=v), (-1, NAN, -INF), (0, 1e-5, 2)),
    "GroupNorm eps": (lambda m, v: m.nn.GroupNorm(1, 3, eps=v)(_x(m)), (-1, NAN, -INF), (0, 1e-5, 2)),
    "group_norm eps": (lambda m, v: _functional(m).group_norm(_x(m), 1, eps=v), (-1, NAN, -INF), (0, 1e-5, 2)),
    "Dropout p": (lambda m, v: m.nn.Dropout(v)(_x(m)), (-1, -1e-9, 1.5, NAN, INF, -INF), (0, 1, 0.25)),
    "dropout p": (lambda m, v: _functional(m).dropout(_x(m), v), (-1, 1.5, NAN, INF), (0, 1, 0.25)),
    "LeakyReLU slope": (lambda m, v: m.nn.LeakyReLU(v)(_x(m)), (NAN,), (-1, 0, 2, -0.5)),
    "ELU alpha": (lambda m, v: m.nn.ELU(v)(_x(m)), (NAN,), (0, 2, 0.5)),
    "Softplus beta": (lambda m, v: m.nn.Softplus(v)(_x(m)), (NAN,), (1, 0.5)),
    "Hardtanh min": (lambda m, v: m.nn.Hardtanh(v, 1)(_x(m)), (NAN, 1, 2, INF), (-1, 0, -INF)),
    "Hardtanh max": (lambda m, v: m.nn.Hardtanh(-1, v)(_x(m)), (NAN, -1, -2, -INF), (0, 2, INF)),
    "hardtanh max": (lambda m, v: _functional(m).hardtanh(_x(m), 0, v), (NAN, -1, -INF), (0, 2, INF)),
    "PReLU init": (lambda m, v: m.nn.PReLU(1, v)(_x(m)), (), (-1, 0, 0.25)),
    "ConstantPad1d value": (lambda m, v: m.nn.ConstantPad1d(1, v)(_x(m)), (), (-1, 0.5, INF, NAN)),
    "CrossEntropyLoss smoothing": (
        lambda m, v: m.nn.CrossEntropyLoss(label_smoothing=v)(_x(m), m.tensor([0, 1, 2, 0])),
        (-0.5, 1.5, NAN, INF),
        (0, 1, 0.1),
    ),
    "cross_entropy smoothing": (
        lambda m, v: _functional(m).cross_entropy(_x(m), m.tensor([0, 1, 2, 0]), label_smoothing=v),
        (-0.5, 1.5, NAN, INF),
        (0, 1.0, 0.1),
    ),
    "HuberLoss delta": (lambda m, v: m.nn.HuberLoss(delta=v)(_x(m), _x(m)), (-1, 0, NAN), (1, 0.5)),
    "huber_loss delta": (lambda m, v: _functional(m).huber_loss(_x(m), _x(m), delta=v), (-1, 0, NAN), (1, 0.5)),
    "SmoothL1Loss beta": (lambda m, v: m.nn.SmoothL1Loss(beta=v)(_x(m), _x(m)), (-1, NAN), (0, 1, 0.5)),
    "smooth_l1_loss beta": (lambda m, v: _functional(m).smooth_l1_loss(_x(m), _x(m), beta=v), (-1, NAN), (0, 1, 0.5)),
    "init.normal_ std": (lambda m, v: m.nn.init.normal_(_x(m), 0, v), (-1, -1e-9, NAN, -INF), (0, 0.5, 2)),
    "init.normal_ mean": (lambda m, v: m.nn.init.normal_(_x(m), v, 1), (NAN,), (-1, 0, 2.5)),
    "init.uniform_ low": (lambda m, v: m.nn.init.uniform_(_x(m), v, 0), (1, NAN, INF, -INF), (-1, 0, -0.5)),
    "init.uniform_ high": (lambda m, v: m.nn.init.uniform_(_x(m), 0.5, v), (-1, 0, NAN, INF), (0.5, 2)),
    "init.trunc_normal_ std": (lambda m, v: m.nn.init.trunc_normal_(_x(m), 0, v), (-1, NAN, -INF), (0.5, 2)),
    "init.trunc_normal_ mean": (lambda m, v: m.nn.init.trunc_normal_(_x(m), v), (NAN, INF, -INF), (-1, 0, 2)),
    "init.trunc_normal_ a": (lambda m, v: m.nn.init.trunc_normal_(_x(m), 0, 1, v, 1), (2, NAN, INF), (-1, 0)),
    "init.constant_": (lambda m, v: m.nn.init.constant_(_x(m), v), (), (-1, 0.5, INF)),
    "init.xavier_uniform_ gain": (lambda m, v: m.nn.init.xavier_uniform_(_x(m), v), (-1, NAN, INF, -INF), (0, 2, 0.5)),
    "init.xavier_normal_ gain": (lambda m, v: m.nn.init.xavier_normal_(_x(m), v), (-1, NAN, -INF), (0, 2, 0.5)),
    "init.kaiming_uniform_ a": (lambda m, v: m.nn.init.kaiming_uniform_(_x(m), v), (NAN,), (-1, 0, 2, None)),
    "init.kaiming_normal_ a": (lambda m, v: m.nn.init.kaiming_normal_(_x(m), v), (NAN,), (-1, 0, 2, None)),
    "init.orthogonal_ gain": (lambda m, v: m.nn.init.orthogonal_(_x(m), v), (NAN,), (-1, 0, 2)),
    "Tensor.normal_ std": (lambda m, v: _x(m).normal_(0, v), (-1, NAN, -INF), (0, 0.5, 2)),
    "Tensor.normal_ mean": (lambda m, v: _x(m).normal_(v, 1), (NAN,), (-1, 0, 2.5)),
    "Tensor.uniform_ low": (lambda m, v: _x(m).uniform_(v, 0), (1, NAN, INF, -INF), (-1, 0, -0.5)),
    "Tensor.uniform_ high": (lambda m, v: _x(m).uniform_(0.5, v), (-1, 0, NAN, INF), (0.5, 2)),
    "clip_grad_norm_": (lambda m, v: m.nn.utils.clip_grad_norm_(_with_gradient(m), v), (NAN,), (0, 0.5, 2)),
    "clip_grad_value_": (lambda m, v: m.nn.utils.clip_grad_value_(_with_gradient(m), v), (NAN,), (0, 0.5, 2)),
    "SGD dampening": (_optimizer("SGD", "dampening"), (NAN,), (-1, 0, 0.5, 2)),
    **{
        f"{name} {option}": (_optimizer(name, option), (-1, -1e-9, NAN, -INF), (0, 0.5, 2))
        for name, options in {
            "SGD": ("lr", "momentum", "weight_decay"),
            "Adam": ("lr", "eps", "weight_decay"),
            "AdamW": ("lr", "eps", "weight_decay"),
            "RMSprop": ("lr", "alpha", "eps", "weight_decay", "momentum"),
            "Adagrad": ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"),
        }.items()
        for option in options
        if option != "alpha"
    },
    **{
        f"{name} {option}": (_optimizer(name, option), (-1, 1, 1.0, 2, NAN, INF), (0.0, 0.5))
        for name in ("Adam", "AdamW")
        for option in ("beta1", "beta2")
    },
}


@pytest.mark.parametrize("name", TABLE)
def test_numbers_in_layers_and_the_like(name: str) -> None:
    make, refused, accepted = TABLE[name]
    for number in refused:
        with pytest.raises(GpunnError, match="expected"):
            make(gpunn, number)
    for number in accepted:
        make(gpunn, number)
        if number is not None:
            make(gpunn, np.float64(number))
    for nothing in NO_NUMBERS:
        if nothing not in accepted:
            with pytest.raises(GpunnError):
                make(gpunn, nothing)


@pytest.mark.parametrize("name", TABLE)
def test_what_pytorch_refuses_is_refused(name: str) -> None:
    torch = pytest.importorskip("tests.parity").torch
    make, _, accepted = TABLE[name]
    for number in (-1.0, -0.5, 0.0, 0.25, 1.0, 1.5, INF, -INF):
        try:
            make(torch, number)
        except Exception:  # whichever class it chooses
            with pytest.raises(GpunnError):
                make(gpunn, number)
        else:
            if number in accepted:
                make(gpunn, number)
    for number in accepted:
        make(torch, number)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_infinite_bounds_of_hardtanh_are_none(where: str) -> None:
    x = gpunn.tensor([-3.0, 0.5, 3.0], device=where, requires_grad=True)
    y = nn.functional.hardtanh(x, -INF, 1.0)
    assert y.tolist() == [-3.0, 0.5, 1.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0]
    assert nn.Hardtanh(0.0, INF)(x).tolist() == [0.0, 0.5, 3.0]


def test_refusals_name_layer_and_argument() -> None:
    for make, message in (
        (lambda: nn.BatchNorm2d(3, eps=-1), "BatchNorm2d: eps: expected a number of at least 0; got -1"),
        (lambda: nn.BatchNorm1d(3, momentum=NAN), "BatchNorm1d: momentum: expected a number of at least 0; got nan"),
        (lambda: nn.LayerNorm(3, eps="a"), "LayerNorm: eps: expected a number of at least 0; got 'a'"),
        (lambda: nn.Hardtanh(2, 1), "Hardtanh: expected min_val < max_val; got 2 and 1"),
        (lambda: nn.ConstantPad2d(1, "a"), "ConstantPad2d: value: expected a number; got 'a'"),
        (lambda: nn.init.normal_(gpunn.ones(2), 0, -1), "normal_: std: expected a number of at least 0; got -1"),
        (lambda: nn.init.uniform_(gpunn.ones(2), 1, 0), "uniform_: expected an interval, low <= high.*got 1 and 0"),
        (lambda: gpunn.ones(2).uniform_(1, 0), "uniform_: expected an interval"),
        (lambda: nn.init.trunc_normal_(gpunn.ones(2), NAN), "trunc_normal_: mean: expected a finite number; got nan"),
        (
            lambda: nn.init.xavier_normal_(gpunn.ones(2, 2), -1),
            "xavier_normal_: gain: expected a finite",
        ),
        (lambda: nn.init.constant_(gpunn.ones(2), None), "constant_: val: expected a number; got None"),
        (lambda: nn.init.normal_(gpunn.ones(2), generator=3), "normal_: generator: expected a gpunn.Generator"),
        (lambda: gpunn.Generator(0).normal(0, -1, (2,)), "Generator.normal: std"),
        (lambda: gpunn.Generator(0).uniform(1, 0, (2,)), "Generator.uniform: expected an interval"),
        (lambda: optim.SGD([gpunn.ones(1)], dampening=NAN), "SGD: dampening: expected a finite number; got nan"),
    ):
        with pytest.raises(UsageError, match=f"^{message}"):
            make()
    model = nn.Sequential(nn.BatchNorm1d(3, eps=0))
    with pytest.raises(UsageError, match=r"^0 \(BatchNorm1d\): eps: expected a number above 0"):
        model(gpunn.ones(4, 3))


def test_a_number_changed_later_is_looked_at_too() -> None:
    for layer in (nn.BatchNorm1d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3)):
        layer.eps = -1.0
        with pytest.raises(UsageError, match=f"{type(layer).__name__}: eps: expected a number"):
            layer(gpunn.ones(4, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transforms.RandomCrop(0), "RandomCrop: size: expected a whole number of at least 1; got 0"),
        (lambda: transforms.RandomCrop((4, -1)), "RandomCrop: size"),
        (lambda: transforms.RandomCrop((4, 4, 4)), "RandomCrop: size: expected one length or"),
        (lambda: transforms.RandomCrop(4.5), "RandomCrop: size"),
        (lambda: transforms.RandomCrop(4, -1), "RandomCrop: padding: expected a whole number of at least 0; got -1"),
        (lambda: transforms.RandomCrop(4, NAN), "RandomCrop: padding"),
        (lambda: transforms.RandomCrop(4, 1, NAN), "RandomCrop: fill: expected a finite number; got nan"),
        (
            lambda: transforms.RandomHorizontalFlip(1.5),
            "RandomHorizontalFlip: p: expected a number from 0 to 1; got 1.5",
        ),
        (lambda: transforms.RandomVerticalFlip(NAN), "RandomVerticalFlip: p"),
        (lambda: transforms.RandomVerticalFlip("a"), "RandomVerticalFlip: p"),
        (lambda: transforms.Cutout(-1), "Cutout: size"),
        (lambda: transforms.Cutout(2, INF), "Cutout: fill"),
        (lambda: transforms.ColorJitter(-0.1), "ColorJitter: brightness: expected a finite number of at least 0"),
        (lambda: transforms.ColorJitter(contrast=NAN), "ColorJitter: contrast"),
        (lambda: transforms.ColorJitter(saturation=(1.0, 0.5)), "ColorJitter: saturation: expected a range, lower end"),
        (lambda: transforms.ColorJitter(saturation=(1.0, INF)), "ColorJitter: saturation"),
        (lambda: transforms.ColorJitter("a"), "ColorJitter: brightness"),
        (lambda: transforms.ColorJitter(0.1, std=0), "ColorJitter: std: expected a finite number above 0; got 0"),
        (lambda: transforms.ColorJitter(0.1, mean=NAN), "ColorJitter: mean"),
        (lambda: transforms.Normalize(0, 0), "Normalize: std: expected a finite number above 0; got 0"),
        (lambda: transforms.Normalize([0, NAN], 1), "Normalize: mean: expected a finite number; got nan"),
        (lambda: transforms.Normalize(0, [1, INF]), "Normalize: std"),
        (lambda: transforms.Normalize(0, "a"), "Normalize: std"),
        (lambda: transforms.Normalize([], 1), "Normalize: mean: expected one number"),
    ],
)
def test_transforms(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        make()


def test_transforms_take_numpys_numbers() -> None:
    assert transforms.RandomCrop(np.int64(3), np.int8(1)).size == (3, 3)
    assert transforms.Cutout(np.int64(3)).size == 3
    assert transforms.RandomHorizontalFlip(np.float32(0.5)).p == 0.5
    assert transforms.Normalize(np.array([0.5]), gpunn.tensor([0.5]).numpy()).std == [0.5]
    assert transforms.ColorJitter((0.5, np.float32(2))).ranges["brightness"] == (0.5, 2.0)

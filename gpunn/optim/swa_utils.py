"""Averages of weights: stochastic weight averaging (SWA) and exponential moving averages (EMA) of a model.

Izmailov, Podoprikhin, Garipov, Vetrov, Wilson 2018, "Averaging weights leads to wider optima and better
generalization".
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

from gpunn import tape
from gpunn._calls import explains_all
from gpunn._creation import tensor
from gpunn._default_device import default_device
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.optim.lr_scheduler.base import LRScheduler, number, numbers, whole
from gpunn.optim.optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

_AverageOfOne = Callable[[Tensor, Tensor, Any], Any]
_AverageOfAll = Callable[[Any, Any, Any], None]


def get_swa_avg_fn() -> _AverageOfOne:
    """The mean of all that was averaged: ``f(averaged, new, n)`` after n of them.

    Returns
    -------
    callable
    """

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> _AverageOfOne:
    """The exponential moving average: ``decay`` times the old value, and the rest of the new one.

    Parameters
    ----------
    decay : float
        From 0 to 1.

    Returns
    -------
    callable

    Raises
    ------
    UsageError
        If it is no number from 0 to 1.
    """
    number("get_ema_avg_fn", "decay", decay, lambda d: 0 <= d <= 1, "a number from 0 to 1")

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_multi_avg_fn() -> _AverageOfAll:
    """The same as :func:`get_swa_avg_fn`, of lists of tensors, the first of which are changed.

    Returns
    -------
    callable
    """

    def swa_update(averaged_param_list: Any, current_param_list: Any, num_averaged: Any) -> None:
        for old, new in zip(averaged_param_list, current_param_list, strict=True):
            if old.dtype.kind in FLOATING:
                old.lerp_(new, 1 / (float(num_averaged) + 1))
            else:
                old.add_((new - old) // (int(num_averaged) + 1))

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> _AverageOfAll:
    """The same as :func:`get_ema_avg_fn`, of lists of tensors, the first of which are changed.

    Parameters
    ----------
    decay : float
        From 0 to 1.

    Returns
    -------
    callable

    Raises
    ------
    UsageError
        If it is no number from 0 to 1.
    """
    number("get_ema_multi_avg_fn", "decay", decay, lambda d: 0 <= d <= 1, "a number from 0 to 1")

    def ema_update(ema_param_list: Any, current_param_list: Any, num_averaged: Any) -> None:
        for old, new in zip(ema_param_list, current_param_list, strict=True):
            if old.dtype.kind in FLOATING:
                old.lerp_(new, 1 - decay)
            else:
                old.copy_((old * decay + new * (1 - decay)).to(old.dtype))

    return ema_update


class AveragedModel(Module):
    """A copy of a model whose weights are the average of those it was shown.

    Parameters
    ----------
    model : Module
        Is copied.
    device : Device or str, optional
        Where the copy goes.
    avg_fn : callable, optional
        ``avg_fn(averaged, new, n)`` returns the new average of a parameter after n models; the mean if not given.
    multi_avg_fn : callable, optional
        The same of lists of all parameters, the first of which it changes.
    use_buffers : bool
        Whether buffers are averaged too. If not, those of the last model are copied.

    Attributes
    ----------
    module : Module
        The copy, also under ``forward``.
    n_averaged : Tensor
        How many models were averaged; a buffer.

    Shape
    -----
    As of the model.

    Raises
    ------
    UsageError
        If both functions are given.

    References
    ----------
    Izmailov and others 2018, "Averaging weights leads to wider optima and better generalization".
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: _AverageOfOne | None = None,
        multi_avg_fn: _AverageOfAll | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(model, Module):
            raise UsageError(f"AveragedModel: model: expected an nn.Module; got {type(model).__name__}.")
        if avg_fn is not None and multi_avg_fn is not None:
            raise UsageError("AveragedModel: expected avg_fn or multi_avg_fn; got both. Give one of them.")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, device=default_device() if device is None else device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model makes of a batch."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take a model's parameters into the average.

        Parameters
        ----------
        model : Module
            Like the one that was copied, on any device.
        """
        with tape.no_grad():
            self._update(model)

    def _update(self, model: Module) -> None:
        old, new = ([*m.parameters(), *(m.buffers() if self.use_buffers else ())] for m in (self.module, model))
        new = [source.detach().to(target.device) for source, target in zip(new, old, strict=True)]
        count = int(self.n_averaged)
        if not count:
            for target, source in zip(old, new, strict=True):
                target.copy_(source)
        elif self.multi_avg_fn is not None or self.avg_fn is None:
            (self.multi_avg_fn or get_swa_multi_avg_fn())([t.detach() for t in old], new, self.n_averaged)
        else:
            for target, source in zip(old, new, strict=True):
                target.copy_(self.avg_fn(target.detach(), source, self.n_averaged.to(target.device)))
        if not self.use_buffers:
            for target, source in zip(self.module.buffers(), model.buffers(), strict=True):
                target.copy_(source.detach().to(target.device))
        self.n_averaged.add_(1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of a model's batch normalisations anew, as the mean over the batches of a loader.

    Parameters
    ----------
    loader : iterable
        Gives batches, or pairs or lists that begin with one.
    model : Module
        Its mode is kept.
    device : Device or str, optional
        Where each batch goes first.
    """
    layers = [m for m in model.modules() if hasattr(m, "running_mean") and m.running_mean is not None]
    if not layers:
        return
    before = {layer: layer.momentum for layer in layers}
    modes = {module: module.training for module in model.modules()}
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    model.train()
    try:
        with tape.no_grad():
            for batch in loader:
                first = batch[0] if isinstance(batch, list | tuple) else batch
                model(first if device is None else first.to(device))
    finally:
        for layer, momentum in before.items():
            layer.momentum = momentum
        for module, training in modes.items():
            module.training = training


class SWALR(LRScheduler):
    """Goes to a fixed rate within some steps, and stays there.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    swa_lr : float or list of float
        The rate, one for each group or one for all.
    anneal_epochs : int
        How many steps it takes to get there; 0 for at once.
    anneal_strategy : str
        ``"cos"`` or ``"linear"``.
    last_epoch : int
        See :class:`gpunn.optim.lr_scheduler.LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Izmailov and others 2018, "Averaging weights leads to wider optima and better generalization".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        groups = self._checked(optimizer).param_groups
        rates = numbers(self._name, "swa_lr", swa_lr, len(groups), lambda r: r >= 0, "a number >= 0")
        if anneal_strategy not in ("cos", "linear"):
            raise UsageError(f"SWALR: anneal_strategy: expected 'cos' or 'linear'; got {anneal_strategy!r}.")
        self.anneal_strategy = anneal_strategy
        self.anneal_epochs = whole(self._name, "anneal_epochs", anneal_epochs, 0)
        for group, rate in zip(groups, rates, strict=True):
            group["swa_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the way to the fixed rate is behind."""
        done = min(1.0, max(0.0, step / max(1, self.anneal_epochs)))
        return done if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * done)) / 2

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        step = self._step_count - 1
        if not self.anneal_epochs:
            step = max(1, step)
        before, now = self._share(max(0, min(step - 1, self.anneal_epochs - 1))), self._share(step)
        rates = []
        for group in self._groups:
            # What the rate was at the beginning follows from what it is now: another schedule may have changed it.
            begin = (group["lr"] - before * group["swa_lr"]) / (1 - before) if before < 1 else group["swa_lr"]
            rates.append(group["swa_lr"] * now + begin * (1 - now))
        return rates


explains_all(globals())

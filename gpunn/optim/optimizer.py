"""What all optimisers share: parameter groups, clearing gradients, saving their state."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._tensor import Tensor
from gpunn.differences import REFUSALS, refuse
from gpunn.errors import ArgumentError, UsageError
from gpunn.optim._state import ParameterState

# What learning-rate schedules write into groups.
_SCHEDULED = {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"}

# PyTorch's options of how a step is made, which a group may have too.
_HOW = ("foreach", "fused", "capturable", "differentiable")


class Optimizer(abc.ABC):
    """Base class; PyTorch's parameter groups and ``state_dict`` structure.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Leaves that require gradients, or pairs of a name and such; or groups, dicts with ``"params"`` and options of
        their own.
    defaults : dict
        Options for groups that do not set their own.

    Attributes
    ----------
    param_groups : list of dict
        Change an option here, such as ``param_groups[0]["lr"]``, and the next step uses it.
    state : mapping
        Per parameter, by the tensor itself: a dict of the optimiser's buffers, as Tensors. ``step``, where there is
        one, is a 0-d float32 tensor on the CPU, as in PyTorch.

    Raises
    ------
    UsageError
        If there is nothing to optimise, something is not a leaf Tensor, or appears twice.
    """

    _scalars_of_state: tuple[str, ...] = ("step",)  # what is one number for each parameter, on the host

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state = ParameterState()
        if isinstance(params, Tensor):
            raise UsageError(f"{self._name}: expected an iterable of parameters; got one Tensor. Put it into a list.")
        if hasattr(params, "parameters"):
            raise ArgumentError(
                f"{self._name}: params: expected an iterable of parameters; got {type(params).__name__}. "
                "Pass its parameters: model.parameters()."
            )
        groups = list(params)
        if not groups:
            raise UsageError(
                f"{self._name}: got an empty parameter list; is the model's .parameters() used up already?"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        # The first step rebuilds the rest (device words).
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimise more parameters, with options of their own.

        Parameters
        ----------
        param_group : dict
            ``"params"`` and options; missing options take the defaults.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise UsageError(f"{self._name}: a parameter group is a dict with 'params'; got {param_group!r}.")
        if (self._name, "differentiable") in REFUSALS and "differentiable" in param_group:
            refuse(self._name, differentiable=param_group["differentiable"])
        group = {name: value for name, value in param_group.items() if name not in _HOW}
        members = group["params"]
        members = [members] if isinstance(members, Tensor) else list(members)
        members = [p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in members]
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in members:
            if not isinstance(p, Tensor):
                raise UsageError(f"{self._name}: expected Tensors; got {type(p).__name__}.")
            if not p.is_leaf:
                raise UsageError(f"{self._name}: a tensor of shape {p.shape} is not a leaf and cannot be optimised.")
            if p._view is not None and p._view.copied:
                raise UsageError(
                    f"{self._name}: a strided view of shape {p.shape} cannot be optimised; clone() it first."
                )
            if id(p) in known:
                raise UsageError(f"{self._name}: a parameter of shape {p.shape} appears twice.")
            known.add(id(p))
        unknown = set(group) - {"params"} - set(self.defaults) - _SCHEDULED
        if unknown:
            raise UsageError(f"{self._name}: unknown options {sorted(unknown)}; known: {sorted(self.defaults)}.")
        options = {**self.defaults, **group}
        self._check(options)
        self.param_groups.append({**options, "params": members})

    def _check(self, options: dict[str, Any]) -> None:
        """Raise UsageError if a group's options are invalid."""
        positive(self._name, "lr", options.get("lr", 0.0))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients; with ``set_to_none=False`` fill them with zeros instead."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Options and buffers, with parameters numbered in order, as in PyTorch."""
        numbers = {id(p): i for i, p in enumerate(self._all())}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {
            "state": {numbers[id(p)]: dict(v) for p, v in self.state.items() if id(p) in numbers},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load options and copies of the buffers; nothing changes if they do not fit.

        Existing buffers are overwritten in place: a captured step keeps using them.

        Raises
        ------
        UsageError
            If groups differ in number or size, or a buffer's shape is not its parameter's.
        """
        if not {"param_groups", "state"} <= set(state_dict):
            raise UsageError(
                f"{self._name}.load_state_dict: expected a dict with 'param_groups' and 'state', as state_dict() "
                f"returns; got one with {sorted(map(str, state_dict))}."
            )
        saved, members = state_dict["param_groups"], self._all()
        sizes = [len(g["params"]) for g in self.param_groups]
        if [len(g["params"]) for g in saved] != sizes:
            raise UsageError(
                f"{self._name}.load_state_dict: expected groups of {sizes} parameters; "
                f"got {[len(g['params']) for g in saved]}. Was it saved from another model?"
            )
        # PyTorch saves buffers that do not exist yet as None.
        loaded = {
            number: {name: buffer for name, buffer in buffers.items() if buffer is not None}
            for number, buffers in state_dict["state"].items()
        }
        for number, buffers in loaded.items():
            for name, buffer in buffers.items():
                if name not in self._scalars_of_state and tuple(buffer.shape) != members[number].shape:
                    raise UsageError(
                        f"{self._name}.load_state_dict: parameter {number}: expected {name} of shape "
                        f"{members[number].shape}; got {tuple(buffer.shape)}."
                    )
        before, self.state = self.state, ParameterState()
        for number, buffers in loaded.items():
            parameter = members[number]
            if buffers:
                old = before.get(parameter, {})
                self.state[parameter] = {
                    k: step_count(v) if k in self._scalars_of_state else like(parameter, v, old.get(k))
                    for k, v in buffers.items()
                }
        for group, options in zip(self.param_groups, saved, strict=True):
            group.update({k: v for k, v in options.items() if k != "params"})

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @abc.abstractmethod
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Recomputes the loss and its gradients; called first, and its result is returned.
        """


def step_count(value: Any) -> Tensor:
    """A number of steps as PyTorch keeps it: a 0-d float32 tensor on the CPU."""
    host = value._numpy_without_tape() if isinstance(value, Tensor) else np.asarray(value)
    return tensor(host.reshape(()), dtype=np.float32)


def like(parameter: Tensor, values: Any, into: Tensor | None) -> Tensor:
    """A copy of ``values`` on the parameter's device, in its dtype; ``into``, the old buffer, is reused if it fits."""
    host = values._numpy_without_tape() if isinstance(values, Tensor) else np.asarray(values)
    if into is not None and into.device is parameter.device and into.dtype == parameter.dtype:
        return into.copy_(host)
    return tensor(host, dtype=parameter.dtype, device=parameter.device)


def positive(optimizer: str, name: str, value: Any, *, below: float = float("inf")) -> Any:
    """An option that must be a number in [0, below); UsageError otherwise."""
    if not isinstance(value, int | float | np.number) or not 0 <= float(value) < below:
        limit = "" if below == float("inf") else f" and < {below:g}"
        fix = " Pass its .item()." if isinstance(value, Tensor) else ""
        raise UsageError(f"{optimizer}: {name}: expected a number >= 0{limit}; got {value!r}.{fix}")
    return value


def two_betas(optimizer: str, value: Any) -> None:
    """Two decay rates in [0, 1); UsageError otherwise."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise UsageError(f"{optimizer}: betas: expected two numbers; got {value!r}.")
    for i, beta in enumerate(value):
        positive(optimizer, f"betas[{i}]", beta, below=1.0)

"""Weights that are computed before every forward: length and direction apart, or of spectral norm 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.random import default_generator
from gpunn.tape import no_grad


def _weight_of(op: str, module: Any, name: Any) -> Parameter:
    if not isinstance(module, Module):
        raise UsageError(f"{op}: module: expected an nn.Module; got {type(module).__name__}.")
    found = module._parameters.get(name) if isinstance(name, str) else None
    if found is None:
        raise UsageError(f"{op}: name: {type(module).__name__} has no parameter {name!r}.")
    return found


def _axis(op: str, weight: Tensor, dim: Any) -> int:
    axis = whole_number(op, "dim", dim, -weight.ndim) % max(weight.ndim, 1)
    if not -weight.ndim <= dim < weight.ndim:
        raise UsageError(f"{op}: dim: expected an axis of a weight of shape {weight.shape}; got {dim}.")
    return axis


class _Computed:
    """A forward pre-hook that puts a computed tensor in the place of a parameter."""

    def __init__(self, name: str) -> None:
        self.name = name

    def weight(self, module: Module) -> Tensor:
        raise NotImplementedError

    def __call__(self, module: Module, args: Any) -> None:
        # Not by setattr, which would count as a change of the module and plan its Sequential anew.
        module.__dict__[self.name] = self.weight(module)


def _computed(op: str, module: Any, kind: type[_Computed], name: str) -> tuple[Any, Any]:
    """Key and hook of this kind for this name; UsageError if the module has none."""
    hooks = module._forward_pre_hooks.items() if isinstance(module, Module) else ()
    for key, hook in hooks:
        if isinstance(hook, kind) and hook.name == name:
            return key, hook
    raise UsageError(f"{op}: name: the module has no such {name!r}.")


# -- length and direction -------------------------------------------------------------------------


class _WeightNorm(_Computed):
    def __init__(self, name: str, dim: int | None) -> None:
        super().__init__(name)
        self.dim = dim

    def norm(self, v: Tensor) -> Tensor:
        if self.dim is None:
            return v.square().sum().sqrt()
        axes = tuple(axis for axis in range(v.ndim) if axis != self.dim)
        return v.square().sum(axes, keepdim=True).sqrt() if axes else v.abs()

    def weight(self, module: Module) -> Tensor:
        v = getattr(module, f"{self.name}_v")
        weight: Tensor = v * (getattr(module, f"{self.name}_g") / self.norm(v))
        return weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn a weight's length g and its direction v apart: weight = g v / |v|, computed before every forward.

    Parameters
    ----------
    module : Module
        Changed in place, and returned: its parameter ``name`` becomes ``name_g`` and ``name_v``.
    name : str
    dim : int, optional
        There is a length for each index of this axis; one for the whole weight if None.

    Returns
    -------
    Module

    Raises
    ------
    UsageError
        If there is no such parameter or axis.

    References
    ----------
    Salimans, Kingma 2016, arXiv:1602.07868.

    Examples
    --------
    >>> from gpunn import nn
    >>> layer = nn.utils.weight_norm(nn.Linear(3, 2))
    >>> [(name, p.shape) for name, p in layer.named_parameters()]
    [('bias', (2,)), ('weight_g', (2, 1)), ('weight_v', (2, 3))]
    """
    weight = _weight_of("weight_norm", module, name)
    hook = _WeightNorm(name, None if dim is None or dim == -1 else _axis("weight_norm", weight, dim))
    delattr(module, name)
    with no_grad():
        module.register_parameter(f"{name}_g", Parameter(hook.norm(weight).clone()))
        module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    hook(module, ())
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the computed weight a parameter again.

    Parameters
    ----------
    module : Module
        One that was given to :func:`weight_norm`; changed in place, and returned.
    name : str

    Returns
    -------
    Module

    Raises
    ------
    UsageError
        If it was not.
    """
    key, hook = _computed("remove_weight_norm", module, _WeightNorm, name)
    with no_grad():
        weight = hook.weight(module).detach()
    del module._forward_pre_hooks[key]
    del module.__dict__[name]
    for part in ("_g", "_v"):
        delattr(module, f"{name}{part}")
    module.register_parameter(name, Parameter(weight))
    return module


# -- largest singular value -----------------------------------------------------------------------


class _SpectralNorm(_Computed):
    def __init__(self, name: str, iterations: int, eps: float, dim: int) -> None:
        super().__init__(name)
        self.iterations, self.eps, self.dim = iterations, eps, dim

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight with the axis of outputs first, and all others as one."""
        moved = weight.movedim(self.dim, 0) if self.dim else weight
        return moved.reshape(moved.shape[0], -1)

    def _unit(self, x: Tensor) -> Tensor:
        return x / x.square().sum().sqrt().clamp(min=self.eps)

    def weight(self, module: Module, improve: bool | None = None) -> Tensor:
        original = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.matrix(original)
        if module.training if improve is None else improve:
            with no_grad():
                for _ in range(self.iterations):
                    v.copy_(self._unit((matrix.t() @ u.unsqueeze(1)).squeeze(1)))
                    u.copy_(self._unit((matrix @ v.unsqueeze(1)).squeeze(1)))
                # Copies, as backward needs them and the next forward writes to the buffers.
                u, v = u.clone(), v.clone()
        sigma = ((matrix @ v.unsqueeze(1)).squeeze(1) * u).sum()
        weight: Tensor = original / sigma
        return weight


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value, estimated by power iterations in every forward of training.

    Parameters
    ----------
    module : Module
        Changed in place, and returned: its parameter ``name`` becomes ``name_orig``, with buffers ``name_u`` and
        ``name_v``, the estimated singular vectors.
    name : str
    n_power_iterations : int
        In each forward.
    eps : float
        Vectors are divided by at least this.
    dim : int, optional
        The axis of outputs: 0, or 1 of transposed convolutions, if not given.

    Returns
    -------
    Module

    Raises
    ------
    UsageError
        If there is no such parameter or axis, or an option is invalid.

    References
    ----------
    Miyato, Kataoka, Koyama, Yoshida 2018, arXiv:1802.05957.
    """
    weight = _weight_of("spectral_norm", module, name)
    iterations = whole_number("spectral_norm", "n_power_iterations", n_power_iterations, 1)
    axis = int("ConvTranspose" in type(module).__name__) if dim is None else dim
    hook = _SpectralNorm(name, iterations, float(eps), _axis("spectral_norm", weight, axis))
    rows, columns = hook.matrix(weight.detach()).shape
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    for part, length in (("u", rows), ("v", columns)):
        drawn = default_generator().normal(0.0, 1.0, (length,), np.float64)
        unit = drawn / max(float(np.sqrt((drawn * drawn).sum())), eps)
        module.register_buffer(f"{name}_{part}", tensor(unit, dtype=weight.dtype, device=weight.device))
    module.__dict__[name] = weight.detach()
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the divided weight a parameter again.

    Parameters
    ----------
    module : Module
        One that was given to :func:`spectral_norm`; changed in place, and returned.
    name : str

    Returns
    -------
    Module

    Raises
    ------
    UsageError
        If it was not.
    """
    key, hook = _computed("remove_spectral_norm", module, _SpectralNorm, name)
    with no_grad():
        weight = hook.weight(module, improve=False).detach()
    del module._forward_pre_hooks[key]
    del module.__dict__[name]
    for part in ("_orig", "_u", "_v"):
        delattr(module, f"{name}{part}")
    module.register_parameter(name, Parameter(weight))
    return module

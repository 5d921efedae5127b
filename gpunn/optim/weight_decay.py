"""L2 on weights but not on biases and norms: groups for an optimiser, and the penalty as a number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, UsageError
from gpunn.ops.clip_grad import total_norm
from gpunn.optim.optimizer import Optimizer, positive

if TYPE_CHECKING:
    from gpunn.nn.module import Module


def decay_groups(
    model_or_named_parameters: Module | Iterable[tuple[str, Tensor]], weight_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups with decay on weights, and without it on biases and parameters of norms.

    The loss is then (1/n) sum of the examples' losses + (weight_decay / 2) |W|^2 over the weights W: its gradient is
    (1/n) Delta + weight_decay W for weights, and (1/n) Delta for biases.

    Parameters
    ----------
    model_or_named_parameters : Module, or iterable of (str, Tensor)
        In a module, parameters of norm layers (``Norm`` in the class's name) are recognised whatever their
        shape; otherwise a bias is whatever has ``bias`` in its own name, or at most one axis.
    weight_decay : float
        Of the weights; 0 gives the same groups without any.

    Returns
    -------
    list of dict
        For any optimiser: the weights' group, then the others'; an empty one is left out.

    Raises
    ------
    UsageError
        If the decay is negative, or what was given has no names.

    References
    ----------
    Lecture topic T3.

    Examples
    --------
    >>> from gpunn import nn, optim
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> groups = optim.decay_groups(net, 0.01)
    >>> [(group["weight_decay"], [p.shape for p in group["params"]]) for group in groups]
    [(0.01, [(4, 3), (2, 4)]), (0.0, [(4,), (2,)])]
    >>> optimizer = optim.SGD(groups, lr=0.1)
    """
    from gpunn.nn.module import Module

    positive("decay_groups", "weight_decay", weight_decay)
    norms: set[int] = set()
    if isinstance(model_or_named_parameters, Module):
        for module in model_or_named_parameters.modules():
            if "Norm" in type(module).__name__:
                norms |= {id(p) for p in module.parameters(recurse=False)}
        named: Iterable[Any] = model_or_named_parameters.named_parameters()
    else:
        named = model_or_named_parameters
    weights: list[Tensor] = []
    others: list[Tensor] = []
    for entry in named:
        if not isinstance(entry, tuple) or len(entry) != 2 or not isinstance(entry[1], Tensor):
            raise UsageError(
                "decay_groups: expected a model or its .named_parameters(), pairs of a name and a Tensor; got "
                f"{type(entry).__name__}."
            )
        name, p = entry
        free = p.ndim <= 1 or "bias" in str(name).rpartition(".")[2] or id(p) in norms
        (others if free else weights).append(p)
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def l2_penalty(optimizer_or_groups: Optimizer | Iterable[dict[str, Any]]) -> float:
    """What weight decay adds to the loss: the sum of (weight_decay / 2) |W|^2 over all groups.

    Reads the parameters' norms from their devices: call it now and then, not at every step.

    Parameters
    ----------
    optimizer_or_groups : Optimizer, or iterable of dict
        Groups as an optimiser takes them.

    Returns
    -------
    float
        0 where no group has a decay.

    References
    ----------
    Lecture topic T3.

    Examples
    --------
    >>> import gpunn
    >>> w = gpunn.tensor([[3.0, 4.0]], requires_grad=True)
    >>> gpunn.optim.l2_penalty(gpunn.optim.SGD([w], lr=0.1, weight_decay=0.5))
    6.25
    """
    groups = optimizer_or_groups.param_groups if isinstance(optimizer_or_groups, Optimizer) else optimizer_or_groups
    penalty = 0.0
    for group in groups:
        if not isinstance(group, dict) or "params" not in group:
            raise ArgumentError(
                f"l2_penalty: expected an optimiser, or dicts with 'params'; got {type(group).__name__} among them."
            )
        decay = float(group.get("weight_decay", 0.0))
        together: dict[tuple[Device, Any], list[Any]] = {}
        members = group["params"]
        for p in [members] if isinstance(members, Tensor) else members:
            together.setdefault((p.device, p.dtype), []).append(p._physical)
        for (device, _), arrays in together.items() if decay else ():
            norm = float(device.to_host(total_norm(device, arrays, 2.0)))
            penalty += decay / 2 * norm**2
    return penalty
